// What an operator does by button: pause and resume a step, send dead letters back. Each is confirmed in the dialog, with
// the API token typed in; token and name stay in this tab's session storage. A redrive is looked at first, then done.
const dialog = document.querySelector("#act");
const form = dialog.querySelector("form");
const doing = dialog.querySelector(".do");
const outcome = dialog.querySelector(".outcome");
const letters = dialog.querySelector(".letters");
const words = dialog.dataset;
const KEPT = { token: "prescreen.token", actor: "prescreen.actor" };
let act = null;

for (const button of document.querySelectorAll("[data-act]")) {
  button.hidden = false;
  button.addEventListener("click", () => open(button.dataset));
}

function open(wanted) {
  act = { ...wanted, looked: false };
  dialog.querySelector(".title").textContent = wanted.name ? `${words[act.act]}: ${wanted.name}` : words[act.act];
  dialog.querySelector(".text").textContent = words[`${act.act}Text`];
  for (const [field, key] of Object.entries(KEPT)) form.elements[field].value = sessionStorage.getItem(key) ?? "";
  doing.textContent = act.act === "redrive" ? words.lookFirst : words.confirm;
  doing.hidden = false;
  say("");
  closing(false);
  dialog.showModal();
}

function say(text, isTrouble = false) {
  outcome.textContent = text;
  outcome.hidden = !text;
  outcome.classList.toggle("trouble", isTrouble);
  letters.hidden = true;
  letters.replaceChildren();
}

function closing(isDone) {
  const button = dialog.querySelector(".cancel");
  button.textContent = isDone ? button.dataset.close : button.dataset.cancel;
  act.isDone = isDone;
}

// A header carries bytes: a name in any script goes as its UTF-8.
function bytes(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

async function post(path, body) {
  for (const [field, key] of Object.entries(KEPT)) sessionStorage.setItem(key, form.elements[field].value);
  const headers = { Authorization: `Bearer ${bytes(form.elements.token.value)}`, "X-Prescreen-Actor": bytes(form.elements.actor.value) };
  if (body) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { method: "POST", headers, body: body && JSON.stringify(body) });
  if (answer.status === 401) {
    sessionStorage.removeItem(KEPT.token);
    throw new Error(words.refused);
  }
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

async function turn() {
  await post(`/api/stages/${encodeURIComponent(act.step)}/${act.act}`);
  dialog.close();
}

async function redrive() {
  const { dlqTopic, dlqPartition, dlqOffset, topic, cause } = act;
  const one = dlqTopic === undefined ? null : [dlqTopic, Number(dlqPartition), Number(dlqOffset)];
  const dry = !act.looked;
  const done = await post("/api/dead-letters/redrive", { topic: topic ?? null, cause: cause ?? null, one, dry_run: dry });
  const names = { sent: dry ? words.wouldBeSent : words.sent, duplicate: words.duplicate, lost: words.lostLetters, no_origin: words.noOrigin };
  const count = (became) => done.letters.filter(([, is]) => is === became).length;
  const counts = Object.entries(names).filter(([became]) => count(became)).map(([became, name]) => `${count(became)} ${name}`);
  const audit = done.audit_id == null ? "" : ` · ${words.audit} ${done.audit_id}`;
  say(done.letters.length ? counts.join(" · ") + audit : words.nothing);
  for (const [letter, became] of done.letters) {
    const line = document.createElement("li");
    line.dataset.is = became;
    line.textContent = `${letter.cause} · ${letter.study_uid ?? words.noStudy} · ${names[became]}`;
    letters.append(line);
  }
  letters.hidden = !done.letters.length;
  act.looked = true;
  doing.textContent = words.sendNow;
  doing.hidden = !dry || !count("sent");
  closing(!dry);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  doing.disabled = true;
  try {
    await (act.act === "redrive" ? redrive() : turn());
  } catch (error) {
    say(error instanceof TypeError ? words.noAnswer : error.message, true);
  }
  doing.disabled = false;
});

dialog.querySelector(".cancel").addEventListener("click", () => dialog.close());
// What was sent back is no longer in the list.
dialog.addEventListener("close", () => {
  if (act?.isDone) location.reload();
});

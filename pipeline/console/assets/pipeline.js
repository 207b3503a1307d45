// Puts the numbers of `/api/live` where the page has places for them. The server words them in the page's language; nothing
// is computed here.
import { clearLost, showLost } from "/assets/lost.js";

const PATIENCE_MS = 7000;
const AGAIN_MS = 3000;
let heard = new Date();
let studies = null;

function put(shown) {
  for (const place of document.querySelectorAll("[data-live]")) {
    const text = shown.texts[place.dataset.live] ?? "–";
    if (place.textContent !== text) place.textContent = text;
  }
  for (const place of document.querySelectorAll("[data-tone]")) {
    place.dataset.is = shown.tones[place.dataset.tone] ?? "none";
  }
  for (const place of document.querySelectorAll("[data-bar]")) {
    place.setAttribute("width", (place.dataset.full * (shown.bars[place.dataset.bar] ?? 0)).toFixed(1));
  }
}

// The list of studies follows the counts: it is asked for anew only when one of them has moved.
async function renewLists(status) {
  const counts = JSON.stringify(status.studies);
  const changed = studies !== null && counts !== studies;
  studies = counts;
  const list = document.querySelector("[data-renewed-by=studies]");
  if (!changed || !list) return;
  const answer = await fetch(location.href);
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("[data-renewed-by=studies]");
  if (fresh) list.replaceWith(fresh);
}

function alive() {
  heard = new Date();
  clearLost();
}

function listen() {
  const language = document.documentElement.lang.slice(0, 2);
  const events = new EventSource(`/api/live?lang=${language}`);
  events.addEventListener("status", (event) => {
    alive();
    renewLists(JSON.parse(event.data)).catch(() => {});
  });
  events.addEventListener("shown", (event) => put(JSON.parse(event.data)));
  events.addEventListener("down", () => showLost(heard));
  // A connection that breaks is made anew by the browser; one that was refused is not.
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN_MS);
  });
}

setInterval(() => {
  if (new Date() - heard > PATIENCE_MS) showLost(heard);
}, 1000);
listen();

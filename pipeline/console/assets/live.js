// Renews <main> every two seconds, and says so when the console does not answer: a screen on a wall must not show an old
// word as if it were the newest.
import { clearLost, showLost } from "/assets/lost.js";

const EVERY_MS = 2000;
const PATIENCE_MS = 5000;

async function renew() {
  const begun = new Date();
  try {
    const answer = await fetch(location.href, { signal: AbortSignal.timeout(PATIENCE_MS) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("main");
    const shown = document.querySelector("main");
    if (fresh.innerHTML !== shown.innerHTML) shown.replaceWith(fresh);
    clearLost();
  } catch {
    showLost(begun);
  }
  setTimeout(renew, EVERY_MS);
}

setTimeout(renew, EVERY_MS);

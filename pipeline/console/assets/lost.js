// Says that the page is not up to date, and since when: nobody shall take an old number for the present one.
let lost = null;

export function showLost(since) {
  if (lost) return;
  lost = document.createElement("p");
  lost.className = "lost";
  lost.setAttribute("role", "alert");
  lost.textContent = `${document.body.dataset.lost} ${since.toLocaleTimeString()}`;
  document.querySelector("header").after(lost);
}

export function clearLost() {
  lost?.remove();
  lost = null;
}

// Draws `/api/history` with uPlot, one chart for each figure of the page, and goes on with what comes after. Colours are the
// stylesheet's, in light and dark; a chart is made anew when they change, or its width.
const EVERY_MS = 5000;
const KEPT_S = 3600;
const HEIGHT = 190;
const section = document.querySelector(".charts");
const points = [];
let charts = [];

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// [times, one row for each series], for a figure that shows a map by step, or else numbers of the point itself.
function table(of, names) {
  const value = (point, name) => (of ? point[of] : point)[name] ?? null;
  return [points.map((point) => Date.parse(point.at) / 1000), ...names.map((name) => points.map((point) => value(point, name)))];
}

function draw(figure) {
  const series = new Map(JSON.parse(figure.dataset.series));
  const { of, unit } = figure.dataset;
  // A step that never had a number, as one that reads no topic, has no line.
  const names = [...series.keys()].filter((name) => !of || points.some((point) => name in point[of]));
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 }, font: "12px system-ui, sans-serif" };
  const worded = (value) => (value == null ? "–" : `${Math.round(value * 100) / 100}${unit && ` ${unit}`}`);
  const chart = new uPlot(
    {
      width: figure.clientWidth,
      height: HEIGHT,
      cursor: { y: false },
      scales: { y: { range: (_, low, high) => [0, Math.max(high ?? 0, 1)] } },
      axes: [
        { ...axis, values: (_, times) => times.map((time) => new Date(time * 1000).toTimeString().slice(0, 5)) },
        { ...axis, size: 56 },
      ],
      series: [
        { label: section.dataset.time, value: (_, time) => (time == null ? "–" : new Date(time * 1000).toTimeString().slice(0, 8)) },
        ...names.map((name, index) => ({
          label: series.get(name),
          stroke: colour(`--series-${index + 1}`),
          width: 1.5,
          spanGaps: !of,
          points: { show: !of },
          value: (_, value) => worded(value),
        })),
      ],
    },
    table(of, names),
    figure,
  );
  return { chart, of, names };
}

function drawAll() {
  for (const { chart } of charts) chart.destroy();
  charts = points.length ? [...section.querySelectorAll("figure")].map(draw) : [];
}

async function follow() {
  try {
    const last = points.at(-1)?.at;
    const answer = await fetch(`/api/history${last ? `?since=${encodeURIComponent(last)}` : ""}`);
    if (answer.ok) {
      points.push(...(await answer.json()));
      const oldest = Date.parse(points.at(-1)?.at) - KEPT_S * 1000;
      points.splice(0, points.findIndex((point) => Date.parse(point.at) >= oldest));
      // Before drawing: what is not shown has no width.
      section.dataset.is = points.length ? "drawn" : "empty";
      if (charts.length) for (const { chart, of, names } of charts) chart.setData(table(of, names));
      else drawAll();
    }
  } catch {
    // The page says by itself that the console does not answer.
  }
  setTimeout(follow, EVERY_MS);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
let width = section.clientWidth;
new ResizeObserver(() => {
  if (section.clientWidth === width) return;
  width = section.clientWidth;
  drawAll();
}).observe(section);
follow();

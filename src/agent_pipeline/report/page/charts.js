"use strict";
/* What the scripts share: the data, small builders of elements, the theme; and the charts. */
const report = JSON.parse(document.getElementById("data").textContent);

/* Builds an element; text stays text, whatever is in it. */
function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children.map((child) => (child === null || child === undefined ? "" : child)));
  return made;
}

const padded = (number) => String(number).padStart(2, "0");

// As amounts.py has them.
function seconds(value) {
  if (value === null || value === undefined) return "-";
  if (value < 0.9995) return `${Math.round(value * 1000)} ms`;
  if (value < 59.95) return value < 9.995 ? `${value.toFixed(2)} s` : `${value.toFixed(1)} s`;
  const whole = Math.round(value);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${padded(whole % 60)} s`;
  return `${Math.floor(whole / 3600).toLocaleString("en")} h ${padded(Math.floor((whole % 3600) / 60))} min`;
}

function money(microUsd) {
  if (microUsd === null || microUsd === undefined) return "unknown";
  if (microUsd === 0) return "$0";
  const digits = microUsd < 1000 ? 6 : microUsd < 10_000_000 ? 4 : 2;
  return `$${(microUsd / 1e6).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })}`;
}

const count = (value) => (value === null || value === undefined ? "-" : value.toLocaleString("en"));

(function theme() {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  function show() {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-pressed", String(Boolean(root.dataset.theme)));
    button.setAttribute("aria-label", isDark() ? "Switch to light colours" : "Switch to dark colours");
    document.dispatchEvent(new Event("colours"));
  }
  try {
    const kept = localStorage.getItem("agent-pipeline-theme");
    if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  } catch { /* some browsers keep nothing for files */ }
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem("agent-pipeline-theme", root.dataset.theme);
    } catch { /* as above: it holds for this page alone */ }
    show();
  });
  system.addEventListener("change", show);
  show();
})();

(function charts() {
  const series = report.timeline;
  const shown = [];
  let observed = 0;

  function colours() {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(name).trim();
    return { ink: read("--quiet"), line: read("--line"), accent: read("--accent"), soft: read("--accent-soft"),
      good: read("--good"), fair: read("--fair"), bad: read("--bad"), lanes: [read("--accent"), read("--good"), read("--fair"), read("--bad")] };
  }

  function ticks(values, step) {
    return values.map((value) => (step >= 3600 ? `${+(value / 3600).toFixed(1)} h`
      : step >= 60 ? `${+(value / 60).toFixed(1)} min` : `${+value.toFixed(3)} s`));
  }

  const WHOLE = Array.from({ length: 12 }, (_, power) => [1, 2, 5].map((factor) => factor * 10 ** power)).flat();
  const compact = (value) => (value >= 1e6 ? `${+(value / 1e6).toFixed(1)}M` : value >= 1e4 ? `${+(value / 1e3).toFixed(1)}k`
    : count(+value.toFixed(4)));

  /* A line at the beginning of each session after the first. */
  function sessions(ink) {
    return (plot) => {
      const { ctx, bbox } = plot;
      ctx.save();
      ctx.strokeStyle = ink;
      ctx.setLineDash([2, 4]);
      for (const at of series.sessions) {
        const x = plot.valToPos(at, "x", true);
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
      }
      ctx.restore();
    };
  }

  function draw(id, makeLines, rightAxis) {
    const place = document.getElementById(id);
    const colour = colours();
    const lines = makeLines(colour);
    const axis = { stroke: colour.ink, grid: { stroke: colour.line, width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    const axes = [{ ...axis, size: 26, values: (_, values, __, ___, step) => ticks(values, step) },
      { ...axis, size: 48, values: (_, values) => values.map(compact), incrs: WHOLE }];
    if (rightAxis) {
      axes.push({ ...axis, scale: "usd", side: 1, size: 56, grid: { show: false },
        values: (_, values) => values.map((value) => `$${+value.toPrecision(6)}`) });
    }
    const from = (_, low, high) => [0, Math.max(high * 1.05, 1e-6)];
    const scales = { x: { time: false }, y: { range: (_, low, high) => [0, Math.max(high * 1.05, 1)] } };
    if (rightAxis) scales.usd = { range: from };
    place.replaceChildren();
    const plot = new uPlot({
      width: place.clientWidth || 500, height: 170, scales, axes, padding: [8, rightAxis ? 0 : 10, 0, 0],
      cursor: { sync: { key: "course" }, points: { size: 5 }, drag: { x: true, y: false } },
      legend: { live: true }, hooks: { draw: [sessions(colour.ink)] },
      series: [{ label: "after", value: (_, value) => seconds(value) }, ...lines.map((line) => line.options)],
    }, [series.x, ...lines.map((line) => line.values)], place);
    shown.push({ plot, place });
  }

  const line = (label, values, stroke, more) => ({ values, options: { label, stroke, width: 1.5, points: { show: false },
    value: (_, value) => count(value), ...more } });
  const step = uPlot.paths.stepped({ align: -1 });
  const bars = uPlot.paths.bars({ size: [0.9, 12, 1] });

  function drawAll() {
    for (const { plot } of shown) plot.destroy();
    shown.length = 0;
    const several = series.lanes.length > 1;
    draw("chart-flight", (colour) => series.lanes.flatMap((lane, number) => {
      const own = colour.lanes[number];
      const name = several ? lane.name : "in flight";
      return [
        line(name, lane.in_flight, own, { paths: step, ...(several ? {} : { fill: colour.soft }) }),
        ...(lane.limit[0] === null ? [] : [line("limit", lane.limit, several ? own : colour.fair, { paths: step, dash: [4, 4], width: 1 })]),
      ];
    }));
    draw("chart-trouble", (colour) => [
      line("429", series.refused, colour.fair, { paths: bars, fill: colour.fair, width: 0 }),
      line("failed otherwise", series.failed, colour.bad, { paths: bars, fill: colour.bad, width: 0 }),
    ]);
    draw("chart-spending", (colour) => [
      line("tokens", series.tokens, colour.accent, { fill: colour.soft }),
      line("dollars", series.usd, colour.good, { scale: "usd", value: (_, value) => (value === null ? "-" : money(value * 1e6)) }),
    ], true);
    draw("chart-documents", (colour) => [line("documents", series.documents, colour.good, {})]);
  }

  drawAll();
  document.addEventListener("colours", drawAll);
  addEventListener("beforeprint", drawAll);
  addEventListener("afterprint", drawAll);
  new ResizeObserver(() => {
    const width = document.querySelector(".chart").clientWidth;
    if (width && width !== observed) for (const { plot, place } of shown) plot.setSize({ width: place.clientWidth, height: 170 });
    observed = width;
  }).observe(document.querySelector(".charts"));
})();

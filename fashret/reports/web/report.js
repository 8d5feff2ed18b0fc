"use strict";
// FACTS: see Page.facts. The charts are Observable Plot's; they take the page's ink, in any mode.
const place = (id) => document.getElementById(id);
const css = (name) => `var(--${name})`;
const points = (share) => (share === null ? null : 100 * share);
const width = () => Math.min(900, document.body.clientWidth - 40);

function put(id, chart) {
  const figure = place(id);
  if (!figure) return;
  figure.replaceChildren(chart);
}

function drawSlices(attribute) {
  const rows = FACTS.slices.filter((row) => row.name === attribute);
  const compared = FACTS.compared;
  const middle = compared ? "delta" : "now";
  const colour = (row) => !compared ? css("mark") : row.low > 0 ? css("good")
    : row.high < 0 ? css("bad") : css("dim");
  put("slices", Plot.plot({ width: width(), marginLeft: 130, height: 60 + 24 * rows.length,
    x: { label: compared ? "delta in points, with its interval" : "points, with the interval",
      grid: true }, y: { label: null },
    marks: [compared ? Plot.ruleX([0]) : null,
      Plot.ruleY(rows, { y: "value", x1: (r) => points(r.low), x2: (r) => points(r.high),
        stroke: colour, strokeWidth: 3, sort: { y: "-x2" } }),
      Plot.dot(rows, { y: "value", x: (r) => points(r[middle]), fill: colour, r: 5, tip: true,
        title: (r) => `${r.value}: ${points(r.now).toFixed(1)}`
          + (r.before === null ? "" : `, was ${points(r.before).toFixed(1)}`) + `, n ${r.n}` })] }));
}

function drawEpochs(attribute) {
  if (!FACTS.epochs.length) return;
  const rows = FACTS.epochs.filter((p) => p.kind === "precision" && p.name === attribute
    && p.slice !== "macro");
  const whole = rows.filter((p) => p.slice === ""), slices = rows.filter((p) => p.slice !== "");
  const ticks = [...new Set(rows.map((p) => p.epoch))];
  put("epochs", Plot.plot({ width: width(), height: 360, marginRight: 120,
    x: { label: "epoch", ticks: ticks.slice(0, 20), tickFormat: "d" },
    y: { label: "points", grid: true },
    marks: [Plot.lineY(slices, { x: "epoch", y: (p) => points(p.value), z: "slice",
      stroke: css("dim"), strokeOpacity: 0.6 }),
    Plot.text(slices, Plot.selectLast({ x: "epoch", y: (p) => points(p.value), z: "slice",
      text: "slice", textAnchor: "start", dx: 6, fill: "currentColor" })),
    Plot.lineY(whole, { x: "epoch", y: (p) => points(p.value), stroke: css("mark"),
      strokeWidth: 3, marker: true }),
    whole.length ? Plot.ruleY([points(whole[0].value)], { stroke: css("mark"),
      strokeDasharray: "4 4" }) : null] }));
  const losses = FACTS.epochs.filter((p) => p.kind === "train" && p.name.startsWith("loss")
    && p.name !== "loss");
  put("losses", Plot.plot({ width: width(), height: 260, marginRight: 140,
    x: { label: "epoch", ticks: ticks.slice(0, 20), tickFormat: "d" }, y: { grid: true, label: null },
    marks: [Plot.lineY(losses, { x: "epoch", y: "value", z: "name", stroke: css("mark"),
      marker: true }),
    Plot.text(losses, Plot.selectLast({ x: "epoch", y: "value", z: "name", text: "name",
      textAnchor: "start", dx: 6, fill: "currentColor" }))] }));
}

function drawConfusion(attribute) {
  const table = FACTS.confusion[attribute];
  const size = 60 + 34 * table.values.length;
  place("confusion").replaceChildren(...table.shares.map((shares, system) => {
    const cells = shares.flatMap((row, i) => row.map((share, j) => ({ asked: table.values[i],
      found: table.values[j], share })));
    const figure = document.createElement("figure");
    const name = document.createElement("h3");
    name.textContent = FACTS.systems[system];
    figure.append(name, Plot.plot({ width: Math.max(260, size + 120), height: size + 60,
      marginLeft: 120, marginBottom: 90, padding: 0,
      ariaLabel: `What ${FACTS.systems[system]} finds by ${attribute}`,
      x: { domain: table.values, label: "found", tickRotate: -50 },
      y: { domain: table.values, label: "asked" },
      color: { scheme: "blues", domain: [0, 1] },
      marks: [Plot.cell(cells, { x: "found", y: "asked", fill: "share", inset: 0.5 }),
        Plot.text(cells, { x: "found", y: "asked", fontSize: 11,
          text: (c) => (c.share === null ? "" : Math.round(100 * c.share)),
          fill: (c) => (c.share > 0.5 ? "white" : "black") })] }));
    figure.className = "scroll";
    return figure;
  }));
}

function drawLikeness() {
  const lines = FACTS.likeness.flatMap((kinds, system) => Object.entries(kinds).flatMap(
    ([kind, shares]) => shares.map((share, i) => ({ kind, system, share: 100 * share,
      x: (FACTS.edges[i] + FACTS.edges[i + 1]) / 2 }))));
  const seen = lines.filter((l) => l.share > 0).map((l) => l.x);
  put("likeness", Plot.plot({ width: width(), height: 300,
    x: { label: "cosine", domain: [Math.min(...seen) - 0.05, 1] },
    y: { label: "% of the pairs", grid: true }, clip: true,
    color: { legend: true, range: ["#1b9e77", "#d95f02", "#7570b3"] },
    marks: [0, 1].map((system) => Plot.lineY(lines.filter((l) => l.system === system), { x: "x",
      y: "share", stroke: "kind", z: "kind", curve: "monotone-x", strokeWidth: system ? 1.5 : 2.5,
      strokeDasharray: system ? "4 3" : null })) }));
}

function drawAll() {
  const attribute = place("attribute").value;
  drawSlices(attribute);
  drawEpochs(attribute);
  drawConfusion(attribute);
  drawLikeness();
}

if (FACTS.of_split) {
  for (const name of Object.keys(FACTS.confusion)) {
    const option = document.createElement("option");
    option.value = option.textContent = name;
    place("attribute").append(option);
  }
  place("attribute").addEventListener("change", drawAll);
  addEventListener("resize", drawAll);
  drawAll();
}

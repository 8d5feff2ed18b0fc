"use strict";
// DATA: systems (the model first), relevances, items {id, text, values},
// queries {item (null for a typed one), photo, text, mode, known,
// found: per system [item, score, photo, text, matching]}.
const PAGE = 20;
const OUTCOMES = { fixed: "fixed: the first hit was wrong, is right",
  broken: "broken: the first hit was right, is wrong", right: "right: it was, it is",
  wrong: "still wrong" };
const choice = (id) => document.getElementById(id);
let shown = PAGE;

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children); // strings become text, never markup
  return made;
}

function options(id, entries) {
  choice(id).replaceChildren(...entries.map(([value, label]) => element("option", { value }, label)));
}

const hit = (h, relevance) => h[4].includes(relevance);
const precision = (found, relevance) =>
  found.length ? found.filter((h) => hit(h, relevance)).length / found.length : 0;

function gain(query, relevance) {
  const [now, before] = query.found;
  return before ? precision(now, relevance) - precision(before, relevance) : 0;
}

function outcome(query, relevance) {
  const [now, before] = query.found.map((f) => f.length > 0 && hit(f[0], relevance));
  if (before === undefined) return now ? "right" : "wrong";
  return now ? (before ? "right" : "fixed") : before ? "broken" : "wrong";
}

function valuesOf(relevance) {
  const values = new Set();
  for (const query of DATA.queries) {
    if (query.item === null) continue;
    const value = DATA.items[query.item].values[relevance];
    if (value !== undefined) values.add(value);
  }
  return [...values].sort();
}

function setValues() {
  options("value", [["", "any"], ...valuesOf(choice("relevance").value).map((v) => [v, v])]);
}

function chosen() {
  const mode = choice("mode").value, relevance = choice("relevance").value;
  const value = choice("value").value, what = choice("outcome").value, order = choice("order").value;
  const queries = DATA.queries.filter((query) => query.mode === mode
    && query.known.includes(relevance)
    && (!value || (query.item !== null && DATA.items[query.item].values[relevance] === value))
    && (!what || outcome(query, relevance) === what));
  const sign = { gain: -1, loss: 1 }[order];
  return sign ? queries.sort((a, b) => sign * (gain(a, relevance) - gain(b, relevance))) : queries;
}

function photo(place) {
  const item = DATA.items[place];
  return element("img", { src: PHOTOS[place], alt: item.text || item.id, loading: "lazy" });
}

function facts(item) {
  return Object.entries(item.values).map(([name, value]) => `${name}: ${value}`).join(", ");
}

function hitElement(found, relevance) {
  const [place, score, photos, texts, matching] = found;
  const item = DATA.items[place], right = matching.includes(relevance);
  const parts = [["photo", photos], ["text", texts]].filter(([, part]) => part !== null)
    .map(([name, part]) => `${name} ${part.toFixed(2)}`).join(", ");
  return element("li", { class: right ? "right" : "wrong", title: `${item.id}: ${facts(item)}` },
    element("figure", {}, photo(place), element("figcaption", {},
      element("b", {}, `${right ? "✓" : "✗"} ${score.toFixed(2)}`), parts && ` (${parts})`,
      element("br", {}), element("span", { class: "dim" }, matching.join(", ") || "nothing matches"))));
}

function queryElement(query, relevance) {
  const item = query.item === null ? null : DATA.items[query.item];
  const asked = element("div", { class: "asked" });
  if (query.photo) asked.append(photo(query.item));
  const said = element("div", {});
  said.append(element("p", { dir: "auto" }, query.text));
  if (item !== null) said.append(element("p", { class: "dim" }, facts(item)));
  const change = gain(query, relevance);
  if (DATA.systems.length > 1) {
    said.append(element("p", { class: change > 0 ? "good" : change < 0 ? "bad" : "dim" },
      `${outcome(query, relevance)}, ${change >= 0 ? "+" : ""}${Math.round(100 * change)} points`));
  }
  asked.append(said);
  const lists = element("div", {});
  query.found.forEach((found, system) => {
    lists.append(element("div", { class: "dim" },
      `${DATA.systems[system]}: ${found.filter((h) => hit(h, relevance)).length} of ${found.length}`));
    lists.append(element("ol", { class: "hits", tabindex: "0", "aria-label": DATA.systems[system] },
      ...found.map((h) => hitElement(h, relevance))));
  });
  return element("article", { class: "query", "data-item": item === null ? query.text : item.id,
    "data-outcome": outcome(query, relevance) }, asked, lists);
}

function draw() {
  const queries = chosen(), relevance = choice("relevance").value;
  choice("queries").replaceChildren(
    ...queries.slice(0, shown).map((query) => queryElement(query, relevance)));
  choice("count").textContent =
    `${queries.length} of ${DATA.queries.length} queries, ${Math.min(shown, queries.length)} shown`;
  choice("more").hidden = shown >= queries.length;
}

function modeRelevances() {
  const judged = new Set(DATA.queries.filter((q) => q.mode === choice("mode").value)
    .flatMap((q) => q.known));
  const kept = choice("relevance").value;
  options("relevance", DATA.relevances.filter((r) => judged.has(r)).map((r) => [r, r]));
  choice("relevance").value = judged.has(kept) ? kept : judged.has("category") ? "category"
    : choice("relevance").value;
  setValues();
}

options("mode", [...new Set(DATA.queries.map((q) => q.mode))].map((m) => [m, m]));
options("outcome", [["", "anything"], ...Object.entries(OUTCOMES)
  .filter(([name]) => DATA.systems.length > 1 || name === "right" || name === "wrong")
  .map(([name, label]) => [name, DATA.systems.length > 1 ? label : name])]);
modeRelevances();
for (const id of ["mode", "relevance", "value", "outcome", "order"]) {
  choice(id).addEventListener("change", () => {
    if (id === "mode") modeRelevances();
    if (id === "relevance") setValues();
    shown = PAGE;
    draw();
  });
}
choice("more").addEventListener("click", () => { shown += PAGE; draw(); });
addEventListener("beforeprint", () => { shown = Infinity; draw(); });
draw();

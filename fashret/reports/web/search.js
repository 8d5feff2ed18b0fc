"use strict";
// DATA: systems (the model first), values by attribute, attribute_heads, items.
const at = (id) => document.getElementById(id);
let photo = null; // a File that was dropped or chosen
let item = null; // the row of a result that was clicked
let running = null;
let waiting = 0;

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children); // strings become text, never markup
  return made;
}

const chosen = (form) => Object.fromEntries([...at(form).elements]
  .filter((field) => field.name && field.value !== "" && field.value !== "0")
  .map((field) => [field.name, form === "weights" ? Number(field.value) : field.value]));

function query() {
  return { text: at("text").value, item, weight_image: Number(at("weight_image").value),
    weights: chosen("weights"), filters: chosen("filters") };
}

function askWith(file, row) {
  URL.revokeObjectURL(at("preview").src);
  [photo, item] = [file, row];
  at("photo").hidden = photo === null && item === null;
  if (photo) at("preview").src = URL.createObjectURL(photo);
  else if (item !== null) at("preview").src = `photos/${item}`;
  else at("preview").removeAttribute("src");
  if (!photo) at("file").value = "";
  search();
}

function hitElement(hit) {
  const facts = Object.entries(hit.values).map(([name, value]) => `${name}: ${value}`).join(", ");
  const parts = [["photo", hit.photo], ["text", hit.text]].filter(([, part]) => part !== null)
    .map(([name, part]) => `${name} ${part.toFixed(2)}`).join(", ");
  const button = element("button", { type: "button", title: facts, "data-row": hit.row },
    element("img", { src: `photos/${hit.row}`, alt: hit.title || facts, loading: "lazy" }));
  button.addEventListener("click", () => { at("text").value = ""; askWith(null, hit.row); scrollTo(0, 0); });
  return element("li", {}, element("figure", {}, button, element("figcaption", {},
    hit.score === null ? "" : element("b", {}, hit.score.toFixed(2)), parts ? ` (${parts})` : "",
    element("div", { dir: "auto" }, hit.title), element("div", { class: "dim" }, facts))));
}

function draw(systems) {
  const one = at("shown").value;
  at("found").replaceChildren(...systems.filter(({ name }, place) => one === "" || one === String(place))
    .map(({ name, hits }) => element("section", { "aria-label": name },
      element("h2", {}, name), element("ol", { class: "shelf" }, ...hits.map(hitElement)))));
}

async function search() {
  running?.abort();
  const mine = running = new AbortController();
  const asks = at("text").value.trim() !== "", has = photo !== null || item !== null;
  at("mix").hidden = !(asks && has);
  at("status").textContent = "searching";
  try {
    const address = `search?query=${encodeURIComponent(JSON.stringify(query()))}`;
    const answer = await fetch(address, { method: "POST", body: photo ?? "", signal: mine.signal });
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.error);
    draw(said.systems);
    const count = said.systems[0].hits.length;
    at("status").textContent = count === 0 ? "No item has all of these values: take a filter off."
      : asks || has ? `The best ${count} of ${DATA.items} items. Click one to search on with its photo.`
      : `The first ${count} of ${DATA.items} items. Type what you look for, drop a photo, or click one.`;
  } catch (error) {
    if (mine.signal.aborted) return;
    at("found").replaceChildren();
    at("status").textContent = error.message || "The server does not answer.";
  }
}

function soon() {
  clearTimeout(waiting);
  waiting = setTimeout(search, 200);
}

for (const [name, values] of Object.entries(DATA.values)) {
  at("filters").append(element("label", {}, name, element("select", { name },
    element("option", { value: "" }, "any"), ...values.map((value) => element("option", { value }, value)))));
}
for (const name of DATA.attribute_heads) {
  at("weights").append(element("label", {}, name,
    element("input", { type: "range", name, min: 0, max: 2, step: 0.1, value: 0 })));
}
at("steering").hidden = DATA.attribute_heads.length === 0;
at("filtering").hidden = Object.keys(DATA.values).length === 0;
at("sides").hidden = DATA.systems.length < 2;
at("shown").append(element("option", { value: "" }, "all side by side"),
  ...DATA.systems.map((name, place) => element("option", { value: place }, name)));

for (const form of document.forms) form.addEventListener("submit", (event) => event.preventDefault());
for (const id of ["text", "weight_image", "weights"]) at(id).addEventListener("input", soon);
for (const id of ["filters", "shown"]) at(id).addEventListener("change", search);
at("file").addEventListener("change", () => askWith(at("file").files[0] ?? null, null));
at("clear").addEventListener("click", () => askWith(null, null));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file) askWith(file, null);
});
search();

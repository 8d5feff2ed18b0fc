"use strict";
// DATA: fields, corrections {id: {field: value}}, items {id, text, values}, values by attribute,
// disagreements, lookalikes, products; each with `items`, places in DATA.items and PHOTOS.
const part = (id) => document.getElementById(id);
const corrections = new Map(Object.entries(DATA.corrections));

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children); // strings become text, never markup
  return made;
}

const now = (item, name) => corrections.get(item.id)?.[name] || item.values[name]
  || (name === "text" ? item.text : "");

function photo(place, name) {
  const item = DATA.items[place], corrected = corrections.has(item.id);
  const said = name ? `${now(item, name) || "unknown"}: ` : "";
  const button = element("button", { type: "button", class: corrected ? "corrected" : "",
    "data-item": item.id, "aria-label": `correct ${item.id}` },
    element("img", { src: PHOTOS[place], alt: "", loading: "lazy" }));
  button.addEventListener("click", () => edit(place));
  return element("li", {}, element("figure", {}, button, element("figcaption", {},
    element("div", { dir: "auto" }, `${said}${item.text || item.id}`))));
}

function shelf(title, places, name) {
  return element("section", {}, element("h3", { dir: "auto" }, title),
    element("ul", { class: "shelf" }, ...places.map((place) => photo(place, name))));
}

function draw() {
  const name = part("attribute").value;
  part("values").replaceChildren(...DATA.values[name].map(
    ({ value, count, items }) => shelf(`${value}: ${count}`, items)));
  part("disagreements").replaceChildren(...DATA.disagreements.map(
    (d) => shelf(`${d.name}: ${d.said} (${d.count})`, d.items, d.name)));
  part("no-disagreements").hidden = DATA.disagreements.length > 0;
  part("lookalikes").replaceChildren(...DATA.lookalikes.map(
    ({ cosine, items }) => shelf(`cosine ${cosine}`, items)));
  part("products").replaceChildren(...DATA.products.map(
    (p) => shelf(`${p.name}: ${p.count} photos, confidence ${p.confidence}`, p.items)));
  part("count").textContent = `${corrections.size} corrected`;
  part("save").disabled = corrections.size === 0;
}

const known = (name) => (DATA.values[name] || []).map(({ value }) => value);

function edit(place) {
  const item = DATA.items[place], given = corrections.get(item.id) || {};
  part("portrait").src = PHOTOS[place];
  part("said").textContent = `${item.id}: ${item.text}`;
  part("fields").replaceChildren(...DATA.fields.map((name) => {
    const values = name === "drop" ? ["yes"] : [...known(name), "unknown"];
    return element("label", {}, name === "drop" ? "leave this item out" : name,
      element("input", { name, value: given[name] || "", list: `known-${name}`,
        placeholder: name === "drop" ? "no" : now(item, name) || "unknown", autocomplete: "off" }),
      element("datalist", { id: `known-${name}` }, ...values.map((value) => element("option", { value }))));
  }));
  part("editor").onclose = () => {
    if (part("editor").returnValue !== "keep") return;
    const made = Object.fromEntries([...part("fields").querySelectorAll("input")]
      .map((input) => [input.name, input.value.trim()]).filter(([, value]) => value));
    if (Object.keys(made).length) corrections.set(item.id, made);
    else corrections.delete(item.id);
    draw();
  };
  part("editor").returnValue = "";
  part("editor").showModal();
}

const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

function csv() {
  const columns = ["item_id", ...DATA.fields];
  const rows = [...corrections].map(([id, made]) => [id, ...DATA.fields.map((f) => made[f] || "")]);
  return [columns, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

part("save").addEventListener("click", () => {
  const href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  element("a", { href, download: "overrides.csv" }).click();
  URL.revokeObjectURL(href);
});
addEventListener("beforeunload", (event) => {
  if (csv() !== saved) event.preventDefault();
});
part("save").addEventListener("click", () => { saved = csv(); });
let saved = csv();
part("attribute").replaceChildren(
  ...Object.keys(DATA.values).map((name) => element("option", { value: name }, name)));
part("attribute").addEventListener("change", draw);
draw();

// Elements of the page: how one is made, what classes are called on it, and what cells drop onto.

import { NOT_A_CELL, SKIPPED, UNIDENTIFIED } from "./cells.js";

export function titleOf(name) {
  return { [UNIDENTIFIED]: "Unidentified", [NOT_A_CELL]: "Not a cell", [SKIPPED]: "Skipped" }[name] ?? upper(name.replaceAll("_", " "));
}

const upper = (words) => words[0].toUpperCase() + words.slice(1);

export function make(tag, name, text = "") {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text) element.textContent = text;
  return element;
}

// A text, unless it stands there already: what is not touched is not laid out again.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Let cells be dropped on what `find` gives, which names a class in `data-to`.
export function acceptDrops(box, find, drop) {
  let over = null;
  const mark = (element) => {
    over?.classList.remove("over");
    over = element;
    over?.classList.add("over");
  };
  box.addEventListener("dragover", (event) => {
    const target = find(event.target);
    mark(target);
    if (target && target.dataset.to !== UNIDENTIFIED) event.preventDefault();
  });
  box.addEventListener("dragleave", () => mark(null));
  box.addEventListener("drop", (event) => {
    const target = find(event.target);
    mark(null);
    event.preventDefault();
    if (target && target.dataset.to !== UNIDENTIFIED) drop(target.dataset.to);
  });
}

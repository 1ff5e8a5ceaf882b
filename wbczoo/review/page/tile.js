// A class's group in the gallery, and a cell's tile in it: its picture, the key of what is proposed, how probable that is, what a cell was that somebody says to be another, and a mark.

import { UNIDENTIFIED } from "./cells.js";
import { make, titleOf } from "./elements.js";

export function newGroup(name, key) {
  const element = make("div", name === UNIDENTIFIED ? "group flagged" : "group");
  element.setAttribute("role", "group");
  element.dataset.to = name;
  const head = element.appendChild(make("div", "head"));
  head.setAttribute("aria-hidden", "true");
  if (key) head.appendChild(make("kbd", "", key));
  head.appendChild(make("b", "", titleOf(name)));
  const told = head.appendChild(make("span", ""));
  if (name === UNIDENTIFIED) head.appendChild(make("span", "", "look at each: the key of its class, or space for the one proposed"));
  return { element, told, text: "" };
}

export function newTile(cell) {
  const element = document.getElementById("tile").content.firstElementChild.cloneNode(true);
  element.id = `cell-${cell}`;
  element.dataset.cell = cell;
  const [image, tag] = element.children, [key, was, percent, mark] = tag.children;
  return { element, image, key, was, percent, mark, x: null, y: null, state: "" };
}

// Write into a tile what is by now said of its cell; `among` is its place and of how many, of the current one.
export function tellTile(tile, cells, cell, section, { chosen, among, keyOf }) {
  const told = cells.all[cell], said = cells.said(cell), percent = percentOf(cells, cell, section), { element } = tile;
  const state = [said, told.waits.length, percent, chosen, ...among].join();
  if (tile.state === state) return;
  tile.state = state;
  element.classList.toggle("seen", said !== null);
  element.classList.toggle("waits", told.waits.length > 0);
  element.classList.toggle("current", among.length > 0);
  element.setAttribute("aria-selected", String(chosen));
  if (among.length) {
    element.setAttribute("aria-posinset", String(among[0] + 1));
    element.setAttribute("aria-setsize", String(among[1]));
  }
  element.setAttribute("aria-label", labelOf(cells, cell, percent));
  tile.was.textContent = cells.reclassified(cell) ? `was: ${titleOf(told.proposed)}` : "";
  tile.percent.textContent = percent;
  tile.key.textContent = section === UNIDENTIFIED ? keyOf.get(told.proposed) ?? "" : "";
  tile.mark.textContent = said !== null ? "✓" : told.flags[0]?.replace("contradicted", "contra.") ?? "";
}

function percentOf(cells, cell, section) {
  const { proposed } = cells.all[cell];
  return proposed === null ? "–" : `${Math.round(100 * cells.probability(cell, cells.reclassified(cell) ? proposed : section))} %`;
}

function labelOf(cells, cell, percent) {
  const told = cells.all[cell], said = cells.said(cell);
  const was = cells.reclassified(cell) ? `, was: ${titleOf(told.proposed)} ${percent}` : "";
  const what = said !== null ? `${titleOf(said)}, decided${was}` : told.proposed ? `${titleOf(told.proposed)} proposed, ${percent}` : "No cell found";
  return [what, ...told.flags, cells.photographs[told.photograph].path].join(", ");
}

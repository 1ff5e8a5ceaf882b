// The photograph of the current cell, with a box around each; and what the model says of the cell.

import { make, titleOf, write } from "./elements.js";

const FLAGS = {
  unknown: "unlike what the model learned from",
  unsure: "too improbable to be trusted",
  contradicted: "the model's answers contradict one another",
  "at-edge": "cut by the photograph's frame",
  added: "drawn by hand: the model was not asked",
  "no-cell": "no white cell was found in this photograph",
};
const MAP = "What the model's answer rests on: orange speaks for it, blue against it, the stronger the more.";
const SVG = "http://www.w3.org/2000/svg";

export class Field {
  constructor(cells, go) {
    this.cells = cells;
    this.box = document.getElementById("field");
    this.inner = document.getElementById("field-inner");
    this.image = document.getElementById("field-image");
    this.boxes = document.getElementById("field-boxes");
    this.zoomed = document.getElementById("zoom");
    this.scale = 1;
    this.photograph = null;
    this.middle = null; // a box, where it is not the current cell's
    this.changed = () => {}; // another photograph is shown
    this.zoomed.addEventListener("click", () => this.zoom());
    this.boxes.addEventListener("click", (event) => event.target.dataset.cell && go(Number(event.target.dataset.cell)));
    this.box.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.scale = Math.max(1, Math.min(16, this.scale * (event.deltaY < 0 ? 1.25 : 0.8)));
      this.place();
    }, { passive: false });
    this.mapped = false;
    document.getElementById("map-toggle").addEventListener("click", () => this.map());
    const map = document.getElementById("map-image"), text = document.getElementById("map-text");
    map.addEventListener("load", () => (text.textContent = MAP));
    map.addEventListener("error", () => {
      text.textContent = "There is no map: this model's answers cannot be parted over the image.";
      map.removeAttribute("src");
    });
    this.image.addEventListener("error", () => this.refuse());
    this.image.addEventListener("load", () => this.refuse(""));
    new ResizeObserver(() => this.measure()).observe(this.box);
    this.measure();
  }

  // What is asked here, and not for each key, lets the browser lay out the page once a frame.
  measure() {
    this.wide = this.box.clientWidth;
    this.high = this.box.clientHeight;
    this.place();
  }

  async refuse(words = null) {
    const line = document.getElementById("field-refused");
    line.textContent = words ?? "The photograph cannot be shown. It may have changed or be gone.";
    line.hidden = line.textContent === "";
  }

  // Show, or no longer, what speaks for the answer about each cell.
  map() {
    this.mapped = !this.mapped;
    document.getElementById("map-toggle").setAttribute("aria-pressed", String(this.mapped));
    this.drawMap();
  }

  drawMap() {
    const shown = this.mapped && this.cells.all[this.cell].proposed !== null;
    document.getElementById("map").hidden = !shown;
    const source = `maps/${this.cell}.png`, image = document.getElementById("map-image");
    if (!shown || image.getAttribute("src") === source) return;
    document.getElementById("map-text").textContent = "Drawing…";
    image.src = source;
  }

  zoom() {
    const { width, height } = this.cells.photographs[this.photograph];
    const { left, top, right, bottom } = this.cells.all[this.cell];
    const wide = Math.max((right - left) / width, (bottom - top) / height);
    this.scale = this.scale > 1 ? 1 : Math.max(1.5, Math.min(12, 0.45 / wide));
    this.place();
  }

  show(cell) {
    this.cell = cell;
    const told = this.cells.all[cell];
    if (told.photograph !== this.photograph) {
      this.changed();
      this.photograph = told.photograph;
      this.cells.viewed.add(told.photograph);
      this.image.src = `photographs/${told.photograph}.jpg`;
      this.drawBoxes();
    }
    for (const rect of this.boxes.children) rect.classList.toggle("now", Number(rect.dataset.cell) === cell);
    this.place();
    this.tell();
    this.drawMap();
  }

  drawBoxes() {
    const { width, height, cells } = this.cells.photographs[this.photograph];
    this.boxes.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.boxes.replaceChildren(...cells.filter((cell) => this.cells.shownIn[cell] !== null).map((cell) => {
      const { left, top, right, bottom, flags } = this.cells.all[cell];
      const rect = document.createElementNS(SVG, "rect");
      for (const [name, value] of Object.entries({ x: left, y: top, width: right - left, height: bottom - top })) rect.setAttribute(name, value);
      rect.dataset.cell = cell;
      rect.classList.toggle("flagged", flags.length > 0);
      return rect;
    }));
  }

  // A place of this view in pixels of the photograph.
  inPhotograph(x, y) {
    return { x: (x - this.at.x) / this.at.scale, y: (y - this.at.y) / this.at.scale };
  }

  // Fit the photograph into its place, or the current cell, or what is drawn, into the middle of it.
  place() {
    if (this.photograph === null) return;
    const { width, height } = this.cells.photographs[this.photograph];
    const { wide, high } = this;
    const fit = Math.min(wide / width, high / height);
    const { left, top, right, bottom } = this.middle ?? this.cells.all[this.cell];
    const scale = fit * this.scale;
    const put = (space, size, middle) => size * scale <= space ? (space - size * scale) / 2
      : Math.min(0, Math.max(space - size * scale, space / 2 - middle * scale));
    const x = put(wide, width, (left + right) / 2), y = put(high, height, (top + bottom) / 2);
    this.at = { x, y, scale };
    Object.assign(this.inner.style, { width: `${width * scale}px`, height: `${height * scale}px`, transform: `translate(${x}px, ${y}px)` });
    this.zoomed.setAttribute("aria-pressed", String(this.scale > 1));
  }

  tell() {
    const told = this.cells.all[this.cell], said = this.cells.said(this.cell);
    const photograph = this.cells.photographs[told.photograph];
    const title = said !== null ? `${titleOf(said)}, decided${told.by && !told.waits.length ? ` by ${told.by}` : ""}` : told.proposed ? `Proposed: ${titleOf(told.proposed)}` : "No cell found";
    write(document.getElementById("cell-title"), this.cells.reclassified(this.cell) ? `${title}; was: ${titleOf(told.proposed)}` : title);
    for (const rect of this.boxes.children) rect.classList.toggle("decided", this.cells.seen.has(Number(rect.dataset.cell ?? -1)));
    if (this.toldOf === this.cell) return;
    this.toldOf = this.cell;
    write(document.getElementById("cell-path"), photograph.path);
    const flags = make("p", "flags", [...told.flags, ...(told.added ? ["added"] : [])].map((flag) => `${flag}: ${FLAGS[flag] ?? "the model flagged it"}`).join("; "));
    const bars = make("dl", "bars");
    const order = told.proposed ? this.cells.proposes.map((name, place) => [told.probabilities[place], name]) : [];
    order.sort((a, b) => b[0] - a[0]);
    for (const [probability, name] of order.slice(0, 4)) {
      bars.appendChild(make("dt", "", titleOf(name)));
      const bar = bars.appendChild(make("dd", "bar"));
      bar.appendChild(make("div", "")).style.width = `${100 * probability}%`;
      bars.appendChild(make("dd", "", `${(100 * probability).toFixed(1)} %`));
    }
    document.getElementById("cell-answer").replaceChildren(...(flags.textContent ? [flags] : []), bars);
  }
}

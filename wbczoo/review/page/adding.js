// A white cell that the finder missed: its box is put on the photograph by arrows or by dragging, and a class's key adds it.

import { NOT_A_CELL } from "./cells.js";
import { titleOf } from "./elements.js";

const SVG = "http://www.w3.org/2000/svg", SMALLEST = 4;
const HOW = "Arrows move the box, Shift with arrows sizes it, or drag a new one; the key of its class adds the cell, Esc leaves.";

export class Adding {
  constructor(cells, field, { add, say }) {
    Object.assign(this, { cells, field, add, say });
    this.button = document.getElementById("add");
    this.rect = document.createElementNS(SVG, "rect");
    this.rect.setAttribute("class", "new");
    this.box = null; // left, top, right, bottom in pixels of the photograph, while one is drawn
    field.changed = () => this.end();
    field.box.addEventListener("pointerdown", (event) => this.drag(event));
  }

  toggle() {
    if (this.box) return this.end();
    this.field.box.scrollIntoView({ block: "nearest" });
    const { x, y, side } = this.middle();
    this.show([x - side / 2, y - side / 2, x + side / 2, y + side / 2]);
    this.say(HOW);
  }

  end() {
    this.show(null);
    this.follow();
  }

  // Bring the box into sight, where the photograph is zoomed into; without one, the current cell.
  follow() {
    const [left, top, right, bottom] = this.box ?? [];
    this.field.middle = this.box && { left, top, right, bottom };
    this.field.place();
  }

  // The middle of what is seen of the photograph, and how large its cells are.
  middle() {
    const { x, y } = this.field.inPhotograph(this.field.wide / 2, this.field.high / 2);
    const { width, height } = this.photograph;
    const known = this.cells.all.filter((each) => each && (each.proposed !== null || each.added));
    const sides = known.map((each) => Math.max(each.right - each.left, each.bottom - each.top)).sort((a, b) => a - b);
    return { x, y, side: Math.min(width, height, sides[sides.length >> 1] ?? Math.min(width, height) / 6) };
  }

  get photograph() {
    return this.cells.photographs[this.field.photograph];
  }

  // Show a box, kept in the photograph; none where there is null.
  show(box) {
    if (box) {
      const { width, height } = this.photograph;
      const wide = Math.min(width, Math.max(SMALLEST, Math.round(box[2] - box[0]))), high = Math.min(height, Math.max(SMALLEST, Math.round(box[3] - box[1])));
      const left = Math.min(width - wide, Math.max(0, Math.round(box[0]))), top = Math.min(height - high, Math.max(0, Math.round(box[1])));
      box = [left, top, left + wide, top + high];
      for (const [name, value] of Object.entries({ x: left, y: top, width: wide, height: high })) this.rect.setAttribute(name, value);
      if (!this.rect.isConnected) this.field.boxes.appendChild(this.rect);
    } else this.rect.remove();
    this.box = box;
    this.field.box.classList.toggle("adding", box !== null);
    this.button.setAttribute("aria-pressed", String(box !== null));
  }

  // A key, while a box is shown: whether it was meant for the box.
  press(event) {
    const { key, shiftKey } = event, way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
    if (way) {
      const [left, top, right, bottom] = this.box, step = Math.max(1, Math.round((right - left) / 8));
      const [x, y] = way.map((each) => each * step);
      this.show(shiftKey ? [left - x / 2, top - y / 2, right + x / 2, bottom + y / 2] : [left + x, top + y, right + x, bottom + y]);
      this.follow();
    } else if (key === "Escape") this.end();
    else if (key === "Enter") this.say(HOW);
    else return false;
    return true;
  }

  // It is of this class.
  decide(name) {
    if (name === NOT_A_CELL) return this.say(HOW);
    const box = this.box;
    this.end();
    this.add({ photograph: this.field.photograph, box, to: [name] });
    this.say(`${titleOf(name)} added. u undoes it.`);
  }

  drag(event) {
    if (!this.box || event.button !== 0) return;
    event.preventDefault();
    const at = ({ clientX, clientY }) => {
      const { left, top } = this.field.box.getBoundingClientRect();
      return this.field.inPhotograph(clientX - left, clientY - top);
    };
    const from = at(event), { box } = this.field;
    const move = (next) => {
      const to = at(next);
      this.show([Math.min(from.x, to.x), Math.min(from.y, to.y), Math.max(from.x, to.x), Math.max(from.y, to.y)]);
    };
    box.setPointerCapture(event.pointerId);
    box.addEventListener("pointermove", move);
    box.addEventListener("lostpointercapture", () => box.removeEventListener("pointermove", move), { once: true });
  }
}

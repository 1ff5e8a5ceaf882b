// The gallery: of ten thousand cells, those that are on the screen are elements.

import { Crops } from "./crops.js";
import { SKIPPED, UNIDENTIFIED } from "./cells.js";
import { acceptDrops, titleOf } from "./elements.js";
import { newGroup, newTile, tellTile } from "./tile.js";

const HEAD = 30, GAP = 6, TAG = 18, PAD = 12, BEYOND = 250, ROWS = 2, SAID = 56; // pixels; what is said stands over the last ones

export class Gallery {
  constructor(cells, { select, drop }) {
    this.cells = cells;
    this.select = select;
    this.drop = drop;
    this.box = document.getElementById("gallery");
    this.canvas = document.getElementById("canvas");
    this.wanted = 96;  // pixels; a tile is so wide, or a little more, that a row is full
    this.current = null;
    this.anchor = null;
    this.selected = new Set();
    this.keyOf = new Map(cells.classes.map(({ name, key }) => [name, key]));
    this.tiles = new Map();
    this.crops = new Crops(() => this.ahead());
    this.groups = new Map();
    this.layout = [];
    this.drawing = false;
    this.changed = true; // something, since it was painted, but how far it is scrolled
    this.window = [];
    this.box.addEventListener("scroll", () => this.scrolled(), { passive: true });
    new ResizeObserver(() => this.measure()).observe(this.box);
    this.measure();
    this.box.addEventListener("click", (event) => this.clicked(event));
    this.box.addEventListener("dragstart", (event) => this.dragged(event));
    acceptDrops(this.box, (target) => target.closest(".group"), (to) => this.drop(to));
  }

  // What is asked here, and not for each key, lets the browser lay out the page once a frame.
  measure() {
    const { clientWidth: width, clientHeight: height, scrollTop: top } = this.box;
    Object.assign(this, { width, height, top });
    this.draw();
  }

  resize(size) {
    this.wanted = Math.max(64, Math.min(192, size));
    this.draw();
    if (this.current !== null) this.reveal(this.current);
  }

  // Soon, once for all that changed before the next frame.
  draw() {
    this.changed = true;
    this.soon();
  }

  soon() {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      this.paint();
    });
  }

  arrange() {
    const inner = this.width - 2 * PAD;
    this.columns = Math.max(1, Math.floor((inner + GAP) / (this.wanted + GAP)));
    const tile = Math.max(48, Math.floor((inner + GAP) / this.columns) - GAP);
    if (tile !== this.tile) document.documentElement.style.setProperty("--tile", `${tile}px`);
    this.canvas.classList.toggle("small", tile < 96);
    this.tile = tile;
    this.row = this.tile + TAG + GAP;
    let top = 0;
    this.layout = this.cells.sections.map((section) => {
      const rows = Math.ceil(section.cells.length / this.columns);
      const gone = !rows && (section.name === SKIPPED || section.name === UNIDENTIFIED);
      const height = gone ? 0 : HEAD + rows * this.row + (rows ? GAP : 0);
      const found = { section, top, height };
      top += height;
      return found;
    });
    this.canvas.style.height = `${top + SAID}px`;
  }

  // The classes in sight, and of each the first cell in sight and the one behind the last.
  inSight() {
    const from = this.top - BEYOND, to = this.top + this.height + BEYOND;
    return this.layout
      .filter(({ top, height }) => height && top + height >= from && top <= to)
      .map(({ section, top, height }) => ({
        section, top, height,
        first: Math.max(0, Math.floor((from - top - HEAD) / this.row / ROWS)) * ROWS * this.columns,
        last: Math.min(section.cells.length, Math.ceil((to - top - HEAD) / this.row / ROWS) * ROWS * this.columns),
      }));
  }

  paint() {
    const { changed } = this;
    if (changed) {
      this.arrange();
      this.arranged?.(this.tile);
    }
    const window = this.inSight();
    if (!changed && same(window, this.window)) return;
    this.down = changed || !isBefore(window[0], this.window[0]);
    this.changed = false;
    this.window = window;
    const shown = new Set(), groups = new Set();
    for (const { section, top, height, first, last } of window) {
      const group = this.group(section, top, height);
      groups.add(section.name);
      for (let place = first; place < last; place++) {
        const cell = section.cells[place];
        shown.add(cell);
        if (changed || !this.tiles.has(cell)) this.paintTile(group, section, place);
      }
    }
    for (const [cell, tile] of this.tiles) {
      if (!shown.has(cell)) {
        tile.element.remove();
        this.crops.forget(cell);
        this.tiles.delete(cell);
      }
    }
    for (const [name, group] of this.groups) {
      if (!groups.has(name)) {
        group.element.remove();
        this.groups.delete(name);
      }
    }
    const tile = this.tiles.get(this.current);
    if (tile) this.box.setAttribute("aria-activedescendant", tile.element.id);
    else this.box.removeAttribute("aria-activedescendant");
  }

  // The cells that come into sight if it is scrolled on.
  ahead() {
    if (!this.window.length) return [];
    const { section, first, last } = this.down ? this.window.at(-1) : this.window[0];
    return this.down ? section.cells.slice(last, last + 100) : section.cells.slice(Math.max(0, first - 100), first).reverse();
  }

  group(section, top, height) {
    let group = this.groups.get(section.name);
    if (!group) {
      group = newGroup(section.name, this.keyOf.get(section.name));
      this.groups.set(section.name, group);
      this.canvas.appendChild(group.element);
    }
    group.element.style.transform = `translateY(${top}px)`;
    group.element.style.height = `${height}px`;
    const text = String(section.cells.length);
    if (group.text !== text) {
      group.text = group.told.textContent = text;
      group.element.setAttribute("aria-label", `${titleOf(section.name)}, ${text} cells`);
    }
    return group;
  }

  paintTile(group, section, place) {
    const cell = section.cells[place];
    let tile = this.tiles.get(cell);
    if (!tile) {
      tile = newTile(cell);
      this.crops.show(cell, tile.image);
      this.tiles.set(cell, tile);
    }
    const { element } = tile;
    if (element.parentNode !== group.element) group.element.appendChild(element);
    const x = PAD + (place % this.columns) * (this.tile + GAP);
    const y = HEAD + Math.floor(place / this.columns) * this.row;
    // No transforms, and no clips: each would be painted for itself.
    if (tile.x !== x) element.style.left = `${(tile.x = x)}px`;
    if (tile.y !== y) element.style.top = `${(tile.y = y)}px`;
    // Where a tile stands among how many is told of the current one alone: it changes for all at once.
    const among = cell === this.current ? [place, section.cells.length] : [];
    tellTile(tile, this.cells, cell, section.name, { chosen: this.selected.has(cell), among, keyOf: this.keyOf });
  }

  clicked(event) {
    const tile = event.target.closest(".tile");
    if (!tile) return;
    const cell = Number(tile.dataset.cell);
    if (event.shiftKey && this.anchor !== null) this.selectTo(cell);
    else if (event.ctrlKey || event.metaKey) this.toggle(cell);
    else this.clear();
    this.go(cell, event.shiftKey);
  }

  dragged(event) {
    const cell = Number(event.target.closest(".tile")?.dataset.cell);
    if (!this.selected.has(cell)) this.clear();
    this.go(cell);
    event.dataTransfer.setData("text/plain", "cells");
    event.dataTransfer.effectAllowed = "move";
  }

  toggle(cell) {
    if (!this.selected.size && this.current !== null) this.selected.add(this.current);
    if (!this.selected.delete(cell)) this.selected.add(cell);
  }

  selectTo(cell) {
    this.anchor ??= this.current;
    this.selected = new Set(this.cells.between(this.anchor, cell));
  }

  selectSection() {
    if (this.current === null) return;
    this.selected = new Set(this.cells.find(this.current).section.cells);
    this.draw();
  }

  clear() {
    this.selected.clear();
    this.draw();
  }

  // Make a cell the current one, and bring it into sight.
  go(cell, extending = false) {
    this.current = cell;
    if (!extending) this.anchor = cell;
    if (cell !== null) this.reveal(cell);
    this.draw();
    this.select(cell);
  }

  reveal(cell) {
    this.arrange();
    const { section, place } = this.cells.find(cell);
    const { top } = this.layout.find((each) => each.section === section);
    const y = top + HEAD + Math.floor(place / this.columns) * this.row;
    if (y - HEAD < this.top) this.scroll(y - HEAD);
    else if (y + this.row > this.top + this.height) this.scroll(Math.min(y - HEAD, y + 2 * this.row - this.height)); // above what is said
  }

  scroll(top) {
    this.box.scrollTop = top;
    this.scrolled();
  }

  scrolled() {
    this.top = this.box.scrollTop;
    this.soon();
  }

  showSection(name) {
    const section = this.cells.sectionOf.get(name);
    if (section.cells.length) this.go(section.cells[0]);
    this.box.focus();
  }

  // The cell a row above or below, of another class where this one ends.
  vertical(cell, by) {
    const { section, place } = this.cells.find(cell);
    const column = place % this.columns, row = Math.floor(place / this.columns) + by;
    const rows = Math.ceil(section.cells.length / this.columns);
    if (row >= 0 && row < rows) return section.cells[Math.min(row * this.columns + column, section.cells.length - 1)];
    return this.neighbour(section, Math.sign(by), (cells) => {
      const last = Math.floor((cells.length - 1) / this.columns);
      return cells[Math.min((by < 0 ? last : 0) * this.columns + column, cells.length - 1)];
    });
  }

  neighbour(section, by, choose) {
    const { sections } = this.cells;
    for (let number = sections.indexOf(section) + by; number >= 0 && number < sections.length; number += by) {
      if (sections[number].cells.length) return choose(sections[number].cells);
    }
    return null;
  }

  get page() {
    return Math.max(1, Math.floor(this.height / this.row) - 1);
  }

  // The cells of the current one's class of which the whole is in sight.
  shown() {
    if (this.current === null) return [];
    this.arrange();
    const { section } = this.cells.find(this.current);
    const { top } = this.layout.find((each) => each.section === section);
    return section.cells.filter((_, place) => {
      const y = top + HEAD + Math.floor(place / this.columns) * this.row;
      return y >= this.top - 1 && y + this.tile <= this.top + this.height + 1;
    });
  }
}

const same = (a, b) => a.length === b.length
  && a.every(({ section, first, last }, place) => section === b[place].section && first === b[place].first && last === b[place].last);

const isBefore = (a, b) => a && b && (a.top < b.top || (a.section === b.section && a.first < b.first));

// Undo and redo: the frame goes to the cell that they change, and keys that were pressed meanwhile wait for it.

import { titleOf } from "./elements.js";

const WORDS = { undo: "Undone", redo: "Done again" };

export class Undoing {
  constructor(cells, gallery, { link, say }) {
    Object.assign(this, { cells, gallery, link, say });
    this.asked = new Map(); // token -> "undo" or "redo", until it is answered
    this.held = []; // what keys are to do afterwards
  }

  ask(what) {
    this.asked.set(this.link.send({ do: what }), what);
  }

  // Do it now, or once the frame stands where an undo brings it.
  act(act) {
    if (!this.asked.size) return act();
    this.held.push(act);
    if (!this.link.connected) this.say("Not connected: keys wait until what was undone is known.");
  }

  // The server has answered; `moved` are rows of a cell, what it was said to be before, and what after.
  answered(token, moved = []) {
    const what = this.asked.get(token);
    if (!this.asked.delete(token)) return;
    if (moved.length) {
      this.tell(what, moved);
      const cell = moved.map(([each]) => each).find((each) => this.cells.shownIn[each] !== null);
      this.gallery.selected.clear();
      if (cell !== undefined) this.gallery.go(cell);
    }
    queueMicrotask(() => {
      while (this.held.length && !this.asked.size) this.held.shift()();
    });
  }

  tell(what, moved) {
    const [cell, from, to] = moved[0], [said, before] = what === "undo" ? [from, to] : [to, from];
    const name = (each) => titleOf(each ?? this.cells.unsaid(cell) ?? "no cell").toLowerCase();
    this.say(`${WORDS[what]}: ${moved.length > 1 ? `${moved.length} cells, ` : ""}${name(said)}, was ${name(before)}.`);
  }
}

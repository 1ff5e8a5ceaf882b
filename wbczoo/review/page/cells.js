// The cells of a review as this page knows them: proposed, decided, and decided but not yet saved.

export const UNIDENTIFIED = "unidentified";
export const NOT_A_CELL = "not_a_cell";
export const SKIPPED = "skipped";

export class Cells {
  constructor(told) {
    this.classes = told.classes.map(([name, key]) => ({ name, key }));
    this.proposes = told.proposes;
    this.photographs = told.photographs.map(([path, width, height, error]) => ({ path, width, height, error, cells: [] }));
    this.all = told.cells.map(([photograph, left, top, right, bottom, proposed, probabilities, flags], cell) => {
      this.photographs[photograph].cells.push(cell);
      return {
        photograph, left, top, right, bottom, probabilities, most: Math.max(0, ...probabilities),
        proposed: proposed < 0 ? null : told.proposes[proposed],
        flags: flags ? flags.split(" ") : [],
        decided: null, by: "", line: 0, waits: [],
      };
    });
    this.sections = [UNIDENTIFIED, ...this.classes.map((each) => each.name), SKIPPED].map((name) => ({ name, cells: [] }));
    this.sectionOf = new Map(this.sections.map((section) => [section.name, section]));
    this.place = new Map(told.proposes.map((name, place) => [name, place]));
    this.waiting = new Map();
    this.seen = new Set();
    this.viewed = new Set(); // photographs that were shown, or of which a cell was decided
    this.shownIn = new Array(this.all.length);
    for (const row of told.added) this.add(row);
    for (const [cell, to, by, line] of told.changes) Object.assign(this.all[cell], { decided: to, by, line });
    this.all.forEach((_, cell) => {
      this.shownIn[cell] = this.belongs(cell);
      if (this.said(cell) !== null) this.look(cell);
      this.sectionOf.get(this.shownIn[cell])?.cells.push(cell);
    });
    for (const section of this.sections) section.cells.sort((a, b) => this.order(section, a, b));
  }

  // A cell that somebody drew; it is shown while something is said of it.
  add([cell, photograph, left, top, right, bottom]) {
    if (this.all[cell]) return;
    this.photographs[photograph].cells.push(cell);
    this.shownIn[cell] = null;
    this.all[cell] = {
      photograph, left, top, right, bottom, probabilities: this.proposes.map(() => 0), most: 0, proposed: null, flags: [],
      added: true, decided: null, by: "", line: 0, waits: [],
    };
  }

  get shown() {
    return this.sections.reduce((sum, { cells }) => sum + cells.length, 0);
  }

  // What a cell is said to be: the last key pressed, else the last decision, else nothing.
  said(cell) {
    const { waits, decided } = this.all[cell];
    return waits.length ? waits.at(-1).to : decided;
  }

  // Where a cell stands of which nothing is said; null where it is then none.
  unsaid(cell) {
    const { flags, proposed, added } = this.all[cell];
    return added ? null : flags.length || !proposed ? UNIDENTIFIED : proposed;
  }

  belongs(cell) {
    return this.said(cell) ?? this.unsaid(cell);
  }

  // Whether somebody said another class than was proposed.
  reclassified(cell) {
    const { proposed } = this.all[cell], said = this.said(cell);
    return said !== null && proposed !== null && said !== proposed;
  }

  probability(cell, name) {
    const place = this.place.get(name), { probabilities, most } = this.all[cell];
    return place === undefined ? most : probabilities[place];
  }

  order({ name }, a, b) {
    return this.probability(a, name) - this.probability(b, name) || a - b;
  }

  // Where a cell stands: its section, and its place in it.
  find(cell) {
    const section = this.sectionOf.get(this.shownIn[cell]);
    let low = 0, high = section.cells.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.order(section, section.cells[middle], cell) < 0) low = middle + 1;
      else high = middle;
    }
    return { section, place: low };
  }

  look(cell) {
    this.seen.add(cell);
    this.viewed.add(this.all[cell].photograph);
  }

  // The cell to look at of the next photograph that has any, or of the one before.
  photographBeside(cell, by) {
    for (let place = this.all[cell].photograph + by; this.photographs[place]; place += by) {
      const shown = this.photographs[place].cells.filter((each) => this.shownIn[each] !== null);
      if (shown.length) return shown.find((each) => this.said(each) === null) ?? shown[0];
    }
    return null;
  }

  // Move a cell to where it belongs by now.
  settle(cell) {
    if (this.said(cell) !== null) this.look(cell);
    else this.seen.delete(cell);
    const to = this.belongs(cell);
    if (to === this.shownIn[cell]) return;
    if (this.shownIn[cell] !== null) {
      const { section, place } = this.find(cell);
      section.cells.splice(place, 1);
    }
    this.shownIn[cell] = to;
    if (to === null) return;
    const found = this.find(cell);
    found.section.cells.splice(found.place, 0, cell);
  }

  await(changes, token) {
    this.waiting.set(token, changes.map(([cell]) => cell));
    for (const [cell, to] of changes) {
      this.all[cell].waits.push({ to, token });
      this.settle(cell);
    }
  }

  // The server has answered an action: what it said stands, and nothing waits for it.
  answered(token) {
    for (const cell of this.waiting.get(token) ?? []) {
      const each = this.all[cell];
      each.waits = each.waits.filter((wait) => wait.token !== token);
      this.settle(cell);
    }
    this.waiting.delete(token);
  }

  change(cell, to, by, line) {
    const each = this.all[cell];
    if (line < each.line) return;
    Object.assign(each, { decided: to, by, line });
    this.settle(cell);
  }

  isUnseenFlagged(cell) {
    return this.all[cell]?.flags.length > 0 && this.said(cell) === null;
  }

  // All cells in the order of the gallery, as one row.
  step(cell, by) {
    if (this.shownIn[cell] === null) return this.first();
    let { section, place } = this.find(cell);
    let number = this.sections.indexOf(section);
    place += by;
    while (place < 0 || place >= this.sections[number].cells.length) {
      const next = number + Math.sign(by);
      if (next < 0 || next >= this.sections.length) return null;
      place = by < 0 ? this.sections[next].cells.length - 1 : 0;
      number = next;
    }
    return this.sections[number].cells[place];
  }

  first() {
    return this.sections.find((section) => section.cells.length)?.cells[0] ?? null;
  }

  between(a, b) {
    const order = (cell) => {
      const { section, place } = this.find(cell);
      return [this.sections.indexOf(section), place];
    };
    const [from, to] = [order(a), order(b)].sort((x, y) => x[0] - y[0] || x[1] - y[1]);
    const found = [];
    for (let number = from[0]; number <= to[0]; number++) {
      const { cells } = this.sections[number];
      found.push(...cells.slice(number === from[0] ? from[1] : 0, number === to[0] ? to[1] + 1 : cells.length));
    }
    return found;
  }
}

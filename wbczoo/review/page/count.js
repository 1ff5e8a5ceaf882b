// The live count, its intervals and ranges, and the notes that stand under it.

import { acceptDrops, make, titleOf, write } from "./elements.js";

const NOTES = ["red_cells", "white_cells", "platelets", "comment"];
const COLUMNS = [["cells", "cells"], ["share", "%"], ["interval", "95 % interval"], ["range", "range"], ["looked-at", "looked at"], ["proposed", "proposed"]];
const GOING = ["no-proposed", "wraps", "no-looked-at", "no-range", "no-interval", "breaks"]; // where there is no room, in this order

export class Count {
  constructor(cells, { show, drop, note }) {
    this.cells = cells;
    this.show = show;
    this.table = document.getElementById("count");
    this.note = note;
    acceptDrops(this.table, (target) => target.closest("tr[data-to]"), drop);
    for (const name of NOTES) {
      const area = document.getElementById(`note-${name}`);
      let last = null;
      const save = () => {
        clearTimeout(last);
        last = null;
        if (area.value !== area.dataset.saved) note(name, area.value);
      };
      area.dataset.saved = "";
      area.addEventListener("input", () => {
        clearTimeout(last);
        last = setTimeout(save, 800);
      });
      area.addEventListener("blur", save);
    }
  }

  tell({ table, notes, signed }) {
    if (!this.lines) this.build(table);
    for (const [name, row] of Object.entries(table.classes)) {
      const told = { cells: row.count, ...sharesOf(row), range: row.range ? `${row.range[0]} to ${row.range[1]}` : "", "looked-at": row.reviewed, proposed: row.proposed };
      const cells = this.lines.get(name);
      for (const [column, cell] of Object.entries(cells)) write(cell, String(told[column]));
      cells.share.classList.toggle("outside", Boolean(row.outside));
    }
    write(this.sum, String(table.counted));
    const warnings = document.getElementById("warnings"), words = table.warnings.join("\n");
    if (warnings.dataset.words !== words) warnings.replaceChildren(...table.warnings.map((each) => make("p", "warning", each)));
    warnings.dataset.words = words;
    for (const name of NOTES) {
      const area = document.getElementById(`note-${name}`), text = notes[name] ?? "";
      if (area.value !== text && (document.activeElement !== area || area.value === area.dataset.saved)) area.value = text;
      area.dataset.saved = text;
      area.readOnly = Boolean(signed);
    }
  }

  build({ classes }) {
    const head = make("thead", ""), foot = make("tbody", "sum"), bodies = [make("tbody", ""), make("tbody", "beside")];
    const line = head.appendChild(make("tr", "")), ranged = Object.values(classes).some((row) => row.range);
    this.columns = COLUMNS.filter(([name]) => ranged || name !== "range");
    for (const [name, title] of [["class", "class"], ...this.columns]) line.appendChild(make("th", name, title)).scope = "col";
    const beside = bodies[1].appendChild(make("tr", "")).appendChild(make("th", "", "beside the count of white cells"));
    Object.assign(beside, { colSpan: this.columns.length + 1, scope: "rowgroup" });
    this.lines = new Map();
    for (const [name, row] of Object.entries(classes)) bodies[row.percent === undefined ? 1 : 0].appendChild(this.row(name));
    const sum = foot.appendChild(make("tr", ""));
    sum.appendChild(make("th", "", "white cells")).scope = "row";
    this.sum = sum.appendChild(make("td", ""));
    this.table.replaceChildren(head, bodies[0], foot, bodies[1]);
    const fit = new ResizeObserver(() => requestAnimationFrame(() => this.fit()));
    for (const each of [this.table.parentNode, this.table]) fit.observe(each);
    this.fit();
  }

  // A number that is cut reads as another one: names wrap and whole columns go until the others fit.
  fit() {
    const room = this.table.parentNode.clientWidth, left = [...GOING];
    this.table.className = "";
    while (this.table.offsetWidth > room && left.length) this.table.classList.add(left.shift());
  }

  row(name) {
    const line = make("tr", "");
    line.dataset.to = name;
    const head = line.appendChild(make("th", ""));
    head.scope = "row";
    const button = head.appendChild(make("button", ""));
    const [first, ...rest] = titleOf(name).split(" "), whole = button.appendChild(make("span", ""));
    whole.append(make("kbd", "", this.cells.classes.find((each) => each.name === name)?.key ?? "n"), ` ${first}`);
    button.append(rest.map((each) => ` ${each}`).join(""));
    button.addEventListener("click", () => this.show(name));
    this.lines.set(name, Object.fromEntries(this.columns.map(([column]) => [column, line.appendChild(make("td", column))])));
    return line;
  }
}

// Per cent and interval of a white cell; what is none has no share.
function sharesOf(row) {
  if (row.percent === undefined) return { share: "", interval: "" };
  if (row.percent === null) return { share: "–", interval: "" };
  const low = (Math.floor(row.low * 10 + 1e-9) / 10).toFixed(1), high = (Math.ceil(row.high * 10 - 1e-9) / 10).toFixed(1);
  return { share: `${row.percent.toFixed(1)}${row.outside ? " !" : ""}`, interval: `${low} to ${high}` };
}

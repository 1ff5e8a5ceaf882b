// The live count, its intervals and ranges, and the notes that stand under it.

import { NOT_A_CELL } from "./cells.js";
import { acceptDrops, make, titleOf, write } from "./elements.js";

const NOTES = ["red_cells", "white_cells", "platelets", "comment"];
const HEADS = ["class", "cells", "%", "95 % interval", "range", "looked at", "proposed"];

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
    const ranged = Object.values(table.classes).some((row) => row.range);
    if (!this.lines) this.build(table, ranged);
    for (const [name, row] of Object.entries(table.classes)) {
      const told = [row.count, ...sharesOf(name, row), ...(ranged ? [row.range ? `${row.range[0]} to ${row.range[1]}` : ""] : []), row.reviewed, row.proposed];
      const cells = this.lines.get(name);
      told.forEach((text, place) => write(cells[place], String(text)));
      cells[1].classList.toggle("outside", Boolean(row.outside));
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

  build(table, ranged) {
    const head = make("thead", ""), body = make("tbody", ""), foot = make("tfoot", "");
    const line = head.appendChild(make("tr", ""));
    for (const name of HEADS.filter((each) => ranged || each !== "range")) line.appendChild(make("th", "", name)).scope = "col";
    this.lines = new Map();
    for (const [name, row] of Object.entries(table.classes)) body.appendChild(this.row(name, row, ranged));
    const sum = foot.appendChild(make("tr", ""));
    sum.appendChild(make("th", "", "white cells")).scope = "row";
    this.sum = sum.appendChild(make("td", ""));
    this.table.replaceChildren(head, body, foot);
  }

  row(name, row, ranged) {
    const line = make("tr", row.percent === undefined ? "beside" : "");
    line.dataset.to = name;
    const head = line.appendChild(make("th", ""));
    head.scope = "row";
    const button = head.appendChild(make("button", ""));
    button.append(make("kbd", "", this.cells.classes.find((each) => each.name === name)?.key ?? "n"), ` ${titleOf(name)}`);
    button.addEventListener("click", () => this.show(name));
    this.lines.set(name, Array.from({ length: ranged ? 6 : 5 }, () => line.appendChild(make("td", ""))));
    return line;
  }
}

// Per cent and interval of a white cell; of what is none, that it stands beside.
function sharesOf(name, row) {
  if (row.percent === undefined) return [name === NOT_A_CELL ? "" : "beside", ""];
  if (row.percent === null) return ["–", ""];
  const low = (Math.floor(row.low * 10 + 1e-9) / 10).toFixed(1), high = (Math.ceil(row.high * 10 - 1e-9) / 10).toFixed(1);
  return [`${row.percent.toFixed(1)}${row.outside ? " !" : ""}`, `${low} to ${high}`];
}

// The live count, its intervals and ranges, and the notes that stand under it.

import { NOT_A_CELL } from "./cells.js";
import { acceptDrops, make, titleOf } from "./gallery.js";

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
    const heads = HEADS.filter((name) => ranged || name !== "range");
    const head = make("thead", "");
    const line = head.appendChild(make("tr", ""));
    for (const name of heads) line.appendChild(make("th", "", name)).scope = "col";
    const body = make("tbody", "");
    for (const [name, row] of Object.entries(table.classes)) body.appendChild(this.row(name, row, ranged));
    const foot = make("tfoot", "");
    const sum = foot.appendChild(make("tr", ""));
    sum.appendChild(make("th", "", "white cells")).scope = "row";
    sum.appendChild(make("td", "", String(table.counted)));
    if (!this.table.contains(document.activeElement)) this.table.replaceChildren(head, body, foot);
    else this.keepFocus(head, body, foot);
    const warnings = document.getElementById("warnings");
    warnings.replaceChildren(...table.warnings.map((words) => make("p", "warning", words)));
    for (const name of NOTES) {
      const area = document.getElementById(`note-${name}`);
      const text = notes[name] ?? "";
      if (document.activeElement !== area || area.value === area.dataset.saved) area.value = text;
      area.dataset.saved = text;
      area.readOnly = signed !== null;
    }
  }

  keepFocus(...parts) {
    const to = document.activeElement.closest("tr")?.dataset.to;
    this.table.replaceChildren(...parts);
    this.table.querySelector(`tr[data-to="${CSS.escape(to ?? "")}"] button`)?.focus();
  }

  row(name, row, ranged) {
    const line = make("tr", row.percent === undefined ? "beside" : "");
    line.dataset.to = name;
    const head = line.appendChild(make("th", ""));
    head.scope = "row";
    const button = head.appendChild(make("button", ""));
    button.append(make("kbd", "", this.cells.classes.find((each) => each.name === name)?.key ?? "n"), ` ${titleOf(name)}`);
    button.addEventListener("click", () => this.show(name));
    const put = (text) => line.appendChild(make("td", "", text));
    put(String(row.count));
    if (row.percent === undefined) {
      put(name === NOT_A_CELL ? "" : "beside");
      put("");
    } else {
      const percent = put("");
      const text = row.percent === null ? "–" : row.percent.toFixed(1);
      percent.appendChild(make(row.outside ? "b" : "span", row.outside ? "outside" : "", row.outside ? `${text} !` : text));
      put(row.percent === null ? "" : `${(Math.floor(row.low * 10 + 1e-9) / 10).toFixed(1)} to ${(Math.ceil(row.high * 10 - 1e-9) / 10).toFixed(1)}`);
    }
    if (ranged) put(row.range ? `${row.range[0]} to ${row.range[1]}` : "");
    put(String(row.reviewed));
    put(String(row.proposed));
    return line;
  }
}

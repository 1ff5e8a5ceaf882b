// The page of a review: what a person presses, clicks or drags becomes a decision, shown at once.

import { Adding } from "./adding.js";
import { Cells, NOT_A_CELL, SKIPPED, UNIDENTIFIED } from "./cells.js";
import { Count } from "./count.js";
import { askName, askToSign, fillHelp, plainName, showBanner } from "./dialogs.js";
import { titleOf } from "./elements.js";
import { Field } from "./field.js";
import { Gallery } from "./gallery.js";
import { listenToKeys } from "./keys.js";
import { Link } from "./link.js";
import { Undoing } from "./undoing.js";

const $ = (id) => document.getElementById(id);
const NAME = "wbczoo-reviewer";
const SAVED = { saved: "All saved", waits: "Saving…", lost: "Not connected; trying again. Nothing is lost while this page is open." };

const HERE = `${NAME} ${location.pathname}`; // of this review alone: another one asks again
let you = plainName(sessionStorage.getItem(NAME));
let cells, gallery, field, count, adding, undoing, signed = null, told = null;

const link = new Link({ name: () => you, heard, state: (state) => {
  if ($("saved").dataset.state !== state) $("saved").textContent = SAVED[state];
  $("saved").dataset.state = state;
  $("saved").className = `saved ${state}`;
} });

const added = new Set(); // tokens of cells that were drawn here and are not yet answered

let silence = null;
function say(words) {
  $("say").textContent = words;
  clearTimeout(silence);
  silence = setTimeout(() => ($("say").textContent = ""), 5000);
}

async function begin() {
  for (;;) {
    try {
      told = await link.begin();
    } catch {
      told = { preparing: { stage: "Waiting for wbczoo review", done: 0, total: null } };
    }
    if (told.cells) break;
    wait(told);
    if (told.failed) return;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  you = told.you || you || told.reviewer || plainName(localStorage.getItem(HERE));
  if (!you) await rename();
  else showName();
  $("waiting").hidden = true;
  $("main").hidden = false;
  document.title = `Review, ${told.model}`;
  cells = new Cells(told);
  gallery = new Gallery(cells, { select: show, drop: (to) => decide(to) });
  field = new Field(cells, (cell) => gallery.go(cell));
  adding = new Adding(cells, field, { say, add: (found) => added.add(link.send({ do: "add", ...found })) });
  undoing = new Undoing(cells, gallery, { link, say });
  count = new Count(cells, { show: (name) => (adding.box ? adding.decide(name) : gallery.showSection(name)), drop: (to) => decide(to), note: (name, text) => link.send({ do: "note", field: name, text }) });
  link.version = told.version;
  fillHelp(cells);
  showScale();
  take(told);
  listenToKeys({ cells, gallery, review, adding, undoing });
  gallery.draw();
  if (cells.first() !== null) gallery.go(cells.first());
  gallery.box.focus();
  link.listen();
}

function wait({ failed, preparing }) {
  $("waiting-stage").textContent = failed ? "This did not work" : preparing?.stage ?? "Opening the review";
  $("waiting-text").textContent = failed ?? (preparing?.total ? `${preparing.done} of ${preparing.total} photographs` : "");
  $("waiting-bar").hidden = Boolean(failed);
  if (preparing?.total) Object.assign($("waiting-bar"), { max: preparing.total, value: preparing.done });
}

// Take in an answer of the server, or what it tells of other tabs.
function heard(news) {
  if (news.version !== undefined && news.version < link.version && !news.results) return location.reload();
  if (news.version === link.version && !news.results) return; // an echo of this page's own
  for (const row of news.added ?? []) cells.add(row);
  const { current } = gallery, here = cells.shownIn[current], next = current === null ? null : cells.step(current, 1);
  for (const [cell, to, by, line] of news.changes ?? []) {
    cells.change(cell, to, by, line);
    if (cells.all[cell].added && cells.all[cell].photograph === field.photograph) field.drawBoxes();
    if (cell === current && cells.shownIn[cell] === null) gallery.go(next ?? cells.first());
    if (cell !== current || by === you || !by || cells.shownIn[cell] === here) continue;
    say(`${by} decided this cell: ${titleOf(to)}.`);
    gallery.go(next ?? cell);
  }
  for (const { token, refused, conflict, moved } of news.results ?? []) {
    cells.answered(token);
    if (added.delete(token) && news.added?.length) gallery.go(news.added.at(-1)[0]);
    undoing.answered(token, moved);
    if (refused) say(refused);
    for (const [cell, to, by, line] of conflict ?? []) {
      cells.change(cell, to, by, line);
      say(`${by} said ${titleOf(to)} meanwhile. Decide again if you see it otherwise.`);
      gallery.go(cell);
    }
  }
  take(news);
}

function take(news) {
  if (news.version !== undefined) {
    link.version = news.version;
    told = { ...told, ...news };
    signed = news.signed;
    count.tell(news);
    $("undo").disabled = !news.undo || Boolean(signed);
    $("redo").disabled = !news.redo || Boolean(signed);
    showBanner({ ...told, you }, () => askToSign({ link, told: () => told, cells, gallery, say, take }));
    $("sign").textContent = signed ? "Signed" : "Sign…";
    $("sign").disabled = $("confirm-shown").disabled = Boolean(signed);
  }
  progress();
  gallery.draw();
  if (gallery.current !== null) field.tell();
}

function progress() {
  const seen = cells.seen.size, all = cells.shown, flagged = cells.sectionOf.get(UNIDENTIFIED).cells.length;
  Object.assign($("progress"), { max: Math.max(1, all), value: seen });
  $("progress-text").textContent = `${seen} of ${all} looked at, ${flagged} flagged left`;
  $("photographs-seen").textContent = `${cells.viewed.size} of ${cells.photographs.length} photographs seen`;
  $("next-flagged").disabled = flagged === 0;
}

function show(cell) {
  if (cell === null) return;
  field.show(cell);
  progress();
}

const targets = () => (gallery.selected.size ? [...gallery.selected] : gallery.current === null ? [] : [gallery.current]);

// Decide cells; `to` is a class, or a function of the cell.
function decide(to, chosen = targets(), words = null) {
  if (signed) return say("It is signed; reopen it to change it.");
  const changes = chosen.map((cell) => [cell, typeof to === "function" ? to(cell) : to]).filter(([cell, name]) => name !== cells.said(cell));
  const next = follow(chosen);
  if (changes.length) {
    const token = link.send({ do: "decide", cells: changes.map(([cell]) => cell), to: changes.map(([, name]) => name), seen: changes.map(([cell]) => cells.all[cell].line) });
    cells.await(changes, token);
    if (words || changes.length > 1) say(words ?? `${changes.length} cells: ${titleOf(changes[0][1])}. u undoes it.`);
  }
  gallery.selected.clear();
  gallery.go(next ?? gallery.current);
  progress();
}

// Where to go on: the cell behind the decided ones; in its class, if there is one left.
function follow(chosen) {
  const gone = new Set(chosen);
  if (gallery.current === null) return null;
  const here = cells.shownIn[gallery.current];
  let next = cells.step(gallery.current, 1);
  while (next !== null && gone.has(next)) next = cells.step(next, 1);
  if (next !== null && cells.shownIn[next] === here) return next;
  let back = cells.step(gallery.current, -1);
  while (back !== null && gone.has(back)) back = cells.step(back, -1);
  const left = back !== null && cells.shownIn[back] === here && here === UNIDENTIFIED;
  return left ? back : next;
}

const proposalOf = (cell) => cells.said(cell) ?? cells.all[cell].proposed ?? NOT_A_CELL;

const review = {
  decide,
  say,
  confirm: () => decide(proposalOf),
  skip: () => decide(SKIPPED),
  undo: () => undoing.ask("undo"),
  redo: () => undoing.ask("redo"),
  zoom: () => gallery.current !== null && field.zoom(),
  map: () => gallery.current !== null && field.map(),
  add: () => (signed ? say("It is signed; reopen it to change it.") : gallery.current !== null && adding.toggle()),
  larger: () => gallery.resize(gallery.wanted + 16),
  smaller: () => gallery.resize(gallery.wanted - 16),
  help: () => $("help-dialog").showModal(),
  sign: () => askToSign({ link, told: () => told, cells, gallery, say, take }),
  confirmShown: () => {
    const shown = gallery.shown().filter((cell) => cells.said(cell) === null);
    if (!shown.length) return say("All that is shown of this class was looked at.");
    decide(proposalOf, shown, `${shown.length} shown cells confirmed. u undoes it.`);
  },
  note: () => $("note-red_cells").focus(),
  nextFlagged: () => {
    const { cells: waiting } = cells.sectionOf.get(UNIDENTIFIED);
    if (!waiting.length) return say("No flagged cell is left.");
    const { section, place } = gallery.current === null ? {} : cells.find(gallery.current);
    gallery.go(section?.name === UNIDENTIFIED ? waiting[(place + 1) % waiting.length] : waiting[0]);
    gallery.box.focus();
  },
};

async function rename() {
  you = await askName(you);
  sessionStorage.setItem(NAME, you);
  localStorage.setItem(HERE, you);
  showName();
}

function showName() {
  $("name").textContent = you;
  $("name").disabled = told.blind.length > 0;
}

// How long ten micrometres are at the scale of the crops, where the scale is known.
function showScale() {
  const { side, micrometres } = told.crop;
  if (!micrometres || !side) return;
  const bar = document.createElement("div");
  $("scale").append("10 µm", bar);
  $("scale").hidden = false;
  gallery.arranged = (tile) => (bar.style.width = `${(10 / micrometres / side) * tile}px`);
}

const buttons = { undo: "undo", redo: "redo", "next-flagged": "nextFlagged", "confirm-shown": "confirmShown", sign: "sign", help: "help", add: "add" };
for (const [id, act] of Object.entries(buttons)) $(id).addEventListener("click", () => review[act]());
$("name").addEventListener("click", async () => {
  await rename();
  link.listen();
});
addEventListener("beforeunload", (event) => link.waits && event.preventDefault());

begin();

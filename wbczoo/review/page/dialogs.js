// What is asked before the page goes on: a name, a signature, a reason to reopen.

import { make, titleOf } from "./elements.js";

const $ = (id) => document.getElementById(id);

export function fillHelp(cells) {
  const table = $("help-classes");
  for (const { name, key } of cells.classes) {
    const line = table.insertRow();
    line.insertCell().appendChild(make("kbd", "", key));
    line.insertCell().textContent = titleOf(name);
  }
}

// A name as the server takes it: one that is not, as of blanks or signs that cannot be seen, is "".
export function plainName(text) {
  const name = (text ?? "").replace(/[\p{Z}\t-\r]+/gu, " ").trim();
  return name.length > 80 || /\p{C}/u.test(name) ? "" : name;
}

// Asks until there is a name; Esc leaves the one from before.
export function askName(before) {
  const dialog = $("name-dialog"), input = $("name-input");
  const check = () => input.setCustomValidity(plainName(input.value) ? "" : "Give a name of 1 to 80 signs that can be seen.");
  input.value = before;
  input.oninput = check;
  check();
  return new Promise((resolve) => {
    dialog.oncancel = (event) => before || event.preventDefault();
    dialog.onclose = () => {
      if (dialog.returnValue === "ok") resolve(plainName(input.value));
      else if (before) resolve(before);
      else dialog.showModal(); // a browser closes it at the second Esc, whatever is said
    };
    dialog.returnValue = "";
    dialog.showModal();
  });
}

function closed(dialog) {
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true }));
}

const many = (count) => (count === 1 ? "1 cell was" : `${count} cells were`);

// Whether all was saved within a moment, the note too that was being written.
async function allSaved(link) {
  for (let times = 0; times < 60 && link.waits; times++) await new Promise((resolve) => setTimeout(resolve, 50));
  return !link.waits;
}

// Sign what is shown, or reopen what was signed.
export async function askToSign({ link, told, cells, gallery, say, take }) {
  if (!(await allSaved(link))) return say("Not all is saved yet. Wait, then sign.");
  if (document.querySelector("dialog[open]")) return;
  const dialog = $("sign-dialog"), { table, signed } = told();
  const lines = signed
    ? [`Signed by ${signed.by}. If it is reopened, the log keeps that and why, and it must be signed again.`]
    : [
        `${table.counted} white cells are counted. ${table.reviewed} cells were decided, ${table.skipped} of them skipped.`,
        ...(table.accepted ? [`${many(table.accepted)} not looked at and ${table.accepted === 1 ? "counts" : "count"} as proposed.${table.unseen ? "" : " Sign?"}`] : []),
        ...(table.unseen ? [`${table.unseen} flagged cells are unseen. Look at each of them first.`] : ["With your signature you stand behind all of them. The differential is then read-only."]),
        ...table.warnings,
      ];
  $("sign-title").textContent = signed ? "Reopen the differential" : "Sign the differential";
  $("sign-text").replaceChildren(...lines.map((words) => make("p", "", words)));
  $("sign-ok").textContent = signed ? "Reopen" : `Sign as ${link.name()}`;
  $("sign-ok").hidden = !signed && table.unseen > 0;
  $("sign-jump").hidden = Boolean(signed) || table.unseen === 0;
  $("why-label").hidden = !signed;
  $("why").required = Boolean(signed);
  $("why").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  const answer = await closed(dialog);
  const jump = (cell) => {
    gallery.go(cell);
    gallery.box.focus();
  };
  if (answer === "jump") return jump(cells.all.findIndex((_, cell) => cells.isUnseenFlagged(cell)));
  if (answer !== "ok") return;
  try {
    take(await link.post(signed ? "api/reopen" : "api/sign", signed ? { why: $("why").value } : {}));
    say(signed ? "Reopened: what was signed is taken out of the folder." : `Signed. The files are in ${told().folder}.`);
  } catch (error) {
    say(error.message);
    if (error.unseen?.length) jump(error.unseen[0]);
  }
}

// What stands above all: who signed, and how two reviewers agree.
export async function showBanner({ signed, blind, you, folder }, reopen) {
  const banner = $("banner");
  const key = JSON.stringify([signed, blind]);
  if (banner.dataset.key === key) return;
  banner.dataset.key = key;
  banner.hidden = !signed && !blind.length;
  banner.replaceChildren();
  if (blind.length) banner.append(make("span", "", `${blind.join(" and ")} review here, each for themselves.`));
  if (!signed) return;
  banner.append(make("b", "", `Signed by ${signed.by}, ${signed.at.slice(0, 16).replace("T", " ")} UTC. Read-only.`));
  const page = banner.appendChild(make("a", "", "Page to print"));
  page.href = `signed?by=${encodeURIComponent(you)}`;
  page.target = "_blank";
  page.rel = "noopener";
  banner.append(make("span", "", `In ${folder}: differential.html, differential.csv, differential.json${blind.length ? "" : "; the decided cells in cells"}.`));
  banner.appendChild(make("button", "", "Reopen…")).addEventListener("click", reopen);
  if (blind.length) showAgreement(banner);
}

async function showAgreement(banner) {
  const response = await fetch("api/agreement");
  if (!response.ok) return banner.append(make("span", "", "How you agree is shown when both have signed."));
  const { kappa, cells, differences, reviewers } = await response.json();
  const told = kappa.value === null ? "" : `, Cohen's kappa ${kappa.value.toFixed(2)} [${kappa.low.toFixed(2)}, ${kappa.high.toFixed(2)}]`;
  const alone = differences.filter(({ first, second }) => first === null || second === null).length;
  const drawn = alone ? ` One of them alone drew ${alone}.` : "";
  banner.append(make("span", "", `Of ${cells} cells that both looked at, ${differences.length - alone} differ${told}.${drawn}`));
  const list = banner.appendChild(make("details", ""));
  list.append(make("summary", "", "Differences"));
  const items = list.appendChild(make("ul", ""));
  for (const { path, box, first, second } of differences) {
    items.append(make("li", "", `${path}, box ${box.join(" ")}: ${reviewers[0]} ${titleOf(first ?? "drew none")}, ${reviewers[1]} ${titleOf(second ?? "drew none")}`));
  }
}

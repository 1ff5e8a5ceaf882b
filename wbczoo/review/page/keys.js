// The keyboard: every key that means something here, and nothing but to sign and to leave where somebody writes.

export function listenToKeys({ cells, gallery, review, adding, undoing }) {
  const classOf = new Map(cells.classes.map(({ name, key }) => [key, name]));
  const moves = {
    ArrowLeft: (cell) => cells.step(cell, -1),
    ArrowRight: (cell) => cells.step(cell, 1),
    ArrowUp: (cell) => gallery.vertical(cell, -1),
    ArrowDown: (cell) => gallery.vertical(cell, 1),
    PageUp: (cell) => gallery.vertical(cell, -gallery.page),
    PageDown: (cell) => gallery.vertical(cell, gallery.page),
    Home: (cell) => cells.find(cell).section.cells[0],
    End: (cell) => cells.find(cell).section.cells.at(-1),
  };
  const others = {
    "?": review.help, a: review.add, ".": review.nextFlagged, "+": review.larger, "=": review.larger, "-": review.smaller,
    Enter: review.zoom, Escape: () => gallery.clear(), u: review.undo, U: review.redo, s: review.skip, m: review.map, ",": review.note, " ": review.confirm,
  };
  const withControl = {
    z: review.undo, Z: review.redo, y: review.redo, a: () => gallery.selectSection(),
    ArrowUp: () => another(-1), ArrowDown: () => another(1),
    ArrowLeft: () => photograph(-1), ArrowRight: () => photograph(1),
  };

  function another(by) {
    if (gallery.current === null) return;
    const cell = gallery.neighbour(cells.find(gallery.current).section, by, (found) => found[0]);
    if (cell !== null) gallery.go(cell);
  }

  function photograph(by) {
    const cell = gallery.current === null ? null : cells.photographBeside(gallery.current, by);
    if (cell === null) return review.say(`This is the ${by > 0 ? "last" : "first"} photograph.`);
    gallery.clear();
    gallery.go(cell);
  }

  function move(event) {
    if (gallery.current === null) return gallery.go(cells.first());
    const to = moves[event.key](gallery.current);
    if (to === null || to === undefined) return;
    if (event.shiftKey) gallery.selectTo(to);
    else if (gallery.selected.size) gallery.clear();
    gallery.go(to, event.shiftKey);
  }

  document.addEventListener("keydown", (event) => {
    const { target, key } = event;
    if (event.altKey || event.isComposing || document.querySelector("dialog[open]")) return;
    const signs = key === "Enter" && (event.ctrlKey || event.metaKey);
    const leaves = key === "Escape" && !adding.box && target.closest("input, textarea, select, button, a, summary");
    if (signs || leaves) {
      event.preventDefault();
      gallery.box.focus(); // and what was written in a note is kept
      if (signs) undoing.act(review.sign);
      return;
    }
    if (target.closest("input, textarea, select")) return;
    if (target.closest("button, a, summary") && (key === " " || key === "Enter")) return;
    let act = null;
    if (adding.box && !event.ctrlKey && !event.metaKey) {
      const name = classOf.get(key.toLowerCase());
      if (name && !event.shiftKey) adding.decide(name);
      else if (!adding.press(event) && key !== "a") return;
      else if (key === "a") adding.end();
      return event.preventDefault();
    }
    if (event.ctrlKey || event.metaKey) act = withControl[key];
    else if (key === " " && event.shiftKey) act = review.confirmShown;
    else if (key in moves) act = () => move(event);
    else if (classOf.has(key.toLowerCase()) && !event.shiftKey) act = () => review.decide(classOf.get(key.toLowerCase()));
    else act = others[key];
    if (!act) return;
    event.preventDefault();
    undoing.act(act);
  });

  // Who presses a button with the mouse goes on at the cells by keys.
  document.addEventListener("click", (event) => {
    if (event.detail && event.target.closest("button") && !event.target.closest("dialog")) gallery.box.focus({ preventScroll: true });
  }, true);
}

"""A review that is under way: what people at pages ask is checked, logged and told here."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from wbczoo.errors import UsageError
from wbczoo.review.added import cells_added, doubles, name_added
from wbczoo.review.cells import names_of
from wbczoo.review.count import Choice, Ranges, Table
from wbczoo.review.decisions import NOT_A_CELL, SKIPPED, THERE, Decisions, Name, Slate, decide, undo
from wbczoo.review.log import Entry, Log
from wbczoo.review.prepare import Prepared, now
from wbczoo.runtime.cells import FOUND
from wbczoo.text import printable

NOTES = ("red_cells", "white_cells", "platelets", "comment")

_AGAIN = ("undo", "redo")
_LONGEST_NAME = 80
LONGEST_NOTE = 10_000


class Action(BaseModel):
    """What a page asks for: one person's decision about cells, undoing it, or a note.

    Attributes:
        token: of the page's own making, so that what is sent twice is done once.
        cells, to: what each cell is to be; of `decide`, and `to` of `add`.
        seen: the line of the decision that the page shows of each cell, 0 for none.
        field, text: of `note`.
        photograph, box: where a cell is that the finder missed; of `add`.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    do: Literal["decide", "add", "undo", "redo", "note"]
    token: str = Field(min_length=8, max_length=40, pattern=r"^[0-9A-Za-z-]+$")
    cells: list[int] = Field(default=[], max_length=100_000)
    to: list[str] = Field(default=[], max_length=100_000)
    seen: list[int] = Field(default=[], max_length=100_000)
    field: Literal["red_cells", "white_cells", "platelets", "comment"] = "comment"
    text: str = Field(default="", max_length=LONGEST_NOTE)
    photograph: int = Field(default=0, ge=0)
    box: list[int] = Field(default=[], max_length=4)


class Review:
    """A review, safe to be asked from several threads.

    Args:
        log: opened, with the line that begins the review.
        choices: the classes that may be decided, and their keys.
        ranges: a laboratory's, to be shown beside the count.
    """

    def __init__(
        self,
        folder: Path,
        prepared: Prepared,
        log: Log,
        choices: Sequence[Choice],
        ranges: Ranges | None = None,
    ) -> None:
        self.folder, self.prepared, self.log, self.choices = folder, prepared, log, choices
        self.ranges = ranges
        self.cells = [*prepared.cells]  # and behind them those that somebody added
        self.names = names_of(self.cells, prepared.photographs)
        self.decisions = Decisions({name: place for place, name in enumerate(self.names)})
        self.lock = threading.RLock()
        self._tables: dict[int, Table] = {}  # by the slate's id
        self._take(log.entries[1:])

    @property
    def version(self) -> int:
        """How many lines the log has."""
        return len(self.log.entries)

    def view(self, by: str) -> tuple[Slate, Table]:
        """What a person sees: decisions and their count.

        Raises:
            UsageError: as `Decisions.slate` does.
        """
        slate = self.decisions.slate(by)
        return slate, self._table(slate)

    def has(self, by: str, cell: int) -> bool:
        """Whether there is such a cell for a person: who is blind sees none that another drew.

        Raises:
            UsageError: as `Decisions.slate` does.
        """
        slate = self.decisions.slate(by)
        return 0 <= cell < len(self.cells) and (not self.cells[cell].added or cell in slate.met)

    def act(self, by: str, actions: Sequence[Action]) -> dict[str, Any]:
        """Do what a page asks, in order; when this returns, it is on the disk.

        Returns:
            `results`, one for each action: its `token`, and `refused`, a sentence, or `conflict`,
            the cells of which somebody else said something that the page had not shown, or `same`,
            where nothing was to be written, or of undo and redo `moved`, [cell, from, to] of each
            cell that they change; and what `changes` gives of the lines.

        Raises:
            UsageError: if nobody of that name may decide anything.
            WbczooError: if the log cannot be written. Nothing is then done.
        """
        by = check_name(by)
        with self.lock:
            before = self.version
            results = [self._act(by, action) for action in actions]
            return {"results": results, **self.changes(by, before)}

    def write(self, *entries: Mapping[str, Any]) -> list[Entry]:
        """Log lines as of now and take them in."""
        with self.lock:
            written = self.log.append([{"at": now(), **entry} for entry in entries])
            self._take(written)
            return written

    def changes(self, by: str, since: int) -> dict[str, Any]:
        """What a person's view came to after so many lines of the log.

        Returns:
            `version`, the number of lines; `changes`, [cell, class or None, by, line] of each
            cell of which something was said since; `added`, [cell, photograph, four of the box]
            of those that somebody drew; `table`, `notes`, `signed`, `undo` and `redo`.
        """
        with self.lock:
            slate, table = self.view(by)
            found = []
            for cell, line in self._said_since(by, slate, since):
                said = slate.decided.get(cell)
                now_said = (said.to, said.by, said.line) if said else (None, "", line)
                found.append([cell, *now_said])
            return {
                "version": self.version,
                "changes": found,
                "added": [
                    [cell, self.cells[cell].photograph, *self.cells[cell].box]
                    for cell, *_ in found
                    if self.cells[cell].added
                ],
                "table": table.to_dict(self.ranges),
                "notes": slate.notes,
                "signed": slate.signed and {k: slate.signed[k] for k in ("by", "at")},
                "undo": len(slate.done.get(by, ())),
                "redo": len(slate.undone.get(by, ())),
            }

    def _said_since(self, by: str, slate: Slate, since: int) -> Iterable[tuple[int, int]]:
        """Each cell of a view of which something was said, and the last line that says it."""
        if not since:
            return [(cell, said.line) for cell, said in slate.decided.items()]
        cells = {}
        for entry in self.log.entries[since:]:
            ours = self.decisions.second is None or entry.get("by") == by
            if ours and entry["what"] == "decide" and "box" in entry:
                cells[self.decisions.cells[entry["image"], tuple(entry["box"])]] = entry["n"]
        return cells.items()

    def _act(self, by: str, action: Action) -> dict[str, Any]:
        answer: dict[str, Any] = {"token": action.token}
        if action.token in self.decisions.tokens:
            return answer  # it was sent again, for its answer was lost
        slate = self.decisions.slate(by)
        if slate.signed is not None:
            return {**answer, "refused": "The differential is signed; reopen it to change it."}
        told = {"token": action.token}
        try:
            if action.do == "decide":
                wanted = self._wanted(by, action)
                if conflict := self._conflict(slate, action, by):
                    return {**answer, "conflict": conflict}
                if doubles(self.cells, slate, {cell: to for cell, _, to in wanted}):
                    raise UsageError(THERE)
                lines = decide(self.decisions, by, wanted, **told)
            elif action.do == "add":
                lines = self._add(slate, action, by, told)
            elif action.do == "note":
                same = slate.notes.get(action.field, "") == action.text
                lines = [
                    {"what": "note", "by": by, **told, "field": action.field,
                     "from": slate.notes.get(action.field, ""), "to": action.text}
                ] * (not same)  # fmt: skip
            else:
                again = action.do == "redo"
                lines = undo(self.decisions, by, self.names, again=again,
                             doubles=partial(doubles, self.cells), **told)  # fmt: skip
        except UsageError as error:
            return {**answer, "refused": str(error)}
        if not lines:
            return {**answer, "same": True}  # it is so already
        written = self.write(*lines)
        return {**answer, **({"moved": self._moved(written)} if action.do in _AGAIN else {})}

    def _moved(self, lines: Sequence[Entry]) -> list[list[Any]]:
        """Each cell of which lines decide, what was said of it before, and what is now."""
        return [
            [self.decisions.cells[line["image"], tuple(line["box"])], line["from"], line["to"]]
            for line in lines if "box" in line
        ]  # fmt: skip

    def _wanted(self, by: str, action: Action) -> list[tuple[int, Name, str | None]]:
        known = {choice.name for choice in self.choices} | {SKIPPED}
        if not len(action.cells) == len(action.to) == len(action.seen) or not action.cells:
            raise UsageError("A decision names cells, and of each what it is to be.")
        if len({*action.cells}) != len(action.cells):
            raise UsageError("A cell was named twice in one decision.")
        if not all(self.has(by, cell) for cell in action.cells):
            raise UsageError("There is no such cell.")
        if strange := {*action.to} - known:
            raise UsageError(f"There is no class {printable(min(strange))[:80]!r}.")
        return [(c, self.names[c], to) for c, to in zip(action.cells, action.to, strict=True)]

    def _add(
        self, slate: Slate, action: Action, by: str, told: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        """The line of a decision about a box that was drawn; the cell is there once it is taken."""
        if self.prepared.begun["cells"] not in FOUND:
            raise UsageError("Here each image is one cell, and none can be added.")
        known = {choice.name for choice in self.choices} - {NOT_A_CELL}
        if len(action.to) != 1 or action.to[0] not in known:
            raise UsageError("A cell that is added is of one class.")
        name = name_added(action.photograph, action.box, self.prepared.photographs, self.cells,
                          slate)  # fmt: skip
        cell = self.decisions.cells.get(name, len(self.cells))
        return decide(self.decisions, by, [(cell, name, action.to[0])], added=True, **told)

    def _conflict(self, slate: Slate, action: Action, by: str) -> list[list[Any]]:
        """What others said of the cells, and the page had not shown."""
        found = []
        for cell, seen in zip(action.cells, action.seen, strict=True):
            said = slate.decided.get(cell)
            if said is not None and said.line > seen and said.by != by:
                found.append([cell, said.to, said.by, said.line])
        return found

    def _table(self, slate: Slate) -> Table:
        if id(slate) not in self._tables:
            table = Table(self.cells, [choice.name for choice in self.choices])
            for cell, decided in slate.decided.items():
                table.move(cell, decided)
            self._tables[id(slate)] = table
        return self._tables[id(slate)]

    def _take(self, entries: Sequence[Entry]) -> None:
        added = cells_added(entries, self.names, self.prepared.photographs)
        for name in names_of(added, self.prepared.photographs):
            self.decisions.cells[name] = len(self.names)
            self.names.append(name)
        self.cells += added
        for table in self._tables.values():
            table.add(len(added))
        for cell, slate in self.decisions.apply(entries):
            if id(slate) in self._tables:
                self._tables[id(slate)].move(cell, slate.decided.get(cell))


def check_name(name: str) -> str:
    """A reviewer's name, without blanks around it.

    Raises:
        UsageError: if it is empty, too long, or holds signs that cannot be seen.
    """
    name = " ".join(name.split())
    if not 0 < len(name) <= _LONGEST_NAME or printable(name) != name:
        raise UsageError(
            f"A reviewer's name has 1 to {_LONGEST_NAME} signs that can be printed. Give one."
        )
    return name

"""The lines of a log become what each reviewer decided, and what may be undone, here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from wbczoo.errors import UsageError
from wbczoo.review.log import Entry

NOT_A_CELL = "not_a_cell"  # what is shown is none, or none that can be told
SKIPPED = "skipped"  # looked at, and left to somebody else

THERE = "A cell is there already. Decide that one."

Name = tuple[str, tuple[int, ...]]  # a cell: its photograph's SHA-256, and its box there


@dataclass(frozen=True)
class Decided:
    """What a person said of a cell, and in which line."""

    to: str
    by: str
    line: int


@dataclass(frozen=True)
class Step:
    """What a person did at once, to one cell or to many: (cell, from, to) of each.

    Attributes:
        number: of the step.
    """

    number: int
    changes: tuple[tuple[int, str | None, str | None], ...]


@dataclass
class Slate:
    """One view of all cells: everybody's, or under two blind reviewers that of one of them.

    Attributes:
        decided: cell -> what was last said of it.
        met: the cells of which anything was ever said, if it was undone too.
        done, undone: by whom -> steps that may be undone, and done again, the last one first.
        notes: field -> text.
        signed: the line that signs, None while the view may be changed.
        reopened: the lines that took back an earlier signature.
    """

    decided: dict[int, Decided] = field(default_factory=dict)
    met: set[int] = field(default_factory=set)
    done: dict[str, list[Step]] = field(default_factory=dict)
    undone: dict[str, list[Step]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    signed: Entry | None = None
    reopened: list[Entry] = field(default_factory=list)

    def to(self, cell: int) -> str | None:
        """What is said of a cell, if anything is."""
        said = self.decided.get(cell)
        return said.to if said else None


class Decisions:
    """What a log's lines amount to; each new one is applied as the old ones were.

    Attributes:
        cells: the place of each cell.
        slates: a reviewer's name -> their view; under "" everybody's, while no two are blind.
        tokens: of all actions that were written, so that one which is sent twice is done once.
        second: the two blind reviewers, if there are.
    """

    def __init__(self, cells: dict[Name, int]) -> None:
        self.cells = cells
        self.slates: dict[str, Slate] = {"": Slate()}
        self.tokens: set[str] = set()
        self.second: tuple[str, str] | None = None
        self.steps = 0

    def slate(self, by: str) -> Slate:
        """The view that a person works in.

        Raises:
            UsageError: if two others review, blind to one another and to anybody else.
        """
        found = self.slates.get(by if self.second else "")
        if found is None:
            assert self.second is not None
            raise UsageError(
                f"{by} takes no part: {' and '.join(self.second)} review here, each for themselves."
            )
        return found

    @property
    def names(self) -> list[str]:
        """Who decided or signed anything so far."""
        met = [each.by for slate in self.slates.values() for each in slate.decided.values()]
        met += [name for slate in self.slates.values() for name in slate.done]
        return list(dict.fromkeys(met))

    @property
    def revealed(self) -> bool:
        """Whether two blind reviewers may see each other's decisions: both have signed."""
        return self.second is not None and all(
            self.slates[name].signed is not None for name in self.second
        )

    def apply(self, entries: Iterable[Entry]) -> list[tuple[int, Slate]]:
        """Take in lines of the log.

        Returns:
            each cell of which something was said, and in which view.
        """
        changed = []
        for step, entry in _in_steps(entries):
            self.tokens |= {entry["token"]} if entry.get("token") else set()
            slate = self.slate(entry.get("by", "")) if entry["what"] in _OF_A_VIEW else Slate()
            match entry["what"]:
                case "decide":
                    changed += [(cell, slate) for cell in self._decide(step, slate)]
                case "note":
                    slate.notes[entry["field"]] = entry["to"]
                case "sign":
                    slate.signed = entry
                case "reopen":
                    slate.signed = None
                    slate.reopened.append(entry)
                case "second":
                    first = entry["by"]
                    self.second = first, entry["to"]
                    self.slates = {first: self.slates[""], entry["to"]: Slate()}
        return changed

    def _decide(self, lines: Sequence[Entry], slate: Slate) -> list[int]:
        first = lines[0]
        by, number = first["by"], first["step"]
        self.steps = max(self.steps, number)
        changes = []
        for line in lines:
            if "box" not in line:  # an undone step of which nothing was left to undo
                continue
            cell = self.cells[line["image"], tuple(line["box"])]
            changes.append((cell, line["from"], line["to"]))
            slate.met.add(cell)
            if line["to"] is None:
                slate.decided.pop(cell, None)
            else:
                slate.decided[cell] = Decided(line["to"], by, line["n"])
        done, undone = slate.done.setdefault(by, []), slate.undone.setdefault(by, [])
        if "undoes" in first:
            undone.append(done.pop())
        elif "redoes" in first:
            done.append(undone.pop())
        else:
            done.append(Step(number, tuple(changes)))
            undone.clear()
        return [cell for cell, *_ in changes]


_OF_A_VIEW = ("decide", "note", "sign", "reopen")


def _in_steps(entries: Iterable[Entry]) -> Iterable[tuple[list[Entry], Entry]]:
    """Lines that were decided at once together, each other line alone; and the first of them."""
    step: list[Entry] = []
    for entry in entries:
        if step and entry.get("step") != step[0].get("step"):
            yield step, step[0]
            step = []
        if entry["what"] != "decide":
            yield [entry], entry
        else:
            step.append(entry)
    if step:
        yield step, step[0]


def decide(
    decisions: Decisions, by: str, wanted: Sequence[tuple[int, Name, str | None]], **told: Any
) -> list[dict[str, Any]]:
    """The lines of one step of a person: each cell whose decision it changes.

    Args:
        wanted: cell, its name, and what it is to be.
        told: what each line holds beside.
    """
    slate, lines = decisions.slate(by), []
    for cell, (image, box), to in wanted:
        now = slate.decided.get(cell)
        if to != (now and now.to):
            lines.append(
                {"what": "decide", "by": by, "step": decisions.steps + 1, **told, "image": image,
                 "box": [*box], "from": now and now.to, "to": to}
            )  # fmt: skip
    return lines


def undo(
    decisions: Decisions,
    by: str,
    names: Sequence[Name],
    *,
    again: bool = False,
    doubles: Callable[[Slate, Mapping[int, str | None]], Set[int]],
    **told: Any,
) -> list[dict[str, Any]]:
    """The lines that take back a person's last step, or with `again` do it once more.

    Cells of which somebody else said something since stay as they are.

    Args:
        doubles: tells which cells would be there twice; when undone, these too stay as they are.

    Raises:
        UsageError: if there is no such step; if with `again` a cell would be there twice.
    """
    slate = decisions.slate(by)
    steps = (slate.undone if again else slate.done).get(by, [])
    if not steps:
        raise UsageError("There is nothing to do again." if again else "There is nothing to undo.")
    how = {"redoes" if again else "undoes": steps[-1].number, **told}
    wanted: list[tuple[int, Name, str | None]] = []
    for cell, before, after in steps[-1].changes:
        now = slate.decided.get(cell)
        was, to = (before, after) if again else (after, before)
        if (now and now.to) == was and (now is None or again or now.by == by):
            wanted.append((cell, names[cell], to))
    twice = doubles(slate, {cell: to for cell, _, to in wanted})
    if twice and again:
        raise UsageError(THERE)
    found = decide(decisions, by, [each for each in wanted if each[0] not in twice], **how)
    nothing = {"what": "decide", "by": by, "step": decisions.steps + 1, **how}
    return found or [nothing]

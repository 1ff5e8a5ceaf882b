"""What was decided and what is proposed become a count of each class, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wbczoo.errors import UsageError
from wbczoo.images.tables import read_rows
from wbczoo.review.cells import Cell
from wbczoo.review.decisions import NOT_A_CELL, SKIPPED, Decided
from wbczoo.runtime.differential.count import FEWEST
from wbczoo.runtime.differential.shares import multinomial_intervals

# Told beside the count: no leukocytes. Erythroblasts are told for each 100 of these.
BESIDE = ("erythroblast", "platelet", NOT_A_CELL)

Ranges = Mapping[str, tuple[float, float]]


class Table:
    """The live count of one view; each decision moves one cell.

    Args:
        classes: that may be decided, but for `not_a_cell` and `skipped`.
    """

    def __init__(self, cells: Sequence[Cell], classes: Sequence[str]) -> None:
        self.names = [*dict.fromkeys([*classes, NOT_A_CELL])]
        place = {name: number for number, name in enumerate([*self.names, SKIPPED])}
        self._place = place
        self._proposed = np.array([place.get(c.proposed or "", -1) for c in cells], np.int64)
        self._flagged = np.array([c.flagged for c in cells], bool)
        self._added = np.array([c.added for c in cells], bool)
        self._decided = np.full(len(cells), -1, np.int64)

    def add(self, number: int) -> None:
        """Make room for cells that somebody drew."""
        self._proposed = np.append(self._proposed, np.full(number, -1))
        self._flagged = np.append(self._flagged, np.zeros(number, bool))
        self._added = np.append(self._added, np.ones(number, bool))
        self._decided = np.append(self._decided, np.full(number, -1))

    def move(self, cell: int, decided: Decided | None) -> None:
        """Take in what is now said of a cell."""
        self._decided[cell] = self._place[decided.to] if decided else -1

    def labels(self) -> list[str | None]:
        """What each cell counts as: what was decided, else what is proposed and not flagged."""
        names = [*self.names, SKIPPED, None]
        return [names[place] for place in self._counted()]

    def unseen(self) -> list[int]:
        """The flagged cells of which nothing was said."""
        return [int(cell) for cell in np.flatnonzero(self._flagged & (self._decided < 0))]

    def to_dict(self, ranges: Ranges | None = None) -> dict[str, Any]:
        """The count as JSON holds it; shares are of white cells, in per cent."""
        counted, most = self._counted(), len(self.names) + 1
        cells, reviewed, proposed = (
            np.bincount(codes[codes >= 0], minlength=most)
            for codes in (counted, self._decided, self._proposed)
        )
        white = [n for n, name in enumerate(self.names) if name not in BESIDE]
        total = int(cells[white].sum())
        limits = multinomial_intervals(cells[white])
        rows: dict[str, dict[str, Any]] = {}
        for place, name in enumerate(self.names):
            row: dict[str, Any] = {
                "count": int(cells[place]),
                "reviewed": int(reviewed[place]),
                "proposed": int(proposed[place]),
            }
            if place in white:
                low, high = 100 * limits[white.index(place)]
                row |= {
                    "percent": 100 * row["count"] / total if total else None,
                    "low": float(low),
                    "high": float(high),
                }
                row |= _compare(row["percent"], (ranges or {}).get(name))
            rows[name] = row
        unseen = self._flagged & (self._decided < 0)
        return {
            "counted": total,
            "cells": int((~self._added | (self._decided >= 0)).sum()),
            "reviewed": int((self._decided >= 0).sum()),
            "accepted": int(((self._decided < 0) & (counted >= 0)).sum()),
            "skipped": int(reviewed[-1]),
            "flagged": int(self._flagged.sum()),
            "unseen": int(unseen.sum()),
            "classes": rows,
            "warnings": [*_warn(total, cells, self.names)],
        }

    def _counted(self) -> NDArray[np.int64]:
        return np.where(
            self._decided >= 0, self._decided, np.where(self._flagged, -1, self._proposed)
        )


def _compare(percent: float | None, limits: tuple[float, float] | None) -> dict[str, Any]:
    if limits is None:
        return {}
    outside = percent is not None and not limits[0] <= percent <= limits[1]
    return {"range": [*limits], "outside": outside}


def _warn(total: int, cells: NDArray[np.int64], names: Sequence[str]) -> Iterable[str]:
    if total < FEWEST:
        yield f"{total} white cells are counted; a differential of fewer than {FEWEST} says little."
    if "erythroblast" in names and (found := int(cells[names.index("erythroblast")])):
        yield f"{100 * found / max(total, 1):.1f} erythroblasts for each 100 white cells."


def read_ranges(path: Path, classes: Sequence[str]) -> Ranges:
    """A laboratory's reference ranges: a table of `class`, `low` and `high`, in per cent.

    Raises:
        UsageError: if it is no such table, or names a class that there is not.
    """
    found = {}
    for line, row in read_rows(path, ("class", "low", "high")):
        try:
            low, high = float(row["low"]), float(row["high"])
        except ValueError:
            low, high = 1.0, 0.0
        if not 0 <= low <= high <= 100:
            raise UsageError(
                f"Line {line} of {path} has no range: low and high are per cent, 0 to 100."
            )
        if row["class"] not in classes:
            raise UsageError(
                f"Line {line} of {path} names the class {row['class']!r}; there are "
                f"{', '.join(classes)}."
            )
        found[row["class"]] = low, high
    return found


@dataclass(frozen=True)
class Choice:
    """A class that may be decided, and the key that decides it."""

    name: str
    key: str


_KEYS = "1234567890bcdefghijklopqrtvwxyz"  # a, m, n, s and u mean something else


def choose_keys(classes: Sequence[str], given: Sequence[str] = ()) -> list[Choice]:
    """A key for each class: the digits in their order, then letters; `n` for `not_a_cell`.

    Args:
        given: `KEY=CLASS` for another key, or `CLASS` for a class that the model has not.

    Raises:
        UsageError: if a key is none, taken, or given twice, or there are too many classes.
    """
    named: dict[str, str] = {}
    names = [name for name in classes if name != NOT_A_CELL]
    for text in given:
        key, equals, name = (text if "=" in text else f"={text}").partition("=")
        key, name = key.strip().casefold(), name.strip()
        if equals and key and (key not in _KEYS or len(key) != 1 or key in named.values()):
            raise UsageError(
                f"--classes {text}: a key is one of {_KEYS}, each once; a, m, n, s and u "
                "mean adding, the map, not a cell, skip and undo."
            )
        if key:
            named[name] = key
        if name not in (*names, NOT_A_CELL):
            names.append(name)
    free = [key for key in _KEYS if key not in named.values()]
    if len(names) - len(named) > len(free):
        raise UsageError(f"There are keys for {len(_KEYS)} classes, and {len(names)} were named.")
    chosen = [Choice(name, named[name] if name in named else free.pop(0)) for name in names]
    return [*chosen, Choice(NOT_A_CELL, "n")]

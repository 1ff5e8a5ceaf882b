"""A plan's done cells become series here: one setting under one protocol, in all its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wbczoo.study.plan.plan import Cell, StudyPlan
from wbczoo.study.report.words import format_counts, format_rate, format_seeds, format_special
from wbczoo.study.run.results import Row

Fields = Mapping[str, Any]

# What a cell has unless its plan says otherwise; a cell that differs is asked for by name.
_PLAIN: Fields = {
    "train_part": None, "image_size": None, "crop": None, "settings": {}, "baseline_options": {},
}  # fmt: skip


@dataclass(frozen=True)
class Series:
    """The cells that are equal but for the seed.

    Attributes:
        protocol: its name in the plan.
        cells: seed -> cell, as planned.
        rows: seed -> result, of the done ones.
    """

    protocol: str
    cells: Mapping[int, Cell]
    rows: Mapping[int, Row]

    @property
    def cell(self) -> Cell:
        """The first of its cells."""
        return next(iter(self.cells.values()))

    @property
    def model(self) -> str:
        """What is fitted, as `Cell.model` says it."""
        return self.cell.model

    @property
    def leaky(self) -> bool:
        """Whether test files show photographs that training saw too."""
        return self.cell.protocol == "report" or any(row["leaky"] for row in self.rows.values())

    @property
    def arena(self) -> str:
        """The protocol's name, under the word LEAKY where it leaks."""
        return f"{'LEAKY ' if self.leaky else ''}{self.protocol}"

    @property
    def setting(self) -> str:
        """How it is trained, but for the epochs, in a few words."""
        cell = self.cell
        if cell.baseline is not None:
            options = [f"{name} {value}" for name, value in cell.baseline_options.items()]
            part = [f"fitted on {cell.train_part}"] if cell.train_part else []
            return ", ".join([*options, *part])
        plain = [str(cell.trainable), f"batch {cell.batch_size}", f"lr {format_rate(cell.lr or 0)}"]
        return ", ".join([*plain, *format_special(cell)])

    @property
    def counts(self) -> str:
        """What its figures rest on: `2487 files of 71 photographs in 69 groups`."""
        return format_counts(list(self.rows.values()))

    @property
    def learning(self) -> bool:
        """Whether most trainings were best in their last epoch: longer ones might score more.

        Where the last is kept whatever validation says, that tells nothing.
        """
        if self.cell.settings.get("keep") == "last":
            return False
        last = [
            best == self.cell.epochs for row in self.rows.values() for best in row["best_epochs"]
        ]
        return bool(sum(last) > len(last) / 2)

    @property
    def trained(self) -> str:
        """How often and how long its networks were trained; empty of a baseline."""
        if self.cell.baseline is not None:
            return ""
        note = ", still learning" if self.learning else ""
        return f"{format_seeds(len(self.rows))}, {self.cell.epochs} epochs{note}"

    def agrees(self, fields: Fields) -> bool:
        """Whether its cells have these values, and nothing special that they do not name."""
        wanted = {**_PLAIN, **fields}
        return all(getattr(self.cell, name) == value for name, value in wanted.items())

    def rest(self, *left_out: str) -> dict[str, Any]:
        """Its settings without the seed and these."""
        return self.cell.model_dump(mode="json", exclude={"seed", *left_out})


def gather(plan: StudyPlan, done: Mapping[str, Row]) -> list[Series]:
    """The series of a plan in the order of its blocks; each cell stands in one."""
    found: dict[tuple[str, str], Series] = {}
    for block in plan.blocks:
        for name in block.protocols:
            for cell in plan.of_block(block.model_copy(update={"protocols": (name,)})):
                series = Series(name, {cell.seed: cell}, {})
                seen = found.setdefault((name, str(series.rest())), series)
                cells = {**seen.cells, cell.seed: cell}
                rows = {seed: done[one.key] for seed, one in cells.items() if one.key in done}
                found[name, str(series.rest())] = Series(name, cells, rows)
    return list(found.values())


def choose(among: Sequence[Series]) -> Series | None:
    """The series to speak of: the one of most seeds that are done, then planned, then of epochs."""
    return max(
        among,
        key=lambda one: (len(one.rows), len(one.cells), one.cell.epochs or 0),
        default=None,
    )

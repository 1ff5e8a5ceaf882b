"""Which rows train, validate and test, and how that is written down and known again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from wbczoo import files
from wbczoo.data.samples import Rows
from wbczoo.text import csv_line

Role = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Plan:
    """Which rows of a data set do what.

    Attributes:
        train, validation, test: row numbers, ascending.
        leaked: test files whose group training sees too; 0 in an honest protocol.
        counts: what was taken out and why, for the output.
        held_out: the laboratory that tests, under `laboratory`.
    """

    protocol: str
    part: str
    fold: int | None
    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    leaked: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    held_out: str | None = None

    @property
    def leaky(self) -> bool:
        """Whether scores under this plan must stand under the word LEAKY."""
        return self.protocol == "report" or self.leaked > 0

    def rows(self, role: Role) -> tuple[int, ...]:
        """The rows of one role."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[role]


def split_csv(rows: Rows, plan: Plan) -> str:
    """The text of `split.csv`: content hash, photograph, group and role of every row used."""
    lines = [csv_line(("sha256", "photograph", "group", "role"))]
    for role in ("train", "validation", "test"):
        for row in plan.rows(role):
            photograph = rows.samples[row].photograph or ""
            lines.append(csv_line((rows.hashes[row], photograph, rows.groups[row], role)))
    return "".join(lines)


def write_split(path: Path, rows: Rows, plan: Plan) -> None:
    """Write `split.csv`, aside and renamed."""
    files.write_text(path, split_csv(rows, plan))


def digest_of(rows: Rows, plan: Plan) -> str:
    """SHA-256 of `split.csv`: equal for equal data, roles and groups."""
    return hashlib.sha256(split_csv(rows, plan).encode()).hexdigest()

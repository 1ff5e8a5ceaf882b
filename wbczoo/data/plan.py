"""Which rows train, validate and test, and how that is written down and known again."""

from __future__ import annotations

import csv
import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from wbczoo import files
from wbczoo.data.samples import Rows
from wbczoo.text import csv_line

Role = Literal["train", "validation", "test"]

# The columns of `split.csv` by which a split is known again.
IDENTITY = ("sha256", "photograph", "group", "role")


@dataclass(frozen=True)
class Plan:
    """Which rows of a data set do what.

    Attributes:
        train, validation, test: row numbers, ascending.
        leaked: test files whose group training sees too; 0 in an honest protocol.
        counts: what was taken out and why, for the output.
        held_out: the laboratory that tests, under `laboratory`.
        inherited: hashes of what the run has seen whose weights a training starts from.
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
    inherited: tuple[str, ...] = ()

    @property
    def leaky(self) -> bool:
        """Whether scores under this plan must stand under the word LEAKY."""
        return self.protocol == "report" or self.leaked > 0

    def rows(self, role: Role) -> tuple[int, ...]:
        """The rows of one role."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[role]


def split_csv(rows: Rows, plan: Plan) -> str:
    """The text of `split.csv`: what identifies every row used, its role, its path and label.

    What initial weights have seen follows by its hash, under the role `init`.
    """
    return "".join(map(csv_line, _lines(rows, plan)))


def _lines(rows: Rows, plan: Plan) -> Iterator[tuple[str, ...]]:
    yield (*IDENTITY, "path", "label")
    for role in ("train", "validation", "test"):
        for row in plan.rows(role):
            sample = rows.samples[row]
            identity = (rows.hashes[row], sample.photograph or "", rows.groups[row], role)
            yield (*identity, sample.path, sample.label)
    for digest in plan.inherited:
        yield (digest, "", "", "init", "", "")


def write_split(path: Path, rows: Rows, plan: Plan) -> None:
    """Write `split.csv`, aside and renamed."""
    # A path whose bytes are no text is written with backslashes.
    files.write_bytes(path, split_csv(rows, plan).encode("utf-8", "backslashreplace"))


def digest_of(rows: Rows, plan: Plan) -> str:
    """SHA-256 of a split: equal for equal data, roles and groups, whatever files are called."""
    return _digest(line[: len(IDENTITY)] for line in _lines(rows, plan))


def read_split(path: Path) -> tuple[list[dict[str, str]], str]:
    """The rows of a run's `split.csv`, and their digest, as `digest_of` tells it.

    Raises:
        OSError, ValueError, KeyError: if it cannot be read as one.
    """
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    identities = (tuple(str(row[name]) for name in IDENTITY) for row in rows)
    return rows, _digest(itertools.chain([IDENTITY], identities))


def _digest(lines: Iterable[Sequence[str]]) -> str:
    return hashlib.sha256("".join(map(csv_line, lines)).encode()).hexdigest()


def deal(
    contents: Mapping[str, Counter[str]], folds: int, key: Callable[[str], bytes]
) -> dict[str, int]:
    """Group -> fold, from 0, so that each fold has its share of each label.

    Groups of several rows come first, each to the fold that has fewest of its labels; those of
    one, which are most, then even out what is left.

    Args:
        contents: how many rows of each label a group has, by its name.
        key: of a group's name; by it they are drawn.
    """
    dealt = [Counter[str]() for _ in range(folds)]
    fold_of: dict[str, int] = {}
    for name in sorted(sorted(contents, key=key), key=lambda name: -contents[name].total()):
        labels = contents[name]
        fold_of[name] = place = min(
            range(folds),
            key=lambda fold: (sum(dealt[fold][label] for label in labels), dealt[fold].total()),
        )
        dealt[place] += labels
    return fold_of

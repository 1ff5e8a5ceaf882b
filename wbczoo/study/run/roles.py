"""Who trains, validates and tests in a cell: its protocol's split, and another data set's test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wbczoo import registry
from wbczoo.data.prepared import count
from wbczoo.data.samples import Rows, Targets, read_rows
from wbczoo.data.splits import Plan, Role, digest_of, external_plan, plan_split
from wbczoo.errors import UsageError
from wbczoo.progress import Tell
from wbczoo.study.plan.plan import Cell
from wbczoo.tasks import Task
from wbczoo.tasks import parse as parse_tasks

ROLES: tuple[Role, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """One training's split, over one data set or two.

    Attributes:
        rows: of the data set that trains and validates.
        tested: of the one that tests; `rows` itself but in `external`.
        plan: as the protocol drew it from `rows`; its own test is empty in `external`.
        test: row numbers of `tested`.
    """

    cell: Cell
    tasks: tuple[Task, ...]
    rows: Rows
    tested: Rows
    plan: Plan
    test: tuple[int, ...]

    def rows_of(self, role: Role) -> Rows:
        """The data set of a role."""
        return self.tested if role == "test" else self.rows

    def numbers(self, role: Role) -> tuple[int, ...]:
        """The row numbers of a role, ascending."""
        return self.test if role == "test" else self.plan.rows(role)

    def targets(self, role: Role, numbers: Sequence[int]) -> Targets:
        """task -> class index of each of these rows of a role's data set, -1 left out."""
        chosen = list(numbers)
        found = self.rows_of(role).targets(self.tasks)
        return {name: values[chosen] for name, values in found.items()}

    def describe(self) -> dict[str, Any]:
        """Counts of photographs, files and groups of each role, and the split's digest."""
        return {
            "split_sha256": digest_of(self.rows, self.plan),
            **{role: count(self.rows_of(role), self.numbers(role)) for role in ROLES},
            "counts": {name: number for name, number in self.plan.counts.items() if number},
        }


@dataclass
class Library:
    """The data sets of a study, each read and hashed once in a process.

    Args:
        paths: data set -> the folder or zip file of its images.
    """

    paths: Mapping[str, Path]
    tell: Tell
    _read: dict[str, Rows] = field(default_factory=dict)
    _splits: dict[str, Split] = field(default_factory=dict)

    def rows(self, dataset: str, options: Mapping[str, Any]) -> Rows:
        """A data set's rows.

        Raises:
            UsageError: if there is no such data set, or nobody said where it lies.
        """
        name = f"{dataset} {sorted(options.items())}"
        if name not in self._read:
            if dataset not in self.paths:
                raise UsageError(f"Nobody said where {dataset} lies: --data {dataset}=PATH.")
            self.tell(f"reading {self.paths[dataset]}")
            spec = registry.datasets.spec(dataset)
            found = read_rows(spec, self.paths[dataset], {**spec.options, **options})
            for path, reason in found.refused.items():
                self.tell(f"refused {path}: {reason}")
            self._read[name] = found
        return self._read[name]

    def split(self, cell: Cell, fold: int | None) -> Split:
        """The split of a cell's fold.

        Raises:
            UsageError, WbczooError: as `plan_split` does, and if `external` shares fewer than
                two classes.
        """
        asked = {name: getattr(cell, name) for name in ("protocol", "folds", "part", "train_part")}
        name = f"{cell.dataset}{cell.dataset_options}{cell.test_dataset}{cell.test_options}"
        name += f"{asked}{cell.tasks}{cell.seed} {fold} {sorted(cell.settings.items())}"
        if name not in self._splits:
            self._splits[name] = self._draw(cell, fold)
        return self._splits[name]

    def _draw(self, cell: Cell, fold: int | None) -> Split:
        tasks = parse_tasks(cell.tasks)
        rows = self.rows(cell.dataset, cell.dataset_options)
        plan = plan_split(rows, tasks, cell.train_config(fold))
        if cell.test_dataset is None:
            return Split(cell, tasks, rows, rows, plan, plan.test)
        tested = self.rows(cell.test_dataset, cell.test_options)
        return Split(cell, tasks, rows, tested, plan, external_plan(tested, tasks).test)


def readers(rows: Rows, numbers: Iterable[int]) -> dict[str, Callable[[], bytes]]:
    """Content hash -> what reads the file, of these rows: as the caches want it."""

    def reader(path: str) -> Callable[[], bytes]:
        return lambda: rows.source.read(path)

    return {rows.hashes[row]: reader(rows.samples[row].path) for row in numbers}

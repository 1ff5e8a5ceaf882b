"""Who trains, validates and tests in a trial: its protocol's split, and another data set's test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wbczoo.config import TrainConfig
from wbczoo.data.choice import choose_dataset
from wbczoo.data.classes import ROLES
from wbczoo.data.external import external_plan
from wbczoo.data.plan import Plan, Role, digest_of
from wbczoo.data.prepared import count, read_dataset
from wbczoo.data.samples import Rows, Targets
from wbczoo.data.splits import plan_split
from wbczoo.errors import UsageError
from wbczoo.progress import Tell
from wbczoo.study.plan.trial import Trial
from wbczoo.tasks import Task
from wbczoo.tasks import parse as parse_tasks

# What of a training's settings decides its split.
_DRAWS = {"dataset", "datasets", "protocol", "hold_out", "part", "folds", "train_part",
          "limit_photographs", "seed"}  # fmt: skip


@dataclass(frozen=True)
class Split:
    """One training's split, over one data set or two.

    Attributes:
        rows: of the data set that trains and validates.
        tested: of the one that tests; `rows` itself but in `external`.
        plan: as the protocol drew it from `rows`; its own test is empty in `external`.
        test: row numbers of `tested`.
    """

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

    def everyone(self) -> Iterator[tuple[Rows, list[int]]]:
        """Each data set with all its rows that have a role, ascending."""
        for rows in {id(rows): rows for rows in (self.rows, self.tested)}.values():
            roles = [role for role in ROLES if self.rows_of(role) is rows]
            yield rows, sorted({number for role in roles for number in self.numbers(role)})

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

    def rows(self, config: TrainConfig) -> Rows:
        """The rows of a config's data sets.

        Raises:
            UsageError: if nobody said where one of them lies.
        """
        name = str(config.parts)
        if name not in self._read:
            places = {}
            for own, part in config.parts.items():
                if part.name not in self.paths:
                    raise UsageError(
                        f"Nobody said where {part.name} lies: --data {part.name}=PATH."
                    )
                places[own] = self.paths[part.name]
            where = places if config.datasets else places[config.dataset.name]
            self._read[name] = read_dataset(config, where, self.tell)
        return self._read[name]

    def split(self, trial: Trial, fold: int | None) -> Split:
        """The split of a trial's fold.

        Raises:
            UsageError, WbczooError: as `plan_split` does, and if `external` shares fewer than
                two classes.
        """
        drawn = trial.train.model_dump(include=_DRAWS)
        name = f"{drawn} {trial.test} {trial.tasks} {fold}"
        if name not in self._splits:
            self._splits[name] = self._draw(trial, fold)
        return self._splits[name]

    def _draw(self, trial: Trial, fold: int | None) -> Split:
        tasks = parse_tasks(trial.tasks)
        config = trial.train_config(fold)
        rows = self.rows(config)
        plan = plan_split(rows, tasks, config)
        if trial.test is None:
            return Split(tasks, rows, rows, plan, plan.test)
        test = choose_dataset(trial.test.name, trial.test.given, [trial.test])
        tested = self.rows(TrainConfig(dataset=test))
        return Split(tasks, rows, tested, plan, external_plan(tested, tasks).test)

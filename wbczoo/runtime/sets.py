"""The set of classes that an answer leaves open, for a share of cells that is promised."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from wbczoo import files
from wbczoo.errors import UsageError, WbczooError
from wbczoo.metrics.sets import class_floors, count_groups, fewest_groups, in_set
from wbczoo.tasks import Task

COVERAGES = ("0.8", "0.9", "0.95", "0.99")  # that can be asked for

Floors = Mapping[str, NDArray[np.float64]]  # (classes,) by the task's name; NaN: no set holds it


@dataclass(frozen=True)
class Sets:
    """What a model can promise of each class, fitted on cells that did not train it.

    Attributes:
        floors: task -> coverage, of `COVERAGES` -> class -> the least probability with which it
            stands in a set; 0 where nothing can be promised, so that it stands in each. A class
            that no such cell had has none, and stands in a set only where it is the answer.
        groups: task -> class -> how many groups had it.

    Raises:
        ValueError: if a task has not both, each coverage, and no floor of a class without groups.
    """

    floors: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for task in {**self.floors, **self.groups}:
            floors, groups = self.floors.get(task, {}), self.groups.get(task, {})
            had = {name for name, count in groups.items() if count}
            if any(set(floors.get(coverage, {"": 0.0})) != had for coverage in COVERAGES):
                raise ValueError(f"the sets of {task} do not fit its groups")

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold; `read` reads it."""
        return asdict(self)

    @classmethod
    def read(cls, text: str) -> Sets | None:
        """From JSON; None of `null`.

        Raises:
            msgspec.MsgspecError: if it is not what `to_dict` gives.
        """
        found: Sets | None = msgspec.json.decode(text, type=cls | None)
        return found

    def floors_of(self, tasks: Sequence[Task], coverage: str) -> Floors:
        """Of each task that has them, in the order of its classes."""
        return {
            task.name: np.array(
                [self.floors[task.name][coverage].get(name, np.nan) for name in task.classes]
            )
            for task in tasks
            if coverage in self.floors.get(task.name, {})
        }

    def not_promised(self, tasks: Sequence[Task], coverage: str) -> Iterator[str]:
        """Sentences about each task of which this cannot be promised for some class."""
        needed = fewest_groups(float(coverage))
        for task in tasks:
            if task.name not in self.floors:
                yield f"{task.name}: nothing is promised, and no set is named"
        for name_of, groups in self.groups.items():
            few = [f"{name} ({n})" for name, n in groups.items() if 0 < n < needed]
            none = [name for name, n in groups.items() if n == 0]
            if few:
                yield (
                    f"{name_of}: {coverage} cannot be promised of {', '.join(few)}: {needed} "
                    "groups that validated are needed, so the class stands in every set"
                )
            if none:
                yield (
                    f"{name_of}: nothing is promised of {', '.join(none)}, which no cell that "
                    "validated had, and no set is widened by it"
                )


def read_sets(summary: Path) -> Sets | None:
    """What a training fitted, of its `summary.json`; None of one that did not.

    Raises:
        WbczooError: if it is damaged.
    """
    found = files.read_json(summary).get("sets") if summary.is_file() else None
    try:
        return msgspec.convert(found, Sets | None)
    except msgspec.ValidationError:
        raise WbczooError(
            f"{summary} says of its sets what this version does not read. Train the run again."
        ) from None


def fit_sets(
    tasks: Sequence[Task],
    probabilities: Mapping[str, NDArray[np.floating[Any]]],
    targets: Mapping[str, NDArray[np.int64]],
    groups: Sequence[Hashable],
) -> Sets:
    """What can be promised, told by cells of known classes.

    Args:
        probabilities: task -> (N, classes), calibrated.
        targets: task -> (N,) places of classes, negative where a row has none.
        groups: (N,) what each row must stay together with.
    """
    floors, counts = {}, {}
    for task in tasks:
        likely, truth = probabilities[task.name].astype(np.float64), targets[task.name]
        floors[task.name] = {
            coverage: {
                name: float(floor)
                for name, floor in zip(
                    task.classes, class_floors(likely, truth, groups, float(coverage)), strict=True
                )
                if not np.isnan(floor)
            }
            for coverage in COVERAGES
        }
        found = count_groups(truth, groups, len(task.classes))
        counts[task.name] = dict(zip(task.classes, found, strict=True))
    return Sets(floors, counts)


def choose_floors(
    sets: Sets | None, tasks: Sequence[Task], coverage: float | None, where: object
) -> Floors | None:
    """The floors of a coverage that a user asks for; None where none is asked for.

    Args:
        where: the model, for the message.

    Raises:
        UsageError: if the model promises none, or not this one.
    """
    if coverage is None:
        return None
    if sets is None:
        raise UsageError(
            f"{where} promises no coverage: it was exported before it could, is an ensemble, or "
            "had no validation photographs. Leave out --coverage; `wbczoo train` and `wbczoo "
            "adapt` fit it."
        )
    asked = f"{coverage:g}"
    if asked not in COVERAGES:
        raise UsageError(f"A coverage is one of {', '.join(COVERAGES)}, not {asked}.")
    floors = sets.floors_of(tasks, asked)
    if not floors:
        raise UsageError(f"{where} promises no coverage of any task. Leave out --coverage.")
    return floors


def classes_left(
    task: Task, probabilities: NDArray[np.float32], floors: NDArray[np.float64]
) -> list[str]:
    """The classes of one answer's set, the most probable first.

    Args:
        probabilities, floors: (classes,).
    """
    held = in_set(probabilities[None].astype(np.float64), floors)[0]
    return [task.classes[at] for at in np.argsort(-probabilities, kind="stable") if held[at]]

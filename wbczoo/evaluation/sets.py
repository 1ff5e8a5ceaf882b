"""Whether the sets of a model's answers hold as many true classes as was promised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from wbczoo.data.samples import Rows
from wbczoo.metrics.formulas import Floats, ratio
from wbczoo.metrics.intervals import draw, effective_groups, interval, percentiles, replicate
from wbczoo.metrics.sets import fewest_groups, in_set
from wbczoo.runtime.sets import COVERAGES, Sets
from wbczoo.tasks import Task
from wbczoo.text import format_figure

Answered = tuple[Sets, Sequence[int], Mapping[str, NDArray[np.float32]]]


def describe_sets(
    rows: Rows, tasks: Sequence[Task], answered: Sequence[Answered], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What the evaluation's document says of the sets: task -> coverage -> what was measured.

    Over the `files` of `asked` whose class had groups enough for the promise, `covered` is the
    share that has its class in its set, `alone` that whose set holds one class, `size` the mean
    number of classes; by class and, where there are several, by laboratory `covered` again.

    Args:
        answered: of each fold what its model promises, its rows, and task -> (N, C) of them.
        settings: `resamples` and `seed` of the bootstrap.
    """
    found: dict[str, Any] = {}
    chosen = np.array([row for _, own, _ in answered for row in own], np.intp)
    for task in tasks:
        if any(task.name not in sets.floors for sets, _, _ in answered):
            continue
        truth = rows.targets([task])[task.name][chosen]
        found[task.name] = {}
        for coverage in COVERAGES:
            needed = fewest_groups(float(coverage))
            promised, held = (np.concatenate(parts) for parts in zip(
                *(_promised_and_held(task, *one, coverage, needed) for one in answered), strict=True
            ))  # fmt: skip
            known = np.flatnonzero(truth >= 0)
            at = known[promised[known, truth[known]]]
            if len(at):
                measured = _measure(rows, task, chosen[at], truth[at], held[at], settings)
                found[task.name][coverage] = {"asked": len(known), **measured}
    return found


def _promised_and_held(
    task: Task,
    sets: Sets,
    own: Sequence[int],
    told: Mapping[str, NDArray[np.float32]],
    coverage: str,
    needed: int,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of each row and class (N, C), whether this is promised, and whether its set holds it."""
    groups = [sets.groups[task.name].get(name, 0) >= needed for name in task.classes]
    floors = sets.floors_of([task], coverage)[task.name]
    return np.tile(groups, (len(own), 1)), in_set(told[task.name].astype(np.float64), floors)


def _measure(
    rows: Rows,
    task: Task,
    chosen: NDArray[np.intp],
    truth: NDArray[np.int64],
    held: NDArray[np.bool_],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    drawn = draw(
        [rows.groups[row] for row in chosen], [rows.strata[row] for row in chosen], **settings
    )
    inside = held[np.arange(len(truth)), truth].astype(float)
    sizes = held.sum(1).astype(float)
    parts = {name: truth == place for place, name in enumerate(task.classes)}
    named = np.array([rows.laboratories[row] for row in chosen], object)
    where = {f"at {name}": named == name for name in dict.fromkeys(named.tolist())}
    masks = {"covered": np.ones(len(truth), bool), **parts, **where}
    masks = {name: mask for name, mask in masks.items() if mask.any()}

    def scores(weights: Floats) -> dict[str, Floats]:
        whole = weights.sum(1)
        shares = {
            name: ratio((weights * mask) @ inside, (weights * mask).sum(1))
            for name, mask in masks.items()
        }
        return shares | {
            "alone": ratio(weights @ (sizes == 1), whole), "size": ratio(weights @ sizes, whole)
        }  # fmt: skip

    point, again = replicate(drawn, scores)

    def share(name: str) -> dict[str, Any]:
        rests = effective_groups(masks.get(name, masks["covered"]), drawn)
        return dict(interval(float(point[name]), again[name], rests or 1.0))

    low, high = percentiles(again["size"])
    told: dict[str, Any] = {
        "files": len(truth),
        "covered": share("covered"),
        "alone": share("alone"),
        "size": {"value": float(point["size"]), "low": low, "high": high},
        "per_class": {name: share(name) for name in parts if name in masks},
    }
    if len(where) > 1:
        told["laboratories"] = {name.removeprefix("at "): share(name) for name in where}
    return told


def table(found: Mapping[str, Any]) -> str:
    """The same for a person to read."""
    lines = [
        [
            task,
            coverage,
            f"{own['files']} of {own['asked']}",
            format_figure(own["covered"]),
            min(format_figure(each) for each in own["per_class"].values()),
            f"{own['size']['value']:.2f}",
            format_figure(own["alone"]),
        ]
        for task, told in found.items()
        for coverage, own in told.items()
    ]
    heads = [
        "sets",
        "promised",
        "files",
        "hold the truth",
        "worst class",
        "classes",
        "of one class",
    ]
    return tabulate(lines, heads, disable_numparse=True)

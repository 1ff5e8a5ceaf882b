"""Cells of classes that a model has not are chosen here, and its novelty is measured on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from wbczoo.data.plan import Plan
from wbczoo.data.samples import LEFT_OUT, Rows
from wbczoo.metrics.unknown import measure_unknown
from wbczoo.runtime.flags import LIMIT
from wbczoo.tasks import Task
from wbczoo.text import format_figure

_NAMES = {
    "auroc": "AUROC, known against unknown",
    "passed": "unknown that pass where 95 % of the known do",
    "found": "unknown above the limit",
    "called_unknown": "known above the limit",
}


def unknown_rows(rows: Rows, plan: Plan, tasks: Sequence[Task]) -> tuple[int, ...]:
    """The rows that a protocol could test, of labels that every task leaves out.

    Those of groups that train or validate are none, for the model has seen their slides.
    """
    seen = {rows.groups[row] for row in (*plan.train, *plan.validation)}
    tested = {(rows.laboratories[row], rows.samples[row].part) for row in plan.test}
    return tuple(
        row
        for row, sample in enumerate(rows.samples)
        if sample.label
        and (rows.laboratories[row], sample.part) in tested
        and (sample.split == "test" or plan.protocol != "official")
        and rows.groups[row] not in seen
        and all(rows.class_of(task, row) is None for task in tasks)
    )


def describe_novelty(
    rows: Rows,
    tasks: Sequence[Task],
    answered: Iterable[tuple[Sequence[int], NDArray[np.float32]]],
    settings: Mapping[str, int],
) -> dict[str, Any]:
    """What the evaluation's document says of the novelty: over all rows, and by laboratory.

    Args:
        answered: rows, known and unknown, with the novelty of each.
        settings: `resamples` and `seed`.
    """
    parts = [*answered]
    chosen = [row for numbers, _ in parts for row in numbers]
    novelty = np.concatenate([values for _, values in parts]).astype(np.float64)
    targets = np.stack([values[chosen] for values in rows.targets(tasks).values()])
    known = (targets != LEFT_OUT).any(0)
    columns = (rows.groups, rows.strata, rows.laboratories)
    groups, strata, laboratories = (
        np.array([column[row] for row in chosen], object) for column in columns
    )

    def measured(at: NDArray[np.bool_]) -> dict[str, Any]:
        return measure_unknown(
            novelty[at], known[at], LIMIT, groups[at].tolist(), strata[at].tolist(), **settings
        )

    told = Counter(
        rows.samples[row].label for row, own in zip(chosen, known, strict=True) if not own
    )
    found = {**measured(np.ones(len(chosen), bool)), "labels": dict(told)}
    names = dict.fromkeys(laboratories.tolist())
    if len(names) > 1:
        found["laboratories"] = {name: measured(laboratories == name) for name in names}
    return found


def table(found: Mapping[str, Any]) -> str:
    """The same for a person to read."""
    labels = ", ".join(f"{label} ({count})" for label, count in found["labels"].items())
    told = [
        f"Novelty, on {found['known_files']} files of {found['known_groups']} groups of classes "
        f"that the model has and {found['unknown_files']} files of {found['unknown_groups']} "
        f"groups of classes that it has not{': ' if labels else ''}{labels}."
    ]
    named = {"novelty": found, **found.get("laboratories", {})}
    rows = [
        [words, *(format_figure(each[name]) for each in named.values())]
        for name, words in _NAMES.items()
        if found[name]["value"] is not None
    ]
    return "\n\n".join([*told, tabulate(rows, ["", *named], disable_numparse=True)])

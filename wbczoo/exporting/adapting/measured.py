"""A model before and after it was adapted is measured here, with intervals by group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from wbczoo.exporting.adapting.refit import Cells, Refit, softmax
from wbczoo.metrics import measure
from wbczoo.metrics.formulas import Floats, Ints
from wbczoo.metrics.unknown import measure_unknown
from wbczoo.runtime.flags import LIMIT
from wbczoo.tasks import Task

FIGURES = ("accuracy", "macro_f1", "ece")


def compare(
    cells: Cells,
    strata: Sequence[str],
    tasks: Sequence[Task],
    fitted: Iterable[tuple[Ints, Refit]],
    resamples: int,
) -> dict[str, Any]:
    """How the given model and the adapted one answer cells that the adapting had not seen.

    Args:
        strata: (N,) raw labels.
        fitted: rows, and the refit that answers them; together each row once.

    Returns:
        what JSON can hold: `files`, `groups`; `tasks`, task -> `before` and `after` -> each of
        `FIGURES`, and `recall` by class; `called_unknown`, the share of these cells above the
        limit of novelty, likewise, or None.
    """
    before = {task.name: softmax(cells.logits[task.name]) for task in tasks}
    after = {name: np.zeros_like(values) for name, values in before.items()}
    novelty = np.zeros(len(cells.groups))
    for rows, found in fitted:
        for name, correction in found.corrections.items():
            given = cells.logits[name][rows]
            after[name][rows] = correction.probabilities(cells.features[rows], given)
        if cells.novelty is not None:
            novelty[rows] = found.slope * cells.novelty[rows] + found.offset
    groups, settings = cells.groups.tolist(), {"resamples": resamples}
    told: dict[str, Any] = {}
    for task in tasks:
        targets = cells.targets[task.name]
        if (targets < 0).all():
            continue
        told[task.name] = {}
        for when, probabilities in (("before", before), ("after", after)):
            measured = measure(task, targets, probabilities[task.name], groups, strata, **settings)
            told[task.name][when] = {
                **{name: measured[name] for name in FIGURES},
                "recall": {
                    name: each["recall"]
                    for name, each in measured["per_class"].items()
                    if each["files"]
                },
            }
    called = None
    if cells.novelty is not None:
        called = {
            when: _called_unknown(cells, values, strata, resamples)
            for when, values in (("before", cells.novelty), ("after", novelty))
        }
    counts = {"files": len(groups), "groups": len(set(groups))}
    return {**counts, "tasks": told, "called_unknown": called}


def _called_unknown(
    cells: Cells, novelty: Floats, strata: Sequence[str], resamples: int
) -> dict[str, float | None]:
    known = np.ones(len(novelty), bool)
    found = measure_unknown(
        novelty, known, LIMIT, cells.groups.tolist(), strata, resamples=resamples
    )
    called: dict[str, float | None] = found["called_unknown"]
    return called

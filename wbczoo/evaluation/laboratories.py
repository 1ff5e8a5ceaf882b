"""The answers of one evaluation are measured here for each laboratory alone, and over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wbczoo.data.external import shared_classes
from wbczoo.data.prepared import count
from wbczoo.data.samples import Rows
from wbczoo.metrics import measure, restrict
from wbczoo.metrics.laboratories import over_laboratories
from wbczoo.tasks import Task


def by_laboratory(
    rows: Rows,
    chosen: Sequence[int],
    tasks: Sequence[Task],
    probabilities: Mapping[str, NDArray[np.floating]],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """What an evaluation's document says of laboratories: `laboratories` and `over_laboratories`.

    A task is measured over the classes that a laboratory shares with it, probabilities
    renormalised; where these are fewer than two, it is left out.

    Args:
        chosen: the rows that were answered.
        probabilities: task -> (N, C) of them.
        settings: `resamples` and `seed` of the bootstrap.
    """
    named = np.array([rows.laboratories[row] for row in chosen])
    groups = np.array([rows.groups[row] for row in chosen], object)
    strata = np.array([rows.strata[row] for row in chosen], object)
    numbers = np.array(chosen)
    found: dict[str, Any] = {
        name: {**count(rows, numbers[named == name].tolist()), "tasks": {}}
        for name in dict.fromkeys(named.tolist())
    }
    over = {}
    for task in tasks:
        truth = rows.targets([task])[task.name][numbers]
        answers = np.full(len(numbers), -1)
        for name in found:
            at = np.flatnonzero((named == name) & (truth >= 0))
            shared = shared_classes(task, rows, numbers[at].tolist())
            if len(shared) < 2:
                continue
            kept = np.array([task.classes.index(each) for each in shared])
            likely = restrict(probabilities[task.name][at], kept.tolist())
            answers[at] = kept[likely.argmax(1)]
            found[name]["tasks"][task.name] = measure(
                Task(task.name, shared),
                np.searchsorted(kept, truth[at]),
                likely,
                groups[at].tolist(),
                strata[at].tolist(),
                **settings,
            )
        at = np.flatnonzero(answers >= 0)
        if len(set(named[at].tolist())) > 1:
            over[task.name] = over_laboratories(
                truth[at],
                answers[at],
                named[at].tolist(),
                groups[at].tolist(),
                strata[at].tolist(),
                classes=len(task.classes),
                **settings,
            )
    return {"laboratories": found, "over_laboratories": over}

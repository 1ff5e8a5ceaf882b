"""Answers from several laboratories become the mean over them and the worst, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wbczoo.metrics.formulas import Floats, Ints, confusion, figures_of
from wbczoo.metrics.intervals import draw, effective_groups, interval, replicate

FIGURES = ("accuracy", "macro_f1")


def over_laboratories(
    truth: Ints,
    answers: Ints,
    laboratories: Sequence[str],
    groups: Sequence[str],
    strata: Sequence[str],
    *,
    classes: int,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """The mean of a figure over laboratories, and its worst, by a bootstrap within each.

    A laboratory counts once, whatever its number of cells. The interval speaks of other groups
    of these laboratories, not of other laboratories.

    Args:
        truth, answers: (N,) class indices.
        laboratories, groups, strata: (N,); strata tell laboratories apart.

    Returns:
        for each of `FIGURES` `mean` and `worst`, each an interval, and `worst_of`, whose it is.
    """
    drawn = draw(groups, strata, resamples, seed)
    names = list(dict.fromkeys(laboratories))
    rows = [np.flatnonzero([each == name for each in laboratories]) for name in names]

    def scores(weights: Floats) -> dict[str, Floats]:
        each = [
            figures_of(confusion(weights[:, at], truth[at], answers[at], classes)) for at in rows
        ]
        return {name: np.stack([one[name] for one in each], 1) for name in FIGURES}

    point, again = replicate(drawn, scores)
    # In a mean over laboratories and classes a row weighs more the fewer its class has there.
    balanced = np.zeros(len(truth))
    for at in rows:
        balanced[at] = 1 / np.bincount(truth[at])[truth[at]]

    def of(at: Ints) -> float:
        only = np.zeros(len(truth))
        only[at] = balanced[at]
        return effective_groups(only, drawn)

    found = {}
    for name in FIGURES:
        worst = int(point[name].argmin())
        found[name] = {
            "mean": interval(
                float(point[name].mean()), again[name].mean(1), of(np.concatenate(rows))
            ),
            "worst": interval(float(point[name].min()), again[name].min(1), of(rows[worst])),
            "worst_of": names[worst],
        }
    return found

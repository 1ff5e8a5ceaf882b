"""Limits past which an answer is flagged, found on answers to photographs that are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from wbczoo.metrics.formulas import Bools, Floats

KNOWN = 0.95  # of cells of known classes stay below the limit of novelty
ERROR = 0.05  # is allowed among the answers that are not unsure


def weigh(groups: Sequence[str], laboratories: Sequence[str] | None = None) -> Floats:
    """Weights (N,) of sum 1 under which groups, and laboratories if there are any, count alike.

    Args:
        groups: (N,) what each row must stay together with.
        laboratories: (N,) where each row is from.
    """
    places = list(zip(laboratories or [""] * len(groups), groups, strict=True))
    rows, groups_of = Counter(places), Counter(place for place, _ in set(places))
    return np.array([1 / rows[p] / groups_of[p[0]] / len(groups_of) for p in places], np.float64)


def quantile(values: Floats, weights: Floats, share: float) -> float:
    """The smallest of the values that at least this share of the weight does not exceed."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    # Sums of weights round, and a share that is met exactly is met.
    return float(values[order][np.searchsorted(reached, share - 1e-9)])


def least_probability(
    confidences: Floats, wrong: Bools, weights: Floats, error: float = ERROR
) -> float:
    """The least probability such that of the answers from there on no more than this is wrong.

    0 where all answers hold that, and 1 where not even the surest do.

    Args:
        confidences, wrong: (N,) of the answered class.
        weights: (N,) of each answer.
    """
    order = np.argsort(-confidences, kind="stable")
    kept = np.cumsum(weights[order])
    errors = np.cumsum(weights[order] * wrong[order])
    # Equal confidences are kept or left together.
    ends = np.append(np.flatnonzero(np.diff(confidences[order])), len(order) - 1)
    holding = ends[errors[ends] <= error * kept[ends] + 1e-12]
    if len(holding) == 0:
        return 1.0
    return 0.0 if holding[-1] == len(order) - 1 else float(confidences[order][holding[-1]])

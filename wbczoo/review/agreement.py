"""Two reviewers who did not see one another's decisions are compared here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wbczoo.metrics.intervals import UNDEFINED, draw, effective_groups, interval, replicate

Floats = NDArray[np.float64]

_RESAMPLES = 2000


def compare(
    first: Sequence[str], second: Sequence[str], photographs: Sequence[str]
) -> dict[str, Any]:
    """How far two people agree on cells, beyond what chance would make them.

    Cohen's kappa (1960), with a bootstrap over photographs, whose cells one person sees together;
    never narrower than what so few photographs can exclude of the agreement itself.

    Args:
        first, second: (N,) what each said of every cell.
        photographs: (N,) in which it is.

    Returns:
        `cells`, `photographs`, `agreement` and `kappa` with `value`, `low`, `high`; the values
        are None where nothing can be told: no cell, or one class alone.
    """
    told: dict[str, Any] = {"cells": len(first), "photographs": len(set(photographs))}
    if not first:
        return {**told, "agreement": dict(UNDEFINED), "kappa": dict(UNDEFINED)}
    names = sorted({*first, *second})
    ones, others = (
        np.array([[name == said for name in names] for said in each], np.float64)
        for each in (first, second)
    )
    drawn = draw(photographs, first, _RESAMPLES, seed=0)
    same = (ones * others).sum(1)

    def scores(weights: Floats) -> Mapping[str, Floats]:
        total = np.maximum(weights.sum(1), 1)
        agreed = weights @ same / total
        chance = ((weights @ ones) * (weights @ others)).sum(1) / total**2
        with np.errstate(divide="ignore", invalid="ignore"):
            return {
                "agreement": agreed,
                "kappa": (agreed - chance) / (1 - chance),
                "chance": chance,
            }

    point, again = replicate(drawn, scores)
    groups = effective_groups(np.ones(len(first)), drawn)
    agreement = interval(float(point["agreement"]), again["agreement"], groups)
    return {**told, "agreement": agreement, "kappa": _kappa(point, again["kappa"], agreement)}


def _kappa(
    point: Mapping[str, Floats], replicates: Floats, agreement: Mapping[str, float | None]
) -> dict[str, float | None]:
    value, chance = float(point["kappa"]), float(point["chance"])
    low, high = agreement["low"], agreement["high"]
    if not np.isfinite(value) or low is None or high is None:
        return dict(UNDEFINED)
    known = replicates[np.isfinite(replicates)]
    ends = np.quantile(known, (0.025, 0.975)) if len(known) else (value, value)
    return {
        "value": value,
        "low": max(-1.0, min(float(ends[0]), (low - chance) / (1 - chance))),
        "high": min(1.0, max(float(ends[1]), (high - chance) / (1 - chance))),
    }

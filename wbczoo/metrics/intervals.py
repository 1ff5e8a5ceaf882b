"""Groups are drawn again and again here, and what a metric does under it becomes its interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wbczoo.errors import UsageError

Floats = NDArray[np.float64]
Interval = dict[str, float | None]
Scores = Callable[[Floats], Mapping[str, Floats]]

ALPHA = 0.05
UNDEFINED: Interval = {"value": None, "low": None, "high": None}
METHOD = (
    "95 % percentile bootstrap over groups, stratified by label, and never narrower than what "
    "the effective number of groups can exclude (docs/decisions/metrics.md)"
)

_ELEMENTS = 2**20  # of a (chunk, N) array of weights: 8 MB, of which a few live at a time


@dataclass(frozen=True)
class Resamples:
    """How often each resample holds each group.

    Attributes:
        group_of_row: (N,) the number of each row's group, in the order of first appearance.
        counts: (B, G) how often each group was drawn.
        strata: label -> number of groups; within each as many are drawn as it has.
    """

    group_of_row: NDArray[np.intp]
    counts: NDArray[np.int32]
    strata: Mapping[str, int]

    @property
    def groups(self) -> int:
        """G, the number of groups."""
        return int(self.counts.shape[1])

    @property
    def single_group_strata(self) -> int:
        """The strata of one group: they are drawn always, and so add nothing to any interval."""
        return sum(count == 1 for count in self.strata.values())


def draw(groups: Sequence[str], strata: Sequence[str], resamples: int, seed: int) -> Resamples:
    """Draw whole groups with replacement, within strata.

    Rows of one group are no independent evidence, so the group is what is drawn (Davison and
    Hinkley 1997, section 3.8); drawing within strata keeps the classes' shares, so that a
    resample hardly ever lacks a class.

    Args:
        groups: (N,) of each row.
        strata: (N,) raw label of each row; a group belongs to the commonest of its rows, and
            where two are as common, to the one that comes first.
        resamples: B.
        seed: of the generator; equal arguments give equal counts.

    Raises:
        UsageError: if `resamples` is not positive.
    """
    if resamples < 1:
        raise UsageError(
            f"A bootstrap needs at least one resample, and {resamples} were asked for."
        )
    place = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    group_of_row = np.array([place[name] for name in groups], np.intp)
    labels: list[Counter[str]] = [Counter() for _ in place]
    for group, label in zip(group_of_row, strata, strict=True):
        labels[group][label] += 1
    stratum_of_group = [counter.most_common(1)[0][0] for counter in labels]
    members = {
        name: np.array([g for g, stratum in enumerate(stratum_of_group) if stratum == name])
        for name in dict.fromkeys(stratum_of_group)
    }
    generator = np.random.Generator(np.random.PCG64(seed))
    counts = np.zeros((resamples, len(place)), np.int32)
    for row in counts:
        for among in members.values():
            drawn = generator.integers(len(among), size=len(among))
            row[among] = np.bincount(drawn, minlength=len(among))
    return Resamples(group_of_row, counts, {name: len(among) for name, among in members.items()})


def replicate(drawn: Resamples, scores: Scores) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """The scores of the rows as they are, and of every resample.

    Args:
        scores: takes weights (b, N) of the rows, and gives arrays (b, ...) by name.

    Returns:
        the point values, arrays (...), and the replicates, arrays (B, ...).
    """
    rows = len(drawn.group_of_row)
    point = {name: values[0] for name, values in scores(np.ones((1, rows))).items()}
    step = max(1, _ELEMENTS // max(rows, 1))
    chunks = [
        scores(drawn.counts[start : start + step].astype(np.float64).take(drawn.group_of_row, 1))
        for start in range(0, len(drawn.counts), step)
    ]
    return point, {name: np.concatenate([chunk[name] for chunk in chunks]) for name in point}


def effective_groups(weights: NDArray[np.floating | np.bool_], drawn: Resamples) -> float:
    """How many groups of equal weight would tell as much (Kish 1965); 0 of none.

    A metric over 71 photographs, of which four bring a quarter of the files, knows less than one
    over 71 equal ones.

    Args:
        weights: (N,) what each row adds to the metric.
    """
    sums = np.bincount(drawn.group_of_row, weights, minlength=drawn.groups)
    return float(sums.sum() ** 2 / (sums**2).sum()) if sums.any() else 0.0


def percentiles(replicates: Floats) -> tuple[float, float]:
    """The 2.5 % and 97.5 % percentiles of the replicates that are no NaN."""
    low, high = np.nanquantile(replicates, (ALPHA / 2, 1 - ALPHA / 2))
    return float(low), float(high)


def interval(value: float, replicates: Floats, groups: float) -> Interval:
    """The interval of a metric in [0, 1] that is a mean, or acts like one.

    Percentiles alone deceive where little went wrong: from 71 photographs that are all right the
    bootstrap draws no wrong one, and says [1, 1]. Yet n groups that are all right leave open,
    at 2.5 %, that a share 1 - 0.025^(1/n) of all groups is not: the exact limit of Clopper and
    Pearson 1934, with an effective n as Korn and Graubard 1998 take it. So the interval always
    holds what the value would be if that share were all wrong, and if it were all right. This
    only widens, has no jump, and does nothing where the groups differ enough for the bootstrap
    to show it.

    The percentiles are those of Efron and Tibshirani 1993, chapter 13.

    Args:
        value: of the rows as they are; NaN for a metric that they leave undefined.
        replicates: (B,) NaN where a resample leaves it undefined.
        groups: the effective number of groups that the value rests on.

    Returns:
        `value`, `low`, `high`; all None for an undefined metric.
    """
    if np.isnan(value):
        return dict(UNDEFINED)
    low, high = percentiles(replicates) if not np.isnan(replicates).all() else (value, value)
    seen = (ALPHA / 2) ** (1 / groups)
    return {
        "value": float(value),
        "low": max(0.0, min(low, value * seen)),
        "high": min(1.0, max(high, 1 - (1 - value) * seen)),
    }


def gap_interval(
    value: float, replicates: Floats, accuracy: Interval, accuracies: Floats
) -> Interval:
    """The interval of a calibration error: a gap that moves no further than the accuracy does.

    If the share of groups that the accuracy's lower limit allows for were wrong at the same
    confidence, the gap would grow by what the accuracy lost, at most: so its upper limit is
    raised by as much as that limit was lowered below the bootstrap's own.

    Args:
        value, replicates: of the calibration error, as `interval` takes them.
        accuracy, accuracies: the accuracy's interval and replicates (B,).
    """
    if accuracy["low"] is None:
        return dict(UNDEFINED)
    low, high = percentiles(replicates)
    slack = max(0.0, percentiles(accuracies)[0] - accuracy["low"])
    return {"value": value, "low": min(low, value), "high": min(1.0, max(high, value) + slack)}

"""The answers of a model's seeds are counted by group here, and become figures with intervals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from wbczoo.metrics.formulas import Floats, figures_of
from wbczoo.metrics.intervals import (
    UNDEFINED,
    Interval,
    Resamples,
    draw,
    effective_groups,
    interval,
    percentiles,
)
from wbczoo.study.run.row import Answers, Row, answers_of

FIGURES = ("accuracy", "balanced_accuracy", "macro_f1")


@dataclass(frozen=True)
class Tally:
    """How the files of each group were answered in one task, by each seed.

    Attributes:
        groups: (G,) their names.
        strata: (G,) the raw label of each: the commonest of its files.
        counts: (S, G, C, C) files; rows truth, columns answer.
        photographs: how many they show, those of all seeds together.
    """

    groups: tuple[str, ...]
    strata: tuple[str, ...]
    counts: NDArray[np.int64]
    photographs: int

    def right(self) -> Floats:
        """(G,) what each group adds to the accuracy, mean over seeds; their sum is the accuracy."""
        hits = self.counts.diagonal(axis1=2, axis2=3).sum(2)  # (S, G)
        found: Floats = (hits / self.counts.sum((1, 2, 3))[:, None]).mean(0)
        return found

    def resample(self, resamples: int, seed: int) -> Resamples:
        """Groups drawn within labels (`wbczoo.metrics.intervals.draw`)."""
        return _draw(self.groups, self.strata, resamples, seed)


def tally_together(models: Sequence[Sequence[Row]], task: str) -> list[Tally]:
    """Count each model's answers, over the photographs that all of them answered.

    Args:
        models: of each its rows, one for each seed. Seeds may test other photographs; the tests
            of one seed are equal in all models that have several.

    Returns:
        a tally for each model; `groups` and `strata` are the same in all.
    """
    answers = [[answers_of(row, task) for row in rows] for rows in models]
    known = [{_name(one) for seed in model for one in seed} for model in answers]
    common = set.intersection(*known)
    labels: dict[str, Counter[str]] = {}
    for one in (one for seed in answers[0] for one in seed if _name(one) in common):
        labels.setdefault(one.group, Counter())[one.label] += sum(one.counts)
    place = {group: number for number, group in enumerate(labels)}
    strata = tuple(counter.most_common(1)[0][0] for counter in labels.values())
    classes = len(models[0][0]["tasks"][task]["classes"])
    found = []
    for model in answers:
        counts = np.zeros((len(model), len(place), classes, classes), np.int64)
        for number, seed in enumerate(model):
            for one in seed:
                if _name(one) in common:
                    counts[number, place[one.group], one.truth] += one.counts
        found.append(Tally(tuple(place), strata, counts, len({name for name, _ in common})))
    return found


def measure_seeds(
    rows: Sequence[Row], task: str, *, resamples: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """Accuracy, balanced accuracy and macro-F1, mean over seeds, each with its interval.

    With several seeds each resample draws groups and seeds, both with replacement (the pigeonhole
    bootstrap of Owen 2007, section 3): the interval speaks of new photographs and of another
    training.

    Args:
        rows: of one setting, a row for each seed.
    """
    (tally,) = tally_together([rows], task)
    drawn = tally.resample(resamples, seed)
    point, again = replicate_seeds(tally, drawn, draw_seeds(len(rows), resamples, seed))
    files = tally.counts.sum(0)  # (G, C, C)
    truth = files.sum(2)  # (G, C)
    of_class = truth.sum(0)
    share = np.divide(truth, of_class, out=np.zeros(truth.shape), where=of_class > 0)
    everyone = effective_groups(truth.sum(1).astype(float), drawn)
    balanced = effective_groups(share.sum(1), drawn)
    return {
        name: interval(point[name], again[name], everyone if name == "accuracy" else balanced)
        for name in FIGURES
    }


def replicate_seeds(
    tally: Tally, drawn: Resamples, seeds: Floats
) -> tuple[dict[str, float], dict[str, Floats]]:
    """The figures, mean over seeds: as they are, and (B,) of every resample.

    Args:
        drawn: B draws of the groups.
        seeds: (B, S) the weight of each seed in each resample; each row sums to 1.
    """
    seen, groups, *shape = tally.counts.shape  # a task that nobody was tested in has no group
    flat = tally.counts.reshape(seen, groups, math.prod(shape)).astype(np.float64)
    point = figures_of(tally.counts.sum(1).astype(np.float64))
    weights = drawn.counts.astype(np.float64)  # (B, G)
    each = [figures_of((weights @ one).reshape(-1, *shape)) for one in flat]
    again = {
        name: (np.stack([figures[name] for figures in each], 1) * seeds).sum(1) for name in FIGURES
    }
    return {name: float(point[name].mean()) for name in FIGURES}, again


def draw_seeds(seeds: int, resamples: int, seed: int) -> Floats:
    """(B, S) how much each seed weighs in each resample, seeds drawn with replacement."""
    # Another stream than the groups', or the two draws would be tied.
    generator = np.random.Generator(np.random.PCG64([seed, 1]))
    picked = generator.integers(seeds, size=(resamples, seeds))
    weights: Floats = (picked[:, :, None] == np.arange(seeds)).mean(1)
    return weights


def difference(value: float, replicates: Floats) -> Interval:
    """A difference of two figures with its percentile interval (Efron and Tibshirani 1993, 13)."""
    if np.isnan(value) or np.isnan(replicates).all():
        return dict(UNDEFINED)
    low, high = percentiles(replicates)
    return {"value": value, "low": min(low, value), "high": max(high, value)}


def _name(one: Answers) -> tuple[str, str]:
    return one.photograph, one.label


@lru_cache(maxsize=64)
def _draw(groups: tuple[str, ...], strata: tuple[str, ...], resamples: int, seed: int) -> Resamples:
    return draw(groups, strata, resamples, seed)

"""What a model's heads answer is corrected here, by few labelled cells of one laboratory."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from wbczoo.data.plan import deal
from wbczoo.metrics import fit_temperature
from wbczoo.metrics.formulas import Floats, Ints
from wbczoo.metrics.limits import KNOWN, least_probability, quantile, weigh

FOLDS = 5

# Of which the likeliest is chosen on folds within the cells; the last leaves a head as it is.
PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, math.inf)

# Features that hardly spread among the cells are not blown up: a share of the mean spread.
_FLOOR = 0.1

_NARROWEST = 1e-3  # of a spread of novelties


@dataclass(frozen=True)
class Cells:
    """What a model gave for N labelled cells.

    Attributes:
        features: (N, D), what its heads read.
        logits: task -> (N, C), divided by the temperatures that it was exported with.
        novelty: (N,), or None of a model that tells none.
        targets: task -> (N,) class indices, -1 where the task leaves a cell out.
        groups: (N,) what must stay together.
    """

    features: Floats
    logits: Mapping[str, Floats]
    novelty: Floats | None
    targets: Mapping[str, Ints]
    groups: NDArray[np.object_]

    def take(self, rows: Ints) -> Cells:
        """Some of the cells."""
        return Cells(
            self.features[rows],
            {task: values[rows] for task, values in self.logits.items()},
            None if self.novelty is None else self.novelty[rows],
            {task: values[rows] for task, values in self.targets.items()},
            self.groups[rows],
        )


@dataclass(frozen=True)
class Correction:
    """What is added to a head's logits; the sum is divided by a temperature.

    Classes without a cell keep the probability that the head gave them, and what is added parts
    the rest among the others: what tells those from one another is no evidence against these.

    Attributes:
        weights, bias: (C, D) and (C,); 0 of classes without a cell.
        seen: the classes that have cells; all if None.
        penalty: of their squares; infinite where nothing is added.
        unsure_below: the least probability that holds the error at 5 %; None where no cell tells.
        crossed: (N, C) what each cell is given by a correction that was fitted without its fold;
            0 where the task leaves it out, None where nothing was fitted.
    """

    weights: Floats
    bias: Floats
    seen: Ints | None = None
    penalty: float = math.inf
    temperature: float = 1.0
    unsure_below: float | None = None
    crossed: Floats | None = None

    def logits(self, features: Floats, given: Floats) -> Floats:
        """The corrected logits (N, C), before the temperature."""
        corrected: Floats = given + features @ self.weights.T + self.bias
        if self.seen is not None:
            whole = logsumexp(given[:, self.seen], 1) - logsumexp(corrected[:, self.seen], 1)
            corrected[:, self.seen] += whole[:, None]
        return corrected

    def probabilities(self, features: Floats, given: Floats) -> Floats:
        """(N, C), calibrated."""
        return softmax(self.logits(features, given) / self.temperature)


@dataclass(frozen=True)
class Refit:
    """A model's corrections by task, and by what its novelty is multiplied and then moved."""

    corrections: Mapping[str, Correction]
    slope: float = 1.0
    offset: float = 0.0


def softmax(logits: Floats) -> Floats:
    """Probabilities (N, C)."""
    likely = np.exp(logits - logits.max(1, keepdims=True))
    shares: Floats = likely / likely.sum(1, keepdims=True)
    return shares


def refit(cells: Cells) -> Refit:
    """Fit corrections, temperatures and limits, each chosen on folds within these cells.

    The median of the novelty becomes 0 and `KNOWN` of it lies below 1, as when it was trained.
    """
    corrections = {task: _correct(cells, task) for task in cells.logits}
    if cells.novelty is None:
        return Refit(corrections)
    known = np.any([targets >= 0 for targets in cells.targets.values()], 0)
    novelty, weights = cells.novelty[known], weigh(cells.groups[known].tolist())
    median = quantile(novelty, weights, 0.5)
    spread = max(quantile(novelty, weights, KNOWN) - median, _NARROWEST)
    slope = (1 - 1e-5) / spread  # what rounds otherwise elsewhere is still below
    return Refit(corrections, slope, -slope * median)


def cross_fit(cells: Cells, strata: Sequence[str]) -> Iterator[tuple[Ints, Refit]]:
    """Rows of a fold, and what was fitted on all others alone; each row once.

    Args:
        strata: (N,) of which each fold has its share.
    """
    fold_of = folds(cells.groups, strata)
    for fold in np.unique(fold_of):
        yield np.flatnonzero(fold_of == fold), refit(cells.take(np.flatnonzero(fold_of != fold)))


def folds(groups: NDArray[np.object_], strata: Sequence[str]) -> Ints:
    """The fold (N,) of each row; whole groups, with each stratum's share."""
    contents: dict[str, Counter[str]] = {}
    for group, stratum in zip(groups, strata, strict=True):
        contents.setdefault(group, Counter())[stratum] += 1
    dealt = deal(contents, FOLDS, lambda name: hashlib.sha256(name.encode()).digest())
    return np.array([dealt[group] for group in groups], np.int64)


def _correct(cells: Cells, task: str) -> Correction:
    known = np.flatnonzero(cells.targets[task] >= 0)
    truth, groups = cells.targets[task][known], cells.groups[known]
    features, given = cells.features[known], cells.logits[task][known]
    none = Correction(np.zeros((given.shape[1], features.shape[1])), np.zeros(given.shape[1]))
    fold_of = folds(groups, [str(each) for each in truth])
    if len(np.unique(truth)) < 2 or len(np.unique(fold_of)) < 2:
        return none
    weights = weigh(groups.tolist())
    crossed = np.empty((len(PENALTIES), *given.shape))
    for fold in np.unique(fold_of):
        here, rest = fold_of == fold, fold_of != fold
        fitted = fit(features[rest], given[rest], truth[rest], groups[rest])
        for place, correction in enumerate(fitted):
            crossed[place, here] = correction.logits(features[here], given[here])
    rows = np.arange(len(truth))
    losses = [-weights @ np.log(softmax(each)[rows, truth].clip(1e-12)) for each in crossed]
    chosen = int(np.argmin(losses))
    temperature = fit_temperature(crossed[chosen], truth)
    likely = softmax(crossed[chosen] / temperature)
    least = least_probability(likely.max(1), likely.argmax(1) != truth, weights)
    best = fit(features, given, truth, groups)[chosen]
    told = np.zeros((len(cells.groups), given.shape[1]))
    told[known] = likely
    return Correction(best.weights, best.bias, best.seen, best.penalty, temperature, least, told)


def fit(
    features: Floats, given: Floats, truth: Ints, groups: NDArray[np.object_]
) -> list[Correction]:
    """The correction under each of `PENALTIES`.

    Logistic regression whose prior is the given head: the squares of what is added to it are
    penalised, over features of mean 0 and spread 1 among the cells, so that without evidence the
    head stays what it is. Each group counts alike.

    Args:
        features, given, truth: (N, D), (N, C) and (N,).
    """
    centre, spread = features.mean(0), features.std(0)
    scale = (spread + _FLOOR * spread.mean() + 1e-9) * math.sqrt(features.shape[1])
    # The minimum lies in the span of the cells, which are fewer than features.
    _, sizes, axes = np.linalg.svd((features - centre) / scale, full_matrices=False)
    axes = axes[sizes > 1e-9 * max(sizes[0], 1e-9)].T  # (D, K)
    placed = np.column_stack([(features - centre) / scale @ axes, np.ones(len(truth))])
    classes, seen = given.shape[1], np.unique(truth)
    given, truth = given[:, seen], np.searchsorted(seen, truth)
    weights = (weigh(groups.tolist()) * len(np.unique(groups)))[:, None]
    right = np.eye(len(seen))[truth]
    added = np.zeros((len(seen), placed.shape[1]))
    found = {}
    for penalty in sorted(PENALTIES, reverse=True):  # each begins where the stronger one ended
        if math.isfinite(penalty):

            def loss(flat: Floats, penalty: float = penalty) -> tuple[float, Floats]:
                guess = flat.reshape(len(seen), -1)
                likely = softmax(given + placed @ guess.T)
                wrong = -(weights * right * np.log(likely.clip(1e-300))).sum()
                slope = (weights * (likely - right)).T @ placed + penalty * guess
                return float(wrong + penalty / 2 * (guess**2).sum()), slope.ravel()

            added = minimize(loss, added.ravel(), jac=True, method="L-BFGS-B").x
            added = added.reshape(len(seen), -1)
        weight, bias = np.zeros((classes, features.shape[1])), np.zeros(classes)
        weight[seen] = added[:, :-1] @ axes.T / scale
        bias[seen] = added[:, -1] - weight[seen] @ centre
        found[penalty] = Correction(weight, bias, None if len(seen) == classes else seen, penalty)
    return [found[penalty] for penalty in PENALTIES]

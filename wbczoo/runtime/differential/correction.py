"""Counts of answers and a model's known errors become the true shares of the classes here."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

CONFIDENCE = 0.95
_CHAINS = 500
_KEPT = 4  # states of each chain
_BETWEEN = 10  # sweeps from one of them to the next
_STEPS = 60  # of expectation and maximisation first, and as many sweeps after
_UNFIT = 0.005  # of the drawn matrices, how few may give answers as odd as those given
_TINY = 1e-300


@dataclass(frozen=True)
class Correction:
    """The true shares behind a group's answers.

    Attributes:
        shares: (K,) means of the posterior, in [0, 1]; they sum to 1.
        limits: (K, 2) lower and upper limits in [0, 1], of all classes at once.
        alike: groups of classes, by place, between which the answers leave every division open.
        fits: whether a model with these errors gives such answers, whatever the shares.
    """

    shares: Floats
    limits: Floats
    alike: tuple[tuple[int, ...], ...]
    fits: bool


def correct(counts: Integers, errors: Floats) -> Correction:
    """The posterior of the true shares, given the answers' counts and the model's counted errors.

    The same arguments give the same result.

    Args:
        counts: (K,) of each answer.
        errors: (K, K) how often each true class (row) got each answer (column), in independent
            cells, so that a row's sum says how much is known of it; a row may be empty.
    """
    classes = len(counts)
    generator = np.random.default_rng(0)
    answers = np.broadcast_to(counts, (_CHAINS, classes))
    repeated = np.broadcast_to(errors, (_CHAINS, *errors.shape))
    start = lead_chains(answers, repeated, generator)
    states = draw_posterior(answers, repeated, start, generator)
    shares = np.concatenate([each for each, _ in states])  # (draws, K)
    rows = np.concatenate([each for _, each in states])  # (draws, K, K)
    return Correction(
        shares=shares.mean(0),
        limits=find_limits(shares),
        alike=_find_alike(shares, rows),
        fits=_is_fit(counts, np.einsum("ct,cta->ca", *start), generator),
    )


def lead_chains(
    counts: Integers, errors: Floats, generator: np.random.Generator
) -> tuple[Floats, Floats]:
    """Where C chains start: matrices by the errors alone, and shares led towards the answers.

    Shares from the prior take as many steps of expectation and maximisation as sweeps follow.
    What the answers tell is reached by then; where they tell nothing the shares have hardly moved
    from the prior, which is the posterior there: a start is never too narrow.

    Args:
        counts: (C, K) of each answer.
        errors: (C, K, K) as for `correct`.

    Returns:
        (C, K) shares and (C, K, K) matrices.
    """
    prior = 1 / counts.shape[1]
    shares = _draw_dirichlet(np.full(counts.shape, prior), generator)
    rows = _draw_dirichlet(errors + prior, generator)
    for _ in range(_STEPS):
        shares = (counts[:, None, :] * _attribute(shares, rows)).sum(2) + _TINY
        shares /= shares.sum(1, keepdims=True)
    return shares, rows


def draw_posterior(
    counts: Integers,
    errors: Floats,
    start: tuple[Floats, Floats],
    generator: np.random.Generator,
) -> list[tuple[Floats, Floats]]:
    """Draw shares and confusion matrices that may lie behind the answers, in C chains at once.

    The true class of each answer is a missing datum. Given shares and matrix it is drawn; given
    it, the shares and the rows of the matrix are Dirichlet distributed: Gibbs sampling by data
    augmentation (Tanner and Wong 1987, The calculation of posterior distributions by data
    augmentation), for misclassified multinomial data as reviewed by Perez et al. 2007,
    Misclassified multinomial data: a Bayesian approach, RACSAM 101(1), 71-80. The prior of the
    shares and of each row is Dirichlet(1/K, ..., 1/K) (Berger, Bernardo and Sun 2015, Overall
    objective priors, on the multinomial).

    Args:
        counts, errors, start: as for `lead_chains`, and what it returns.

    Returns:
        states of the chains, each (C, K) shares and (C, K, K) matrices; those of one chain are
        not quite independent.
    """
    prior = 1 / counts.shape[1]
    shares, rows = start
    states = []
    for _ in range(_STEPS):
        # Each answer's true class: a multinomial for each kind of answer.
        chances = np.swapaxes(_attribute(shares, rows), 1, 2)  # (C, answer, truth)
        truths = np.swapaxes(generator.multinomial(counts, chances), 1, 2)
        shares = _draw_dirichlet(truths.sum(2) + prior, generator)
        rows = _draw_dirichlet(errors + truths + prior, generator)
        states.append((shares, rows))
    return states[::-_BETWEEN][:_KEPT]


def find_limits(draws: Floats) -> Floats:
    """Limits that hold the shares of all classes at once, by Bonferroni, from (draws, K) draws.

    Returns:
        (K, 2) in [0, 1], rounded outwards to a tenth of a per cent: the draws know no more.
    """
    tail = (1 - CONFIDENCE) / draws.shape[1] / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    return np.stack([np.floor(1000 * low), np.ceil(1000 * high)], 1) / 1000


def _attribute(shares: Floats, rows: Floats) -> Floats:
    """(C, truth, answer): how likely each answer comes from each true class."""
    joint = shares[:, :, None] * rows + _TINY
    likely: Floats = joint / joint.sum(1, keepdims=True)
    return likely


def _draw_dirichlet(weights: Floats, generator: np.random.Generator) -> Floats:
    gammas = generator.standard_gamma(weights) + _TINY
    drawn: Floats = gammas / gammas.sum(-1, keepdims=True)
    return drawn


def _find_alike(shares: Floats, rows: Floats) -> tuple[tuple[int, ...], ...]:
    """Classes whose answers are so alike that any division of cells between them is possible.

    Two classes belong together if one's part of both reaches from under a tenth to over nine,
    and most drawn matrices give them answers that overlap by more than half.
    """
    groups: list[set[int]] = []
    for pair in combinations(range(shares.shape[1]), 2):
        one, other = (shares[:, place] for place in pair)
        low, high = np.quantile(one / (one + other), [0.025, 0.975])
        overlap = np.minimum(rows[:, pair[0]], rows[:, pair[1]]).sum(1)
        if low < 0.1 and high > 0.9 and np.median(overlap) > 0.5:
            joined = [group for group in groups if group & set(pair)]
            groups = [group for group in groups if group not in joined]
            groups.append(set(pair).union(*joined))
    return tuple(tuple(sorted(group)) for group in sorted(groups, key=min))


def _is_fit(counts: Integers, expected: Floats, generator: np.random.Generator) -> bool:
    """Whether some matrix that the errors allow gives such answers, by Pearson's sum of squares.

    A predictive check (Gelman, Meng and Stern 1996, Posterior predictive assessment of model
    fitness) in which the answers have no say in the matrices.

    Args:
        counts: (K,) of each answer.
        expected: (C, K) the answers' chances by each matrix, at its likeliest shares.
    """
    total = int(counts.sum())
    again = generator.multinomial(total, expected / expected.sum(1, keepdims=True))
    means = total * expected + 1e-9
    given, drawn = (((seen - means) ** 2 / means).sum(1) for seen in (counts, again))
    return bool((drawn >= given).mean() >= _UNFIT)

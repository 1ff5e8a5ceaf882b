"""Counts of classes become shares with intervals here, as counted and as corrected for errors."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_DRAWS = 2000
_STEPS = 500  # of the correction; it has converged long before


def multinomial_intervals(counts: NDArray[np.int64], confidence: float = 0.95) -> Floats:
    """Simultaneous intervals of the shares of all classes (Goodman 1965, equation 2.5, with the
    normal quantile of Bonferroni's share of the error).

    Args:
        counts: (K,) of each class.
        confidence: that all K intervals hold their share at once.

    Returns:
        (K, 2), lower and upper limits in [0, 1]; 0 and 1 where nothing was counted.
    """
    total = int(counts.sum())
    if total == 0:
        return np.tile([0.0, 1.0], (len(counts), 1))
    squared = NormalDist().inv_cdf(1 - (1 - confidence) / (2 * len(counts))) ** 2
    spread = np.sqrt(squared * (squared + 4 * counts * (total - counts) / total))
    limits = np.stack([squared + 2 * counts - spread, squared + 2 * counts + spread], 1)
    found: Floats = np.clip(limits / (2 * (total + squared)), 0, 1)
    # Exactly, where rounding would leave a class that never occurred a share of 1e-17.
    found[counts == 0, 0] = 0.0
    found[counts == total, 1] = 1.0
    return found


def correct_shares(counts: Floats, confusion: Floats) -> Floats:
    """The likeliest true shares behind counts of answers, for a known confusion matrix.

    The answers are a mixture of the matrix's rows; the shares of the mixture are found by
    expectation and maximisation (Dempster et al. 1977), which keeps them in [0, 1] where an
    inverse of the matrix does not.

    Args:
        counts: (..., K) of each answer.
        confusion: (..., K, K), rows truth, columns answer; each row sums to 1.

    Returns:
        (..., K), the shares of each true class; they sum to 1.
    """
    total = counts.sum(-1, keepdims=True)
    shares = np.full_like(counts, 1 / counts.shape[-1])
    for _ in range(_STEPS):
        expected = np.einsum("...t,...ta->...a", shares, confusion)
        weights = counts / np.maximum(expected, 1e-12)
        shares = shares * np.einsum("...a,...ta->...t", weights, confusion) / total
    found: Floats = shares / shares.sum(-1, keepdims=True)
    return found


def correct(
    counts: NDArray[np.int64], matrix: NDArray[np.int64], photographs: NDArray[np.int64]
) -> Floats:
    """The corrected shares with 95 % intervals that know how few photographs the matrix rests on.

    The intervals are percentiles over draws of both: counts from a multinomial, and each row of
    the matrix from a Dirichlet distribution whose weight is the class's photographs, not its
    files. The draws are the same each time.

    Args:
        counts: (K,) of each answer, at least one.
        matrix: (K, K) files by truth and answer, each row with at least one.
        photographs: (K,) of each true class.

    Returns:
        (K, 3): share, lower and upper limit, in [0, 1].
    """
    generator = np.random.default_rng(0)
    rows = matrix / matrix.sum(1, keepdims=True)
    shares = correct_shares(counts.astype(np.float64), rows)
    classes = len(counts)
    prior = 1 / classes  # so that an answer that was never seen stays possible
    drawn_rows = np.stack(
        [
            generator.dirichlet(row * weight + prior, _DRAWS)
            for row, weight in zip(rows, photographs, strict=True)
        ],
        1,
    )  # (draws, K, K)
    drawn = generator.multinomial(int(counts.sum()), counts / counts.sum(), _DRAWS)
    again = correct_shares(drawn.astype(np.float64), drawn_rows)
    low, high = np.percentile(again, [2.5, 97.5], axis=0)
    # The point is no draw; an interval that leaves it out would contradict it.
    return np.stack([shares, np.minimum(low, shares), np.maximum(high, shares)], 1)

"""The formulas of the figures, each written once for rows that weigh as much as they are told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wbczoo.errors import WbczooError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
BINS = 15


def confusion(weights: Floats, targets: Ints, answers: Ints, classes: int) -> Floats:
    """The confusion matrices (B, C, C), rows truth, of weights (B, N)."""
    cells = np.zeros((len(targets), classes * classes))
    cells[np.arange(len(targets)), targets * classes + answers] = 1
    return (weights @ cells).reshape(-1, classes, classes)


def figures_of(matrix: Floats) -> dict[str, Floats]:
    """What follows from confusion matrices (B, C, C): rates (B,), and (B, C) for each class.

    NaN stands for a class without weight in the truth; means over classes pass over it.
    """
    hits = matrix.diagonal(axis1=1, axis2=2)  # (B, C)
    truth, answered = matrix.sum(2), matrix.sum(1)
    absent = truth == 0
    recall = ratio(hits, truth)
    precision = np.where(absent, np.nan, np.nan_to_num(ratio(hits, answered)))
    f1 = np.where(absent, np.nan, ratio(2 * hits, truth + answered))
    present = (~absent).sum(1)
    return {
        "accuracy": ratio(hits.sum(1), truth.sum(1)),
        "balanced_accuracy": ratio(np.nansum(recall, 1), present),
        "macro_f1": ratio(np.nansum(f1, 1), present),
        "precision": precision,
        "recall": recall,
    }


def auroc(weights: Floats, scores: Floats, positive: Bools) -> Floats:
    """The share of pairs (B,) in which the positive row scores higher; ties count half.

    Equal to the area under the ROC curve (Hanley and McNeil 1982).

    Args:
        weights: (B, N).
        scores: (N,) the higher, the more likely positive.
        positive: (N,) which rows are.
    """
    ours, others = np.flatnonzero(positive), np.flatnonzero(~positive)
    others = others[np.argsort(scores[others])]
    lower = np.zeros((len(weights), len(others) + 1))  # weight of the k lowest negatives
    np.cumsum(weights.take(others, 1), axis=1, out=lower[:, 1:])
    mine, theirs = scores[ours], scores[others]
    beaten = lower.take(np.searchsorted(theirs, mine, "left"), 1)  # (B, positives)
    beaten += lower.take(np.searchsorted(theirs, mine, "right"), 1)
    held = weights.take(ours, 1)
    won = np.einsum("bp,bp->b", held, beaten) / 2
    return ratio(won, held.sum(1) * lower[:, -1])


def calibration_error(weights: Floats, wrong: Bools, confidences: Floats) -> Floats:
    """Expected calibration error (B,) of the top class, 15 bins of equal width, right-closed.

    Guo et al. 2017, On Calibration of Modern Neural Networks, section 2.

    Args:
        weights: (B, N).
        wrong, confidences: (N,) of the answered class.
    """
    bins = np.clip(np.ceil(confidences * BINS) - 1, 0, BINS - 1).astype(int)
    gaps = np.zeros((len(wrong), BINS))
    gaps[np.arange(len(wrong)), bins] = ~wrong - confidences
    return ratio(np.abs(weights @ gaps).sum(1), weights.sum(1))


def selective_errors(weights: Floats, wrong: Bools, confidences: Floats) -> Floats:
    """The error (B, K) among the most confident share of the weight, for each of `COVERAGES`.

    The risk of selective classification (El-Yaniv and Wiener 2010). Rows of equal confidence are
    kept by equal fractions, so that their order decides nothing, and each coverage is met exactly.

    Args:
        weights: (B, N).
        wrong, confidences: (N,).
    """
    order = np.argsort(-confidences, kind="stable")
    # The last row of each level of confidence; levels are kept whole but for the last.
    ends = np.flatnonzero(np.diff(confidences[order], append=-1.0))
    if len(ends) == 0:
        return np.full((len(weights), len(COVERAGES)), np.nan)
    kept = np.zeros((len(weights), len(ends) + 1))
    errors = np.zeros_like(kept)
    descending = weights.take(order, 1)
    kept[:, 1:] = np.cumsum(descending, 1).take(ends, 1)
    errors[:, 1:] = np.cumsum(descending * wrong[order], 1).take(ends, 1)
    wanted = kept[:, -1:] * np.array(COVERAGES)  # (B, K) weight to keep
    risks = [np.interp(*row) for row in zip(wanted, kept, errors, strict=True)]
    return ratio(np.stack(risks), wanted)


def kept_at(coverage: float, confidences: Floats) -> Floats:
    """How much (N,) of each row is among the most confident share, as `selective_errors` keeps it.

    Args:
        coverage: the share, in (0, 1].
        confidences: (N,).
    """
    ascending = np.sort(confidences)
    above = len(ascending) - np.searchsorted(ascending, confidences, "right")
    equal = len(ascending) - np.searchsorted(ascending, confidences, "left") - above
    return ((coverage * len(ascending) - above) / equal).clip(0, 1)


def ratio(above: Floats, below: Floats) -> Floats:
    """`above / below`, and NaN where `below` is 0."""
    quotient = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    np.divide(above, below, out=quotient, where=below != 0)
    return quotient


def check(
    name: str, classes: int, probabilities: NDArray[np.floating], *aligned: Sequence[Any] | Ints
) -> None:
    """Refuse arrays that no formula fits: probabilities (N, C), and others of N rows.

    Raises:
        WbczooError: if the lengths differ, or the first are no probabilities.
    """
    rows = len(probabilities)
    if probabilities.shape != (rows, classes) or any(len(other) != rows for other in aligned):
        lengths = ", ".join(str(len(other)) for other in aligned)
        raise WbczooError(
            f"The task {name!r} has {classes} classes, and its probabilities have the shape "
            f"{probabilities.shape} beside columns of {lengths} rows; these do not fit together."
        )
    # Written so that NaN is no probability either.
    strange = ~((probabilities >= 0) & (probabilities <= 1 + 1e-3)).all(1)
    if strange.any():
        raise WbczooError(
            f"The task {name!r} has {int(strange.sum())} rows, first row {int(strange.argmax())}, "
            "whose outputs are no probabilities between 0 and 1: the model has diverged, or gave "
            "logits."
        )

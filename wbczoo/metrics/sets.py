"""Which classes an answer leaves open so that a share of all cells has its own among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from wbczoo.metrics.formulas import Bools, Floats
from wbczoo.metrics.limits import quantile


def class_floors(
    probabilities: Floats,
    truth: NDArray[np.int64],
    groups: Sequence[Hashable],
    coverage: float,
) -> Floats:
    """The least probability (C,) with which each class stands in the set of an answer.

    Of each class on its own (label-conditional conformal prediction, Vovk 2012; the score is the
    class's probability, Sadinle, Lei and Wasserman 2019), and by group (hierarchical conformal
    prediction, Lee, Barber and Willett 2023): K groups that hold the class, and one to come, share
    the weight; so a cell of a new group of the same kind has its class in its set with at least
    this chance, however many views its photograph has.

    Args:
        probabilities: (N, C), of cells that did not train the model. Where they chose anything of
            it, as its temperature, the chance is only about this.
        truth: (N,) places of classes, negative where a row has none.
        groups: (N,) what each row must stay together with.
        coverage: in (0, 1).

    Returns:
        0 where the groups are too few to promise anything, so that the class stands in every set;
        NaN for a class of no row, which no set can promise.
    """
    floors = np.full(probabilities.shape[1], np.nan)
    for place in range(len(floors)):
        rows = np.flatnonzero(truth == place).tolist()
        if not rows:
            continue
        sizes = Counter(groups[row] for row in rows)
        weights = [1 / sizes[groups[row]] for row in rows]
        # A value that is never reached stands for the group to come.
        values = np.append(-probabilities[rows, place], np.inf)
        floors[place] = max(0.0, -quantile(values, np.array([*weights, 1.0]), coverage))
    return floors


def fewest_groups(coverage: float) -> int:
    """How many groups of a class are needed to promise this coverage of it."""
    return int(np.ceil(coverage / (1 - coverage) - 1e-9))


def count_groups(truth: NDArray[np.int64], groups: Sequence[Hashable], classes: int) -> list[int]:
    """How many groups hold each class."""
    held = Counter(place for place, _ in {*zip(truth.tolist(), groups, strict=True)})
    return [held[place] for place in range(classes)]


def in_set(probabilities: Floats, floors: Floats) -> Bools:
    """Which classes (N, C) the sets hold: those that reach their floor, and the answer itself."""
    held: Bools = probabilities >= floors  # never of a floor that is NaN
    held[np.arange(len(held)), probabilities.argmax(1)] = True
    return held

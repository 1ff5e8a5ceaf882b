"""Counts of classes become shares with intervals here, as they were counted."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


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

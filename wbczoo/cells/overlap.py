"""How boxes overlap, and which of those that show one cell is kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]

_SAME = 0.4  # boxes that share this much of what they cover together show one cell
_AGREE = 0.6  # boxes that share this much are seen well enough on both levels to be averaged
_DWARF = 0.3  # of the surest cell's width: no white cell is smaller beside it
_INSIDE = 0.75  # a box of which this much lies in another is a part of that cell


def areas(boxes: Boxes) -> NDArray[np.float64]:
    """(N,) areas of (N, 4) boxes left, top, right, bottom."""
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def shared(some: Boxes, others: Boxes) -> NDArray[np.float64]:
    """(N, M) areas that each of N boxes shares with each of M."""
    low = np.maximum(some[:, None, :2], others[None, :, :2])
    high = np.minimum(some[:, None, 2:], others[None, :, 2:])
    return np.asarray((high - low).clip(0).prod(axis=2))


def overlap(some: Boxes, others: Boxes) -> NDArray[np.float64]:
    """(N, M) shares of the area that two boxes cover together which both cover (IoU)."""
    both = shared(some, others)
    return np.asarray(both / (areas(some)[:, None] + areas(others)[None] - both).clip(1e-9))


def keep_best(boxes: Boxes, scores: NDArray[np.float64]) -> tuple[Boxes, NDArray[np.float64]]:
    """One box for each cell: the best one, moved to the mean of those that nearly agree with it.

    Args:
        boxes: (N, 4), the best score first.
        scores: (N,).

    Returns:
        boxes (M, 4) and their scores (M,), the best first.
    """
    size = areas(boxes)
    left = np.ones(len(boxes), bool)
    kept: list[int] = []
    means: list[NDArray[np.float64]] = []
    for index in range(len(boxes)):
        if not left[index]:
            continue
        both = shared(boxes[index : index + 1], boxes)[0]
        whole = size + size[index] - both
        agree = left & (both >= _AGREE * whole)
        means.append(np.average(boxes[agree], axis=0, weights=scores[agree] ** 2))
        part = both > _INSIDE * np.minimum(size, size[index])
        left &= ~((both > _SAME * whole) | part)
        kept.append(index)
    return np.array(means).reshape(-1, 4), scores[kept]


def drop_dwarfs(boxes: Boxes, scores: NDArray[np.float64]) -> tuple[Boxes, NDArray[np.float64]]:
    """Without what is far smaller than the surest cell of the same image: platelets, stain.

    The largest white cells of blood (monocytes, 20 um) are less than three times as wide as the
    smallest (lymphocytes, 7 um).

    Args:
        boxes: (N, 4), the best score first.
        scores: (N,).
    """
    wide = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
    stays = wide >= _DWARF * wide[:1]
    return boxes[stays], scores[stays]

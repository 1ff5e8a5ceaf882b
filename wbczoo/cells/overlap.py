"""How boxes overlap, and which of those that show one cell is kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wbczoo.cells.network import Boxes, Marked, Scores, weight

_SAME = 0.4  # boxes that share this much of what they cover together show one cell
# Pixels of a level that a box is wide, and how much its sides count: below 9 the network makes
# boxes a third too large, and where a cell fills what it sees it knows the sides less well.
_SIZES = (7.0, 11.0, 16.0, 32.0, 44.0)
_SIDES = (0.1, 0.3, 1.0, 1.0, 0.5)
_DWARF = 0.3  # of the surest cell's width: no white cell is smaller beside it
_MOSTLY = 0.7  # of a box that is counted as within another
_GRID = (np.arange(24) + 0.5) / 24  # where along its sides a box is looked at
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


def keep_best(marked: Marked, factors: Sequence[int]) -> tuple[Boxes, Scores]:
    """One box for each cell: the mean of the boxes of all levels that show it.

    A cell is seen on every level where its width is one that the network was taught. Its score is
    the mean of what those levels say, so that what looks like a cell on one alone is doubtful. No
    level decides alone where its sides are: which one is surest may change with every pixel by
    which the image is moved.

    Args:
        marked: what looks like cells.
        factors: of all levels.

    Returns:
        boxes (M, 4) and scores (M,), the best first.
    """
    size = areas(marked.boxes)
    wide = (marked.boxes[:, 2:] - marked.boxes[:, :2]).max(axis=1, initial=0) / marked.factors
    sides = marked.scores**2 * np.interp(wide, _SIZES, _SIDES)
    left = np.ones(len(size), bool)
    boxes, scores = [], []
    for index in range(len(size)):
        if not left[index]:
            continue
        both = shared(marked.boxes[index : index + 1], marked.boxes)[0]
        whole = size + size[index] - both
        same = left & (both > _SAME * whole)
        box = np.average(marked.boxes[same], axis=0, weights=sides[same])
        levels = [marked.scores[same & (marked.factors == factor)] for factor in factors]
        said = sum(float(level[0]) for level in levels if len(level))
        asked = float(weight(max(box[2:] - box[:2]) / np.array(factors)).sum())
        boxes.append(box)
        scores.append(said / max(asked, said))
        part = both > _INSIDE * np.minimum(size, size[index])
        left &= ~(same | part)
    order = np.argsort(-np.array(scores), kind="stable")
    return np.array(boxes).reshape(-1, 4)[order], np.array(scores)[order]


def covered(box: NDArray[np.float64], others: Boxes, scores: Scores) -> float:
    """The share of a box that lies under others of which most lies in it, each by its score."""
    within = shared(box[None], others)[0] > _MOSTLY * areas(others)
    left, top, right, bottom = others[within].T[..., None]
    x, y = box[:2, None] + np.outer(box[2:] - box[:2], _GRID)
    across, down = (left < x) & (x < right), (top < y) & (y < bottom)
    under = scores[within, None, None] * (down[:, :, None] & across[:, None])
    return float(under.max(axis=0, initial=0).mean())


def drop_dwarfs(boxes: Boxes, scores: Scores) -> tuple[Boxes, Scores]:
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

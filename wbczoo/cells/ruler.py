"""The width of a field's red cells, 7 to 8 um in every blood: the ruler of an image."""

from __future__ import annotations

import numpy as np

from wbczoo.cells.network import Boxes, Marked, Scores
from wbczoo.cells.overlap import covered

_SURE = 0.3  # the least score of a red cell that counts
_ENOUGH = 1.0  # red cells' scores together, of which each is at most 1
_MARGIN = 0.01  # of the image's side: a box that comes so near the frame may be cut by it
# In red cells' widths: no white cell is narrower than the first nor wider than the last, and none
# between the others is doubtful. Boxed white cells of four laboratories are .9 to 3.5 wide.
_WIDTHS = (0.7, 1.0, 5.0, 8.0)


def red_cell_width(red: Marked, white: Boxes, size: tuple[int, int]) -> float | None:
    """The median width of red cells, each counted by its score; none where too few are seen whole.

    Args:
        red: what looks like a red cell.
        white: (M, 4) boxes of white cells, in which no red cell is.
        size: the image's height and width.

    Returns:
        the diameter, in pixels, of a circle as large as the ellipse in the median red cell's box.
    """
    edge = np.array([size[1], size[0]], float)
    low, high = red.boxes[:, :2], red.boxes[:, 2:]
    whole = np.concatenate([low > _MARGIN * edge, high < (1 - _MARGIN) * edge], 1).all(axis=1)
    middle = np.tile((low + high) / 2, 2)[:, None] * (1, 1, -1, -1)
    taken = np.asarray((middle > white * (1, 1, -1, -1)).all(axis=2)).any(axis=1)
    free = whole & ~taken & (red.scores >= _SURE)
    if red.scores[free].sum() < _ENOUGH:
        return None
    wide = np.sqrt((high - low)[free].prod(axis=1))
    order = np.argsort(wide, kind="stable")
    counted = red.scores[free][order].cumsum()
    return float(wide[order][np.searchsorted(counted, counted[-1] / 2)])


def red_share(white: Boxes, red: Marked) -> Scores:
    """(M,) in [0, 1]: how much of each box looks like red cells, single or in a heap."""
    sure = red.scores >= _SURE
    shares = [covered(box, red.boxes[sure], red.scores[sure]) for box in white]
    return np.array(shares, float)


def likely_width(white: Boxes, red_cell: float | None) -> Scores:
    """(M,) in [0, 1]: how well each box's width goes with a white cell beside such red cells."""
    if red_cell is None:
        return np.ones(len(white))
    wide = (white[:, 2:] - white[:, :2]).max(axis=1, initial=0)
    return np.asarray(np.interp(wide / red_cell, _WIDTHS, (0.0, 1.0, 1.0, 0.0)))

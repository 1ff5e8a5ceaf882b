"""Chromatin is the densest thing on a smear: what is no denser than red cells is no white cell."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
Light = NDArray[np.float32]

_DENSEST = 0.1  # of a box's pixels at least belong to the middle of its nucleus
_WIDE = 20  # pixels that the box is at least wide on the level where its nucleus is looked at
_REST = 0.5  # of the image must lie outside the boxes for its red cells to be known
_ENOUGH = 20_000  # pixels that show them
# How many times as dense as the densest tenth of the rest a nucleus is: below the first it is
# doubtful, from the second on beyond doubt. In four laboratories no white cell was below 1.28.
_DENSER = (1.1, 1.5)
_DOUBT = 0.4
_PALEST = 0.35  # of the densest nucleus's density: what is paler in the same image is no nucleus


def weigh(
    seen: Sequence[tuple[int, Light]], boxes: Boxes, scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Scores lowered where a box holds nothing denser than the rest of the image shows anyway.

    Density is that of red and green light together (Beer and Lambert): red cells let one of them
    through, chromatin neither. Both comparisons are made within the image, so that neither stain
    nor lamp has a part in them.

    Args:
        seen: (factor, absorbed light (3, h, w)) of each level of the image.
        boxes: (N, 4), left, top, right, bottom in pixels of the image.
        scores: (N,).

    Returns:
        (N,) scores, none higher than before.
    """
    if not len(boxes):
        return scores
    density = np.array([_density(_within(seen, box).ravel()) for box in boxes])
    lowered = np.where(density < _PALEST * density.max(), 0.0, scores)
    rest = _rest(seen, boxes)
    if rest is not None:
        lowered *= np.interp(density / max(_density(rest), 0.05), _DENSER, (_DOUBT, 1.0))
    return lowered


def _density(passed: Light) -> float:
    """The density that the densest tenth reaches, given the light that passes."""
    place = int(_DENSEST * (len(passed) - 1))
    return -math.log(max(float(np.partition(passed, place)[place]), 1e-3))


def _passed(light: Light) -> Light:
    """The share of red light that passes times that of green, (h, w)."""
    return np.asarray((1 - light[0]) * (1 - light[1]))


def _within(seen: Sequence[tuple[int, Light]], box: NDArray[np.float64]) -> Light:
    wide = max(box[2] - box[0], box[3] - box[1])
    fine = [level for level in seen if wide / level[0] >= _WIDE]
    factor, light = fine[-1] if fine else seen[0]
    left, top = (int(low // factor) for low in box[:2])
    right, bottom = (math.ceil(high / factor) for high in box[2:])
    return _passed(light[:, top : max(bottom, top + 1), left : max(right, left + 1)])


def _rest(seen: Sequence[tuple[int, Light]], boxes: Boxes) -> Light | None:
    """The light that passes outside all boxes; none where too little of the image is left."""
    coarse = [level for level in seen if level[1][0].size <= _ENOUGH]
    factor, light = coarse[0] if coarse else seen[-1]
    outside = np.ones(light.shape[1:], bool)
    for left, top, right, bottom in boxes / factor:
        outside[int(top) : math.ceil(bottom), int(left) : math.ceil(right)] = False
    return _passed(light)[outside] if outside.sum() >= _REST * outside.size else None

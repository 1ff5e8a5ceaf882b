"""The nucleus of a found cell: the darker of two shades in red light, its size and its colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WIDE = 24  # pixels that the box is at least wide on the level where its nucleus is measured
_SHADES = 64
_DENSEST = 0.25  # of a box's pixels belong to the nucleus
_GREY = 0.08  # channels that differ by less in what they absorb show no colour
# How much blue light a nucleus absorbs at most, and how much red cells do, for each share of green.
# In four laboratories no white cell was above .5.
_BLUE = (0.55, 0.85)
_RED_CELL = 0.4  # what is left of the score of what is as red as a red cell


@dataclass(frozen=True, slots=True)
class Nucleus:
    """The nucleus of a cell.

    Attributes:
        area: in pixels of the image as given.
        diameter: of the circle of that area, in pixels.
    """

    area: float
    diameter: float


def measure_nucleus(
    seen: Sequence[tuple[int, NDArray[np.float32]]], box: tuple[int, int, int, int]
) -> Nucleus:
    """The area within a cell's box that absorbs red light as chromatin does.

    Nuclei absorb red, which red cells, granules and the empty slide let through. The shade that
    parts the two kinds of pixels best (Otsu 1979) is found within the box alone, so that a pale
    stain and a dark one give the same nucleus.

    Args:
        seen: (factor, absorbed light (3, h, w)) of each level of the image.
        box: left, top, right, bottom in pixels of the image.
    """
    factor, light = _within(seen, box)
    shade = np.rint(light[0].clip(0, 1) * (_SHADES - 1)).astype(np.int64)
    count = int((shade > _otsu(np.bincount(shade.ravel(), minlength=_SHADES))).sum())
    area = float(count * factor**2)
    return Nucleus(area, round(float(2 * np.sqrt(area / np.pi)), 2))


def chromatic(
    seen: Sequence[tuple[int, NDArray[np.float32]]], box: tuple[int, int, int, int]
) -> float:
    """How well the colour of a box's densest quarter goes with a nucleus, 1 or less.

    Chromatin absorbs green and lets blue pass in every stain of the Romanowsky kind; haemoglobin
    absorbs both, so that a heap of red cells may be as dense as a nucleus and is not as blue.
    Where there is no colour, nothing is told.

    Args:
        seen: (factor, absorbed light (3, h, w)) of each level of the image.
        box: left, top, right, bottom in pixels of the image.
    """
    _, light = _within(seen, box)
    red, green, blue = (channel.ravel() for channel in light)
    place = int((1 - _DENSEST) * (len(green) - 1))
    dense = green >= np.partition(green, place)[place]
    red, green, blue = (float(channel[dense].mean()) for channel in (red, green, blue))
    if abs(red - green) + abs(blue - green) < _GREY:
        return 1.0
    return float(np.interp(blue / max(green, _GREY), _BLUE, (1.0, _RED_CELL)))


def _within(
    seen: Sequence[tuple[int, NDArray[np.float32]]], box: tuple[int, int, int, int]
) -> tuple[int, NDArray[np.float32]]:
    """The factor of the level on which a box is looked at, and the light (3, h, w) in it."""
    wide = max(box[2] - box[0], box[3] - box[1])
    fine = [level for level in seen if wide / level[0] >= _WIDE]
    factor, light = fine[-1] if fine else seen[0]
    left, top = box[0] // factor, box[1] // factor
    right, bottom = max(-(-box[2] // factor), left + 1), max(-(-box[3] // factor), top + 1)
    return factor, light[:, top:bottom, left:right]


def _otsu(counts: NDArray[np.int64]) -> int:
    """The shade up to which pixels are pale (Otsu 1979); -1 where there is one shade only."""
    below = counts.cumsum()
    sums = (counts * np.arange(len(counts))).cumsum()
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = sums / below - (sums[-1] - sums) / above
        between = np.nan_to_num(below * above * gap**2)
    return int(between.argmax()) if between.any() else -1

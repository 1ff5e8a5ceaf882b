"""The nucleus of a found cell: the darkest of three shades in red light, and its size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WIDE = 24  # pixels that the box is at least wide on the level where its nucleus is measured
_SHADES = 64


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
    wide = max(box[2] - box[0], box[3] - box[1])
    fine = [level for level in seen if wide / level[0] >= _WIDE]
    factor, light = fine[-1] if fine else seen[0]
    left, top = box[0] // factor, box[1] // factor
    right, bottom = max(-(-box[2] // factor), left + 1), max(-(-box[3] // factor), top + 1)
    red = light[0, top:bottom, left:right]
    shade = np.rint(red.clip(0, 1) * (_SHADES - 1)).astype(np.int64)
    count = int((shade > _otsu(np.bincount(shade.ravel(), minlength=_SHADES))).sum())
    area = float(count * factor**2)
    return Nucleus(area, round(float(2 * np.sqrt(area / np.pi)), 2))


def _otsu(counts: NDArray[np.int64]) -> int:
    """The shade up to which pixels are pale (Otsu 1979); -1 where there is one shade only."""
    below = counts.cumsum()
    sums = (counts * np.arange(len(counts))).cumsum()
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = sums / below - (sums[-1] - sums) / above
        between = np.nan_to_num(below * above * gap**2)
    return int(between.argmax()) if between.any() else -1

"""A photograph of a smear comes in here, and what goes out is its white cell on a white slide.

No network and no annotation has a part in it. Nuclei absorb red light, which red cells, granules
and the empty slide let through; so the place that absorbs most red is the nucleus of a white cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wbczoo.cells.slide import balance

Pixels = NDArray[np.uint8]

# The share of the photograph's shorter side that is shown. A white cell of 15 um takes about half
# of that in a field of the usual 100x objective, so that a cell of twice the size still fits.
SHARE = 0.6
# What the empty slide becomes; the brightest tenth of a slide keeps its drawing above it.
SLIDE = 230

_SEEN = 120  # pixels of the shorter side on which the cell is looked for
_NUCLEUS = 0.25  # of the shorter side: about as wide as a nucleus
_NEAR = 0.22  # of the shorter side: how far from the densest place its nucleus may reach
_RED_CELLS = 0.4  # of what the darkest hundredth absorbs: red cells stay below
_EMPTY = 0.9  # the slide is as bright as this quantile of the pixels
_BLACK = 32  # what is nowhere brighter is fill that an augmentation left, and no stain
_UNIT = 1024  # absorbance is counted in whole thousandths, so that sums are exact everywhere


def crop_white_cell(image: Pixels) -> Pixels:
    """A square around the densest nucleus, with the colour of the empty slide made white.

    Colours are divided by those of the empty slide, channel by channel, as a microscope's white
    balance would; so two laboratories' lamps and cameras look alike, and stains stay what they
    were. The square's side is 0.6 of the shorter side of the photograph: sizes of cells stay
    comparable within one camera. Near an edge it is moved into the photograph, not filled.

    Args:
        image: uint8 RGB (H, W, 3).

    Returns:
        uint8 RGB (s, s, 3) with s = round(0.6 min(H, W)). Of an image in which nothing absorbs
        red light, its middle.
    """
    small = _shrink(image)
    slide = _slide_colour(small)
    left, top, side = _square(image, small, slide)
    return balance(image[top : top + side, left : left + side], slide, SLIDE)


def white_cell_square(image: Pixels) -> tuple[int, int, int]:
    """Left, top and side of the square that `crop_white_cell` shows, in pixels of the image."""
    small = _shrink(image)
    return _square(image, small, _slide_colour(small))


def _square(image: Pixels, small: Pixels, slide: Sequence[int]) -> tuple[int, int, int]:
    height, width = image.shape[:2]
    side = max(1, round(SHARE * min(height, width)))
    down, across = _densest_nucleus(_absorbed_red(small, slide[0]))
    top = min(max(round(down * height - side / 2), 0), height - side)
    left = min(max(round(across * width - side / 2), 0), width - side)
    return left, top, side


def _shrink(image: Pixels) -> Pixels:
    """The whole photograph with about 120 pixels a side, each the mean of those that it covers."""
    shrink = min(image.shape[:2]) / _SEEN
    if shrink <= 1:
        return image
    size = (round(image.shape[1] / shrink), round(image.shape[0] / shrink))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def _slide_colour(image: Pixels) -> list[int]:
    """The empty slide's red, green and blue: each channel's 90 % quantile outside black fill."""
    real = image[_brightest(image) > _BLACK]
    if not len(real):
        return [255, 255, 255]
    counts = [np.bincount(real[:, channel], minlength=256).cumsum() for channel in range(3)]
    return [int(np.searchsorted(count, _EMPTY * len(real))) for count in counts]


def _absorbed_red(image: Pixels, slide: int) -> NDArray[np.int64]:
    """Absorbance of red light in 1/1024 (Beer and Lambert), (H, W); 0 in black fill."""
    table = np.log((slide + 1) / (np.arange(256) + 1.0)).clip(0, 3)
    levels: NDArray[np.int64] = np.rint(table * _UNIT).astype(np.int64)
    real = _brightest(image) > _BLACK
    return np.where(real, levels[image[..., 0]], 0)


def _brightest(image: Pixels) -> Pixels:
    """The brightest of the three channels, (H, W)."""
    return np.maximum(np.maximum(image[..., 0], image[..., 1]), image[..., 2])


def _densest_nucleus(absorbed: NDArray[np.int64]) -> tuple[float, float]:
    """The middle of the densest nucleus, as shares of the photograph's height and width."""
    height, width = absorbed.shape
    shorter = min(height, width)
    # Many red cells absorb as much in sum as one nucleus at the edge; each alone absorbs little.
    absorbed = (absorbed - int(_RED_CELLS * np.quantile(absorbed, 0.99))).clip(0)
    around = _box_sum(absorbed, max(1, int(_NUCLEUS * shorter)))
    if not around.any():
        return 0.5, 0.5
    y, x = np.unravel_index(int(around.argmax()), around.shape)
    reach = max(1, int(_NEAR * shorter))
    top, left = max(int(y) - reach, 0), max(int(x) - reach, 0)
    near = absorbed[top : top + 2 * reach + 1, left : left + 2 * reach + 1]
    # Half of what the nucleus absorbs parts it from cytoplasm, whatever the stain's strength.
    rows, columns = np.nonzero(near > 0.55 * np.quantile(near, 0.97))
    if not len(rows):
        return (float(y) + 0.5) / height, (float(x) + 0.5) / width
    return (top + rows.mean() + 0.5) / height, (left + columns.mean() + 0.5) / width


def _box_sum(values: NDArray[np.int64], side: int) -> NDArray[np.int64]:
    """The sum of a square around each place, (H, W); at the edges of the part within."""
    height, width = values.shape
    sums = np.zeros((height + 1, width + 1), np.int64)
    sums[1:, 1:] = values.cumsum(0).cumsum(1)
    first_row, first_column = (np.arange(size) - side // 2 for size in (height, width))
    top, bottom = first_row.clip(0), (first_row + side).clip(0, height)
    left, right = first_column.clip(0), (first_column + side).clip(0, width)
    # Integral image: Crow 1984, Summed-area tables for texture mapping.
    above, below = sums[top], sums[bottom]
    inside: NDArray[np.int64] = below[:, right] - above[:, right] - below[:, left] + above[:, left]
    return inside

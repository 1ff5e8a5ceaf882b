"""One found cell of a field becomes a square picture on a white slide, at the field's scale."""

from __future__ import annotations

import numpy as np
from PIL import Image

from wbczoo.cells.finder import Found
from wbczoo.cells.slide import Pixels, balance, levels, slide_colour

# The square's side in units of the scale. Of the box's longer side: a quarter of the cell's width
# of surroundings on either side, which shows red cells to compare with.
FACTOR = 1.5
# What the empty slide becomes; the brightest tenth of a slide keeps its drawing above it.
WHITE = 230


def own_scale(found: Found) -> float:
    """The longer side of the cell's own box, in pixels: every cell then fills its crop alike."""
    left, top, right, bottom = found.box
    return float(max(right - left, bottom - top))


def crop_cell(
    image: Pixels,
    found: Found,
    size: int,
    *,
    scale: float | None = None,
    slide: tuple[int, int, int] | None = None,
) -> Pixels:
    """A square around one cell, with the colour of the empty slide made white.

    The side is `FACTOR` times a scale in pixels of the image. Where the scale is one length of
    the whole field (the width of its red cells, say), a small cell is shown small, and its size
    stays evidence; where it is the cell's own, every cell is shown as large as any other. What
    lies outside the frame is white slide, never a mirror or a stretch of the image.

    Args:
        image: uint8 RGB (H, W, 3), in which the cell was found.
        found: the cell.
        size: the side of the crop that is given back, in pixels.
        scale: in pixels of the image; `own_scale(found)` if none is given.
        slide: the empty slide's colour; measured if none is given.

    Returns:
        uint8 RGB (size, size, 3).
    """
    slide = slide or slide_colour(levels(image))
    side = max(1.0, FACTOR * (own_scale(found) if scale is None else scale))
    left, top, right, bottom = found.box
    across, down = (left + right - side) / 2, (top + bottom - side) / 2
    first_column, first_row = int(np.floor(across)), int(np.floor(down))
    last_column, last_row = int(np.ceil(across + side)), int(np.ceil(down + side))
    ground = np.empty((last_row - first_row, last_column - first_column, 3), np.uint8)
    ground[:] = slide
    height, width = image.shape[:2]
    rows = slice(max(first_row, 0), min(last_row, height))
    columns = slice(max(first_column, 0), min(last_column, width))
    ground[
        rows.start - first_row : rows.stop - first_row,
        columns.start - first_column : columns.stop - first_column,
    ] = image[rows, columns]
    x, y = across - first_column, down - first_row
    square = Image.fromarray(ground).resize(
        (size, size), Image.Resampling.BILINEAR, box=(x, y, x + side, y + side)
    )
    return balance(np.asarray(square), slide, WHITE)

"""Where evidence lies in what a model reads: on the boxed cell, on other cells, on the slide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wbczoo import images
from wbczoo.bench.fields import Field
from wbczoo.cells import find
from wbczoo.cells.crop import WHITE, best_cell, crop_cell, square_around
from wbczoo.cells.slide import balance, levels, slide_colour
from wbczoo.cells.white_cell import crop_white_cell, white_cell_square
from wbczoo.images import Pixels
from wbczoo.metrics.formulas import Floats, ratio
from wbczoo.metrics.intervals import draw, effective_groups, interval, replicate
from wbczoo.runtime.maps import spread
from wbczoo.runtime.model_file import ModelFile

# A pixel whose green is so bright on a white slide shows the slide; red cells absorb green light.
_EMPTY = 200

REGIONS = ("cell", "other cells", "slide")


@dataclass(frozen=True)
class Read:
    """What a model reads of a field with one white cell.

    Attributes:
        pixels: uint8 (3, H, W).
        regions: (3, H, W), which pixels lie in the cell's box, beyond it on whatever is
            stained, mostly red cells, and beyond it on the empty slide; each pixel in one of them.
        field: it is of.
    """

    pixels: Pixels
    regions: NDArray[np.bool_]
    field: Field

    def without(self, region: slice) -> Pixels:
        """The pixels with these of `REGIONS` painted as empty slide."""
        painted = self.pixels.copy()
        painted[:, self.regions[region].any(0)] = WHITE
        return painted


def read_field(file: ModelFile, field: Field) -> Read | None:
    """What a model reads of a field; None where its crop shows another place than the boxed cell.

    Raises:
        ImageRefused: if the image cannot be read.
    """
    image = field.read()
    height, width = image.shape[:2]
    ((left, top, right, bottom),) = field.boxes
    across = down = 0
    crop, square = file.preprocessing.crop, image
    if file.preprocessing.finds_cell:
        cells = find(image)
        if not cells:
            return None
        best = best_cell(cells)
        across, down, width = square_around(best, crop)
        square = crop_cell(image, best, crop)
    elif crop == "white-cell":
        across, down, width = white_cell_square(image)
        square = crop_white_cell(image)
    if crop != "none":
        height = width
    seen_width = min(right, across + width) - max(left, across)
    seen_height = min(bottom, down + height) - max(top, down)
    if max(seen_width, 0) * max(seen_height, 0) < 0.5 * (right - left) * (bottom - top):
        return None
    seen = images.preprocess(square, replace(file.preprocessing, crop="none"))  # (H, W, 3)
    white = seen
    if crop == "none":
        white = balance(seen, slide_colour(levels(image)), WHITE)
    inside = np.zeros(seen.shape[:2], bool)
    rows = [round((y - down) / height * len(inside)) for y in (top, bottom)]
    columns = [round((x - across) / width * inside[0].size) for x in (left, right)]
    inside[max(rows[0], 0) : max(rows[1], 0), max(columns[0], 0) : max(columns[1], 0)] = True
    empty = white[..., 1] >= _EMPTY
    regions = np.stack([inside, ~inside & ~empty, ~inside & empty])
    return Read(np.ascontiguousarray(seen.transpose(2, 0, 1)), regions, field)


def shares_of(evidence: NDArray[np.floating[Any]], read: Read) -> Floats:
    """(3,) the share of the positive evidence in each of `REGIONS`.

    Args:
        evidence: (h, w) over what was read; a position's lies evenly under it.
    """
    height, width = read.regions.shape[1:]
    positive = spread(evidence.clip(0), (height, width))
    total = float(positive.sum())
    if total <= 0:
        return np.full(len(REGIONS), np.nan)
    return np.array([positive[region].sum() / total for region in read.regions])


def summarise(
    reads: Sequence[Read], values: dict[str, Floats], *, resamples: int, seed: int = 0
) -> dict[str, Any]:
    """The mean of each value over images, with its interval by group.

    Args:
        values: name -> (N,) in [0, 1]; NaN where an image has none.
    """
    drawn = draw(
        [each.field.group for each in reads], [each.field.label for each in reads], resamples, seed
    )
    has = {name: np.isfinite(each) for name, each in values.items()}

    def scores(weights: Floats) -> dict[str, Floats]:
        return {
            name: ratio(weights @ np.nan_to_num(each), weights @ has[name].astype(float))
            for name, each in values.items()
        }

    point, again = replicate(drawn, scores)
    return {
        name: interval(float(point[name]), again[name], effective_groups(has[name], drawn) or 1.0)
        for name in values
    }

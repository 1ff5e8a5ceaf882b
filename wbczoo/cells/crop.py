"""One found cell of a field becomes a square picture on a white slide, at the field's scale."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from types import MappingProxyType

import numpy as np

from wbczoo.cells.finder import Found, find_on_slide
from wbczoo.cells.network import NETWORK
from wbczoo.cells.nucleus import Nucleus
from wbczoo.cells.slide import Pixels, Slide, balance, levels, slide_colour
from wbczoo.files import sha256_of

# The square's side in units of the scale, by the crop's name. Of the box's longer side, 1.5 leaves
# a quarter of the cell's width of surroundings on either side; 2.2 more than half of it, where red
# cells show how large and how stained things are in this field.
WIDTHS = MappingProxyType({"cell": 1.5, "cell-wide": 2.2})
# What the empty slide becomes; the brightest tenth of a slide keeps its drawing above it.
WHITE = 230

_NEAR = 0.1  # scores that differ by less are alike, and a whole cell goes before one that is cut
_FAINT = 0.1  # where no cell is found, the best place above this score is shown


@cache
def finder_sha256() -> str:
    """SHA-256 of the finder's network: with another one the crop may show another place."""
    return sha256_of(NETWORK)


def explain_other_finder(recorded: str) -> str | None:
    """A sentence, if a model was trained on cells of another finder than the one installed.

    Args:
        recorded: the SHA-256 that the model's config holds; empty of a model without the crop.
    """
    if recorded in ("", finder_sha256()):
        return None
    return (
        f"this model was trained on cells of another finder (SHA-256 {recorded[:12]}, and here "
        f"{finder_sha256()[:12]}): its figures were measured with that one, and what is shown "
        "to it now may differ"
    )


def own_scale(found: Found) -> float:
    """The longer side of the cell's own box, in pixels: every cell then fills its crop alike."""
    left, top, right, bottom = found.box
    return float(max(right - left, bottom - top))


def best_cell(found: Sequence[Found]) -> Found:
    """The cell with the highest score; of nearly equal ones rather one that the frame leaves whole.

    Where that decides nothing, it is the one furthest left, then furthest up.

    Raises:
        ValueError: if there is none.
    """
    return min(found, key=lambda each: (_NEAR * each.at_edge - each.score, each.box))


def crop_best_cell(image: Pixels, crop: str = "cell") -> Pixels:
    """The crops `cell` and `cell-wide`: an image's best cell on a white slide.

    Where no cell is found, the best place below the finder's threshold is shown, and the middle
    where there is none either: a labelled image then still trains and counts, and nothing found
    costs a model what it should.

    Args:
        image: uint8 RGB (H, W, 3), whatever it shows.
        crop: a name in `WIDTHS`.

    Returns:
        uint8 RGB (s, s, 3), s in pixels of the image.
    """
    found, slide = find_on_slide(image)
    if not found:
        found, slide = find_on_slide(image, _FAINT)
    if found:
        return crop_cell(image, best_cell(found), crop, slide=slide)
    height, width = image.shape[:2]
    frame = Found((0, 0, width, height), Nucleus(0.0, 0.0), 0.0, at_edge=True)
    return crop_cell(image, frame, crop, scale=min(height, width) / WIDTHS[crop], slide=slide)


def crop_cells(
    image: Pixels, found: Iterable[Found], crop: str = "cell", *, slide: Slide | None = None
) -> Iterator[Pixels]:
    """Each of these cells of an image as a crop shows it, at the cell's own scale.

    Args:
        image: uint8 RGB (H, W, 3), in which the cells were found.
        crop: a name in `WIDTHS`, as the model's preprocessing has it.
        slide: the empty slide's colour; measured if none is given.

    Yields:
        uint8 RGB (s, s, 3) for each, s in pixels of the image.
    """
    slide = slide or slide_colour(levels(image))
    for each in found:
        yield crop_cell(image, each, crop, slide=slide)


def square_around(
    found: Found, crop: str = "cell", *, scale: float | None = None
) -> tuple[int, int, int]:
    """Left, top and side of the square that `crop_cell` shows, in pixels of the image."""
    side = max(1, round(WIDTHS[crop] * (own_scale(found) if scale is None else scale)))
    left, top, right, bottom = found.box
    return (left + right - side) // 2, (top + bottom - side) // 2, side


def crop_cell(
    image: Pixels,
    found: Found,
    crop: str = "cell",
    *,
    scale: float | None = None,
    slide: Slide | None = None,
) -> Pixels:
    """A square around one cell, with the colour of the empty slide made white.

    The side is `WIDTHS[crop]` times a scale in pixels of the image. Where the scale is one length
    of the whole field (the width of its red cells, say), a small cell is shown small, and its size
    stays evidence; where it is the cell's own, every cell is shown as large as any other. What
    lies outside the frame is white slide, never a mirror or a stretch of the image. The pixels
    are the image's own: whoever resizes them does so once.

    Args:
        image: uint8 RGB (H, W, 3), in which the cell was found.
        found: the cell.
        crop: a name in `WIDTHS`.
        scale: in pixels of the image; `own_scale(found)` if none is given.
        slide: the empty slide's colour; measured if none is given.

    Returns:
        uint8 RGB (s, s, 3), s = `WIDTHS[crop]` times the scale, in whole pixels.
    """
    slide = slide or slide_colour(levels(image))
    across, down, side = square_around(found, crop, scale=scale)
    height, width = image.shape[:2]
    rows = slice(max(down, 0), min(down + side, height))
    columns = slice(max(across, 0), min(across + side, width))
    inside = balance(image[rows, columns], slide, WHITE)
    if inside.shape[:2] == (side, side):
        return inside
    square = np.full((side, side, 3), WHITE, np.uint8)
    square[rows.start - down : rows.stop - down, columns.start - across : columns.stop - across] = (
        inside
    )
    return square

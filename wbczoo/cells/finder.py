"""An image comes in here, and every white cell in it goes out with its box and its nucleus."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wbczoo.cells.network import candidates
from wbczoo.cells.nucleus import Nucleus, chromatic, measure_nucleus
from wbczoo.cells.overlap import drop_dwarfs, keep_best
from wbczoo.cells.ruler import likely_width, red_cell_width, red_share
from wbczoo.cells.slide import Pixels, Slide, absorbed, levels, slide_colour

# Changes whenever the same network is made to find other cells, so that no cached crop stays.
RULES = 2

# Below this score a place is taken for no cell. Chosen on drawn fields and three laboratories; of a
# fourth, which trained nothing, the pieces without a cell were looked at too.
THRESHOLD = 0.3


@dataclass(frozen=True, slots=True)
class Found:
    """One white cell of an image.

    Attributes:
        box: left, top, right, bottom of the whole cell in pixels of the image as given; the
            right and bottom edges lie outside, so that `image[top:bottom, left:right]` shows it.
        nucleus: its size.
        score: in [0, 1], of the finder's own making: no probability.
        at_edge: whether the box touches the frame, so that some of the cell may be missing.
        red_cell: the usual width of the red cells of the image, 7 to 8 um, in pixels; none where
            too few are seen.
    """

    box: tuple[int, int, int, int]
    nucleus: Nucleus
    score: float
    at_edge: bool
    red_cell: float | None = None


def find(image: Pixels, *, threshold: float = THRESHOLD) -> list[Found]:
    """All white cells of an image, whatever its magnification, stain and lamp.

    Args:
        image: uint8 RGB (H, W, 3).
        threshold: the lowest score to be given back, in [0.1, 1].

    Returns:
        the cells, the highest score first; an empty list where there is none.

    Raises:
        ValueError: if the image is not uint8 RGB, or has no pixel.
        MemoryError: if it needs more memory than there is.
    """
    return find_on_slide(image, threshold)[0]


def find_on_slide(image: Pixels, threshold: float = THRESHOLD) -> tuple[list[Found], Slide]:
    """The same, and the empty slide's colour, by which cells are compared and shown."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f"Cells are found in uint8 RGB of shape (H, W, 3), not in {image.dtype} of shape "
            f"{image.shape}; convert the image first."
        )
    height, width = image.shape[:2]
    pyramid = levels(image)
    slide = slide_colour(pyramid)
    seen = [(factor, absorbed(level, slide)) for factor, level in pyramid]
    white, red = candidates(seen, (height, width))
    boxes, scores = keep_best(white, [factor for factor, _ in seen])
    red_cell = red_cell_width(red, boxes[scores >= THRESHOLD], (height, width))
    boxes, scores = boxes[scores >= threshold], scores[scores >= threshold]
    scores = scores * (1 - red_share(boxes, red)) * likely_width(boxes, red_cell)
    whole = _whole_pixels(boxes, (height, width))
    scores = scores * np.array([chromatic(seen, box) for box in whole], float)
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= threshold]
    boxes, scores = drop_dwarfs(boxes[order], scores[order])
    whole = _whole_pixels(boxes, (height, width))
    found = [
        Found(
            box=box,
            nucleus=measure_nucleus(seen, box),
            score=round(float(score), 4),
            at_edge=_touches(box, (height, width), seen[0][0]),
            red_cell=None if red_cell is None else round(red_cell, 2),
        )
        for box, score in zip(whole, scores, strict=True)
    ]
    return found, slide


def _whole_pixels(
    boxes: NDArray[np.float64], size: tuple[int, int]
) -> list[tuple[int, int, int, int]]:
    height, width = size
    rounded = np.rint(boxes).astype(int)
    rounded[:, 0] = rounded[:, 0].clip(0, width - 1)
    rounded[:, 1] = rounded[:, 1].clip(0, height - 1)
    rounded[:, 2] = np.maximum(rounded[:, 2].clip(0, width), rounded[:, 0] + 1)
    rounded[:, 3] = np.maximum(rounded[:, 3].clip(0, height), rounded[:, 1] + 1)
    return [(int(a), int(b), int(c), int(d)) for a, b, c, d in rounded]


def _touches(box: tuple[int, int, int, int], size: tuple[int, int], reach: int) -> bool:
    height, width = size
    left, top, right, bottom = box
    return left <= reach or top <= reach or right >= width - reach or bottom >= height - reach

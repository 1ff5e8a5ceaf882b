"""The same cells under another magnification, lamp, field and turn: are they found again?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wbczoo.bench.fields import Field
from wbczoo.bench.locating import Located, measure_locating
from wbczoo.cells import find
from wbczoo.errors import ImageRefused
from wbczoo.images import Pixels

Boxes = NDArray[np.float64]  # (N, 4), left, top, right, bottom in pixels
Back = Callable[[Boxes], Boxes]

# Halves and quarters are sizes that the finder makes itself; those between them are harder.
SCALES = (0.25, 0.5, 0.7, 1.4, 2, 3)
GAINS = (0.8, 1.2)


def measure_changes(
    fields: Iterable[Field], *, resamples: int = 2000, advance: Callable[[int], object] = int
) -> dict[str, dict[str, object]]:
    """How many of the cells that are found in fields are found again where these are changed.

    A cell is found again if one of its boxes, taken back to the image as it was, overlaps the
    first by at least .7 (IoU).

    Returns:
        change -> `cells`, and `again`: the share with its interval by group.
    """
    generator = np.random.default_rng(0)
    located: dict[str, list[Located]] = {}
    for field in fields:
        try:
            image = field.read()
        except ImageRefused:
            continue
        first = _boxes(image)
        for name, changed, back in change(image, generator):
            again = back(_boxes(changed)).tolist()
            located.setdefault(name, []).append(
                Located(first.tolist(), again, field.group, field.label)
            )
        advance(1)
    figures = {name: measure_locating(one, resamples=resamples) for name, one in located.items()}
    return {
        name: {"cells": one["cells"], "again": one["iou 0.7"]["recall"]}
        for name, one in figures.items()
    }


def change(image: Pixels, generator: np.random.Generator) -> Iterator[tuple[str, Pixels, Back]]:
    """Changed images (H, W, 3), each with its name and how boxes in it come back to the image."""
    height, width = image.shape[:2]
    for scale in SCALES:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        kind = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
        scaled = np.asarray(Image.fromarray(image).resize(size, kind))
        ratio = np.array([width / size[0], height / size[1]] * 2)
        yield f"scaled by {scale:g}", scaled, lambda boxes, ratio=ratio: boxes * ratio  # type: ignore[misc]
    field = np.empty((2 * height, 2 * width, 3), np.uint8)
    field[:] = np.percentile(image.reshape(-1, 3), 90, axis=0).astype(np.uint8)
    x, y = int(generator.integers(width + 1)), int(generator.integers(height + 1))
    field[y : y + height, x : x + width] = image
    yield "in a field of 4 times the area", field, lambda boxes: boxes - np.array([x, y, x, y])
    lit = (image * generator.uniform(*GAINS, 3)).clip(0, 255).astype(np.uint8)
    yield "under another lamp", lit, lambda boxes: boxes
    turned = np.ascontiguousarray(np.rot90(image))
    yield "turned by 90 degrees", turned, lambda boxes: _turned_back(boxes, width)


def _turned_back(boxes: Boxes, width: int) -> Boxes:
    """Boxes of an image that was turned by a quarter against the clock, in the image itself."""
    left, top, right, bottom = boxes.T
    return np.stack([width - bottom, left, width - top, right], axis=1)


def _boxes(image: Pixels) -> Boxes:
    return np.array([cell.box for cell in find(image)], float).reshape(-1, 4)

"""Shipped models read the pixels of this crop: they stay what they are, on every machine."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray

from wbczoo import images
from wbczoo.cells import white_cell
from wbczoo.cells.white_cell import crop_white_cell
from wbczoo.specs import Preprocessing

Pixels = NDArray[np.uint8]


def draw(height: int, width: int, slide: tuple[int, int, int], cell: tuple[int, int]) -> Pixels:
    """A slide with grain, red cells, a plaque of eosin, and a lobed nucleus in its cytoplasm.

    Whole numbers alone decide each pixel, so that no machine draws another image.

    Args:
        cell: row and column of the nucleus, in 1/240 of the shorter side.
    """
    unit = min(height, width)
    rows, columns = np.mgrid[:height, :width] * 240 // unit
    grain = (7 * rows * rows + 13 * columns * columns + 5 * rows * columns) % 11
    drawn = np.array(slide)[None, None] - grain[..., None]

    def disk(row: int, column: int, radius: int, red: int, green: int, blue: int) -> None:
        inside = (rows - row) ** 2 + (columns - column) ** 2 < radius * radius
        share = np.array((red, green, blue))  # of 256, that the stain lets through
        drawn[inside] = drawn[inside] * share // 256

    for row in range(25, 240, 52):
        for column in range(18, 240 * width // unit, 50):
            disk(row, column, 15, 250, 178, 170)
    disk(190, 60, 30, 235, 60, 90)  # green light is absorbed here, and hardly any red
    row, column = cell
    disk(row, column, 44, 190, 170, 225)
    disk(row + 14, column - 9, 30, 150, 190, 240)
    disk(row - 6, column - 12, 16, 110, 90, 190)
    disk(row + 12, column + 6, 19, 130, 100, 200)
    disk(row - 4, column + 19, 11, 150, 105, 205)
    return drawn.astype(np.uint8)


PALE, BLUE, YELLOW = (225, 220, 222), (150, 185, 245), (240, 225, 150)
# SHA-256 of the drawing, of its crop, and of what a model of 64x64 pixels reads.
KEPT = {
    ((240, 320), PALE, (130, 200)): ("ce88cb9ccb729a3a", "4e3d34cb3443e197", "bb9644827aeb913c"),
    ((240, 320), BLUE, (60, 250)): ("b1705e2257458c8b", "8605429b65ec9bc2", "a3ab84bc1a96a813"),
    ((240, 320), YELLOW, (120, 150)): ("a201a300af73fa92", "7b090721b548767c", "8366c04d9fca1f26"),
    ((363, 360), PALE, (210, 120)): ("e42158b2ef89bdd0", "138e314bff6d9fd7", "229c66070f0ec005"),
    ((480, 640), BLUE, (110, 60)): ("407f0bb06765e976", "7cf987e5a7a3d517", "999f91341d1c05c6"),
    ((90, 120), YELLOW, (70, 190)): ("dc5fdd2ef4d2b7a8", "6afadc9b6cb538fd", "1624c8ef3bd44763"),
    ((16, 60), PALE, (120, 300)): ("3cbce07b21032af7", "988efb7682692612", "c75d74a1e9d0eb98"),
}

SPOTS = "f76dbb80b92d4540"


def sha256(pixels: Pixels) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("asked", KEPT, ids=str)
def test_the_crop_has_the_pixels_that_models_were_trained_on(
    asked: tuple[tuple[int, int], tuple[int, int, int], tuple[int, int]],
) -> None:
    size, slide, cell = asked
    drawn = draw(*size, slide, cell)
    read = images.pixels(drawn, Preprocessing(crop="white-cell", size=(64, 64)))
    assert (sha256(drawn), sha256(crop_white_cell(drawn)), sha256(read)) == KEPT[asked]


def test_where_no_cell_stands_out_the_crop_is_the_same_all_the_same() -> None:
    """Here every constant of the search decides."""
    found = hashlib.sha256()
    for turn in range(12):
        rows, columns = np.mgrid[:120, :160]
        drawn = np.full((120, 160, 3), 230)
        for number in range(40):
            row, column, radius, red = (
                (turn * 37 + number * step + number * number * 11) % size
                for step, size in ((53, 120), (97, 160), (29, 13), (71, 200))
            )
            inside = (rows - row) ** 2 + (columns - column) ** 2 < (radius + 3) ** 2
            drawn[inside] = drawn[inside] * (56 + red, 150, 200) // 256
        found.update(crop_white_cell(drawn.clip(40).astype(np.uint8)).tobytes())
    assert found.hexdigest()[:16] == SPOTS


def test_no_absorbance_is_rounded_otherwise_by_another_logarithm() -> None:
    """Libraries of mathematics differ in a logarithm's last bit, which no rounding may show."""
    for slide in range(256):
        exact = np.log((slide + 1) / (np.arange(256) + 1.0)).clip(0, 3) * white_cell._UNIT
        assert np.abs(exact % 1 - 0.5).min() > 1e-7

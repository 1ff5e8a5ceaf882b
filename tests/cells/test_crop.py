"""The crop of a found cell: centred, on a white slide, at the scale that is asked for."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from wbczoo.cells import Found, Nucleus
from wbczoo.cells.crop import WHITE, crop_cell

Pixels = NDArray[np.uint8]


def disc(height: int, width: int, x: float, y: float, radius: float) -> tuple[Pixels, Found]:
    """A violet disc on a greenish slide, and what a finder says of it."""
    image = np.empty((height, width, 3), np.uint8)
    image[:] = (200, 220, 180)
    rows, columns = np.mgrid[:height, :width] + 0.5
    image[np.hypot(rows - y, columns - x) < radius] = (90, 60, 160)
    box = (
        max(round(x - radius), 0),
        max(round(y - radius), 0),
        min(round(x + radius), width),
        min(round(y + radius), height),
    )
    return image, Found(box, Nucleus(1.0, 1.0), 1.0, at_edge=False)


def width_of(crop: Pixels) -> int:
    return int((crop[len(crop) // 2, :, 1] < 150).sum())


def test_the_cell_stands_in_the_middle_on_a_white_slide() -> None:
    image, found = disc(240, 320, 100.0, 90.0, 30.0)
    crop = crop_cell(image, found, 96)
    assert crop.shape == (96, 96, 3)
    assert (crop[0, 0] == WHITE).all()
    rows, columns = np.nonzero(crop[..., 1] < 150)
    assert rows.mean() == pytest.approx(47.5, abs=0.6)
    assert columns.mean() == pytest.approx(47.5, abs=0.6)
    assert width_of(crop) == pytest.approx(96 / 1.5, abs=2)


def test_at_a_scale_of_the_field_a_small_cell_is_shown_small() -> None:
    image, found = disc(240, 320, 100.0, 90.0, 15.0)
    assert width_of(crop_cell(image, found, 96, scale=60.0)) == pytest.approx(32, abs=2)
    larger, twice = disc(480, 640, 200.0, 180.0, 30.0)
    assert width_of(crop_cell(larger, twice, 96, scale=120.0)) == pytest.approx(32, abs=2)


def test_outside_the_frame_lies_white_slide() -> None:
    image, found = disc(240, 320, 5.0, 235.0, 30.0)
    crop = crop_cell(image, found, 64)
    assert (crop[:, :4] == WHITE).all()
    assert (crop[-4:] == WHITE).all()
    assert width_of(crop) > 10


def test_another_lamp_gives_nearly_the_same_crop() -> None:
    image, found = disc(240, 320, 100.0, 90.0, 30.0)
    dim = (image * np.array([0.9, 0.8, 0.7])).astype(np.uint8)
    plain, other = crop_cell(image, found, 64), crop_cell(dim, found, 64)
    assert np.abs(plain.astype(int) - other).max() <= 4

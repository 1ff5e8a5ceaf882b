"""The crop of a found cell: centred, on a white slide, at the scale that is asked for."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wbczoo import images
from wbczoo.cells import Found, Nucleus, find
from wbczoo.cells.crop import WHITE, WIDTHS, best_cell, crop_best_cell, crop_cell, crop_cells
from wbczoo.cells.finder import find_on_slide
from wbczoo.cells.slide import balance
from wbczoo.specs import Preprocessing
from wbczoo_datasets.smear import render_photograph

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
    crop = crop_cell(image, found)
    assert crop.shape == (90, 90, 3)
    assert (crop[0, 0] == WHITE).all()
    rows, columns = np.nonzero(crop[..., 1] < 150)
    assert rows.mean() == pytest.approx(44.5, abs=0.6)
    assert columns.mean() == pytest.approx(44.5, abs=0.6)
    assert width_of(crop) == pytest.approx(60, abs=1)


def test_at_a_scale_of_the_field_a_small_cell_is_shown_small() -> None:
    image, found = disc(240, 320, 100.0, 90.0, 15.0)
    assert width_of(crop_cell(image, found, scale=60.0)) == pytest.approx(90 / 3, abs=1)
    larger, twice = disc(480, 640, 200.0, 180.0, 30.0)
    assert width_of(crop_cell(larger, twice, scale=120.0)) == pytest.approx(180 / 3, abs=1)


def test_outside_the_frame_lies_white_slide() -> None:
    image, found = disc(240, 320, 5.0, 235.0, 30.0)
    crop = crop_cell(image, found)
    assert (crop[:, :4] == WHITE).all()
    assert (crop[-4:] == WHITE).all()
    assert width_of(crop) > 10


def test_another_lamp_gives_nearly_the_same_crop() -> None:
    image, found = disc(240, 320, 100.0, 90.0, 30.0)
    dim = (image * np.array([0.9, 0.8, 0.7])).astype(np.uint8)
    plain, other = crop_cell(image, found), crop_cell(dim, found)
    assert np.abs(plain.astype(int) - other).max() <= 4


def place(score: float, left: int = 10, *, at_edge: bool = False) -> Found:
    return Found((left, 10, left + 20, 30), Nucleus(1.0, 1.0), score, at_edge)


def test_the_best_cell_is_the_surest_and_of_nearly_equal_ones_a_whole_one() -> None:
    whole, cut = place(0.8), place(0.85, 0, at_edge=True)
    assert best_cell([cut, whole]) is whole
    assert best_cell([place(0.95, 0, at_edge=True), whole]).at_edge
    assert best_cell([whole, place(0.81, 50)]).box[0] == 50
    assert best_cell([place(0.8, 50), whole]) is best_cell([whole, place(0.8, 50)]) is whole


@pytest.mark.parametrize("cell_class", ["eosinophil", "lymphocyte", "monocyte", "neutrophil"])
def test_the_crop_shows_the_white_cell_of_a_drawn_smear(cell_class: str) -> None:
    drawn = render_photograph(cell_class, np.random.default_rng(1))
    x, y, radius = drawn.cell
    image = np.asarray(drawn.image)
    (found,) = find(image)
    crop = crop_best_cell(image)
    assert np.array_equal(crop, crop_cell(image, found))
    assert len(crop) / 1.5 == pytest.approx(2 * radius, rel=0.2)
    left, top, right, bottom = found.box
    assert (left + right) / 2 == pytest.approx(x, abs=0.2 * radius)
    assert (top + bottom) / 2 == pytest.approx(y, abs=0.2 * radius)


def test_the_wide_crop_shows_the_same_cell_and_more_of_what_is_around_it() -> None:
    image = np.asarray(render_photograph("lymphocyte", np.random.default_rng(1)).image)
    near, wide = crop_best_cell(image), crop_best_cell(image, "cell-wide")
    assert len(wide) / len(near) == pytest.approx(2.2 / 1.5, rel=0.02)
    margin = (len(wide) - len(near)) // 2
    inner = wide[margin : margin + len(near), margin : margin + len(near)]
    assert np.array_equal(inner, near) or np.abs(inner.astype(int) - near).mean() < 12
    assert set(WIDTHS) == {name for name in images.CROPS if Preprocessing(crop=name).finds_cell}


@pytest.mark.parametrize("level", [0, 7, 128, 255])
def test_where_nothing_is_found_the_middle_is_shown(level: int) -> None:
    image = np.full((100, 160, 3), level, np.uint8)
    assert not find(image)
    crop = crop_best_cell(image)
    assert crop.shape == (100, 100, 3)
    assert len(np.unique(crop)) == 1


@pytest.mark.parametrize("size", [(16, 16), (16, 700), (700, 16)])
def test_small_and_narrow_images_are_cropped_too(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert images.preprocess(noise, Preprocessing(crop="cell", size=(32, 48))).shape == (32, 48, 3)


def test_every_way_to_an_image_crops_alike() -> None:
    drawn = render_photograph("neutrophil", np.random.default_rng(1)).image
    cropped = Preprocessing(crop="cell", size=(96, 96))
    read = images.pixels(drawn, cropped)
    square = Image.fromarray(crop_best_cell(np.asarray(drawn)))
    resized = np.asarray(square.resize((96, 96), Image.Resampling.BILINEAR))
    assert np.array_equal(read, resized)
    assert np.array_equal(read, images.pixels(np.asarray(drawn), cropped))


def test_a_balance_is_each_channel_over_the_slide_s() -> None:
    image = np.random.default_rng(0).integers(0, 256, (37, 41, 3)).astype(np.uint8)
    part, slide = image[3:30:2, 5:40], (200, 255, 0)
    shares = (part + 1.0) / (np.array(slide) + 1) * WHITE
    balanced = balance(part, slide, WHITE)
    assert np.array_equal(balanced, np.rint(shares).clip(0, 255))
    balanced[0] = 0  # it is the caller's own
    assert np.array_equal(image[3, 5:40], part[0])


def test_the_slide_that_was_found_gives_the_same_crops() -> None:
    image = np.asarray(render_photograph("neutrophil", np.random.default_rng(3)).image)
    found, slide = find_on_slide(image)
    assert found == find(image)
    for given, measured in zip(
        crop_cells(image, found, "cell-wide", slide=slide),
        crop_cells(image, found, "cell-wide"),
        strict=True,
    ):
        assert np.array_equal(given, measured)

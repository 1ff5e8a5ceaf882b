"""The white cell is found in real photographs, whatever the lamp, the camera or the fill."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wbczoo import images
from wbczoo.cells.white_cell import crop_white_cell
from wbczoo.specs import Preprocessing

if TYPE_CHECKING:
    from wbczoo.data.samples import Rows

Pixels = NDArray[np.uint8]
CROPPED = Preprocessing(crop="white-cell", size=(96, 96))


def smear(height: int, width: int, cell: tuple[int, int]) -> Pixels:
    """A pale slide, red cells, and one blue nucleus at (row, column) of a 240-pixel scale."""
    scale = min(height, width) / 240
    rows, columns = np.mgrid[:height, :width] / scale
    drawn = np.empty((height, width, 3), np.uint8)
    drawn[:] = (205, 215, 214)
    for row in range(20, 240, 50):
        for column in range(15, 320, 50):
            drawn[np.hypot(rows - row, columns - column) < 16] = (208, 150, 140)
    drawn[np.hypot(rows - cell[0], columns - cell[1]) < 20] = (110, 70, 170)
    return drawn


def nucleus_of(crop: Pixels) -> tuple[float, float]:
    """The middle of what is bluest, as shares of the crop's height and width."""
    rows, columns = np.nonzero(crop[..., 2].astype(int) - crop[..., 0] > 40)
    return float(rows.mean()) / len(crop), float(columns.mean()) / len(crop)


@pytest.mark.archive
def test_the_cell_of_nearly_every_photograph_is_shown(bccd_rows: Rows) -> None:
    """Of 344 annotated cells all but three; here every third is asked."""
    shown = seen = 0
    for row, sample in enumerate(bccd_rows.samples):
        if sample.part != "photographs" or sample.box is None or row % 3:
            continue
        image = images.decode(bccd_rows.source.read(sample.path))
        left, top, right, bottom = sample.box
        marked = image.copy()
        # A mark of the cell's middle in a green that no slide has; it changes no red.
        y, x = (top + bottom) // 2, (left + right) // 2
        marked[y - 1 : y + 2, x - 1 : x + 2, 1] = 255
        marked[y - 1 : y + 2, x - 1 : x + 2, 2] = 0
        crop = crop_white_cell(marked)
        seen += 1
        shown += bool(((crop[..., 1] > 240) & (crop[..., 2] < 4)).any())
    assert seen > 100
    assert seen - shown <= 2


@pytest.mark.parametrize("size", [(240, 320), (480, 640), (363, 360), (1200, 1600), (90, 120)])
def test_the_nucleus_stands_in_the_middle_at_any_size(size: tuple[int, int]) -> None:
    crop = crop_white_cell(smear(*size, cell=(120, 130)))
    assert crop.shape == (round(0.6 * min(size)),) * 2 + (3,)
    assert nucleus_of(crop) == pytest.approx((0.5, 0.5), abs=0.03)


def test_near_an_edge_the_square_is_moved_and_not_filled() -> None:
    crop = crop_white_cell(smear(240, 320, cell=(25, 300)))
    assert crop.shape == (144, 144, 3)
    down, across = nucleus_of(crop)
    assert down == pytest.approx(25 / 144, abs=0.03)
    assert across == pytest.approx((300 - 320 + 144) / 144, abs=0.03)


def test_another_lamp_shows_the_same_crop() -> None:
    plain = smear(240, 320, cell=(100, 200))
    lamp = np.array([0.9, 0.8, 0.7])
    dimmed = np.rint(plain * lamp).astype(np.uint8)
    before, after = (crop_white_cell(image).astype(int) for image in (plain, dimmed))
    assert np.abs(before - after).max() <= 3
    assert np.abs(plain.astype(int) - dimmed).max() > 60


def test_black_fill_is_no_nucleus() -> None:
    drawn = smear(240, 320, cell=(150, 90))
    filled = drawn.copy()
    filled[:, 220:] = 0
    filled[:40] = 5
    assert np.array_equal(crop_white_cell(filled)[40:], crop_white_cell(drawn)[40:])


@pytest.mark.parametrize("level", [0, 7, 128, 255])
def test_an_image_of_nothing_is_answered_with_its_middle(level: int) -> None:
    crop = crop_white_cell(np.full((100, 160, 3), level, np.uint8))
    assert crop.shape == (60, 60, 3)
    assert len(np.unique(crop)) == 1


@pytest.mark.parametrize("size", [(16, 16), (16, 3000), (3000, 16)])
def test_small_and_narrow_images_are_cropped_too(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert crop_white_cell(noise).shape == (10, 10, 3)


def test_every_way_to_an_image_crops_alike() -> None:
    drawn = smear(240, 320, cell=(60, 60))
    read = images.pixels(drawn, CROPPED)
    assert read.shape == (96, 96, 3)
    assert np.array_equal(images.pixels(Image.fromarray(drawn), CROPPED), read)
    assert not np.array_equal(images.pixels(drawn, Preprocessing(size=(96, 96))), read)

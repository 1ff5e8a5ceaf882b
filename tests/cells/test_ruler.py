"""The red cells of a field are its ruler: how wide they are, and what their width forbids."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from wbczoo.cells import find
from wbczoo.cells.network import Marked
from wbczoo.cells.nucleus import chromatic
from wbczoo.cells.ruler import likely_width, red_cell_width, red_share
from wbczoo_datasets.smear import render_photograph

SIZE = (480, 640)
NONE = np.empty((0, 4))


def marked(*boxes: list[float], scores: tuple[float, ...] = ()) -> Marked:
    count = len(boxes)
    shares = np.array(scores or (0.9,) * count, float)
    return Marked(np.array(boxes, float).reshape(-1, 4), shares, np.ones(count, int))


def box(x: float, y: float, width: float) -> list[float]:
    return [x - width / 2, y - width / 2, x + width / 2, y + width / 2]


def test_the_usual_red_cell_decides_and_not_the_largest() -> None:
    red = [box(100, 100, 40), box(300, 100, 42), box(300, 300, 120), box(200, 200, 41)]
    width = red_cell_width(marked(*red, scores=(0.9, 0.9, 0.4, 0.8)), NONE, SIZE)
    assert width == pytest.approx(41)


def test_what_the_frame_cuts_or_a_white_cell_covers_does_not_count() -> None:
    red = [box(100, 100, 40), box(300, 300, 40), box(10, 200, 20), box(500, 300, 70)]
    white = np.array([box(505, 305, 120)])
    assert red_cell_width(marked(*red), white, SIZE) == pytest.approx(40)


def test_one_red_cell_that_is_hardly_seen_is_no_ruler() -> None:
    assert red_cell_width(marked(box(100, 100, 40), scores=(0.6,)), NONE, SIZE) is None
    assert red_cell_width(marked(), NONE, SIZE) is None


def test_a_platelet_is_too_narrow_and_a_clump_too_wide_for_a_white_cell() -> None:
    boxes = np.array([box(100, 100, 16), box(200, 200, 60), box(300, 300, 330)])
    assert likely_width(boxes, 40.0).tolist() == [0, 1, 0]
    assert likely_width(boxes, None).tolist() == [1, 1, 1]


def test_what_red_cells_cover_is_no_white_cell() -> None:
    heap = [box(90, 100, 40), box(112, 100, 40)]
    white = np.array([box(100, 100, 60), box(300, 300, 60), box(90, 100, 16)])
    over, free, within = red_share(white, marked(*heap, scores=(0.8, 0.8)))
    assert 0.4 < over < 0.7
    assert free == 0
    assert within == 0  # most of the red cell lies outside: a nucleus may be on it
    assert red_share(white, marked()).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("absorbed", "share"),
    [((0.6, 0.8, 0.2), 1.0), ((0.2, 0.7, 0.69), 0.4), ((0.6, 0.6, 0.6), 1.0)],
    ids=["chromatin", "haemoglobin", "grey"],
)
def test_what_absorbs_blue_as_well_as_green_is_no_nucleus(
    absorbed: tuple[float, float, float], share: float
) -> None:
    light = np.zeros((3, 60, 60), np.float32)
    light[:, 20:40, 20:40] = np.reshape(absorbed, (3, 1, 1))
    assert chromatic([(2, light)], (30, 30, 90, 90)) == pytest.approx(share)


def discs(places: list[tuple[float, float, float, tuple[int, int, int]]]) -> NDArray[np.uint8]:
    """Soft round discs (x, y, radius, colour) on an empty slide of 640x480."""
    image = np.full((*SIZE, 3), (225, 222, 216), float)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    for x, y, radius, colour in places:
        inside = np.clip(radius - np.hypot(columns - x, rows - y), 0, 1)[..., None]
        image += inside * (np.array(colour) - image)
    return image.astype(np.uint8)


def test_platelets_beside_red_cells_are_no_white_cells() -> None:
    red = [
        (60.0 + 90 * i, 55.0 + 92 * j, 36.0, (205, 140, 132)) for i in range(7) for j in range(5)
    ]
    platelets = [(105.0 + 90 * i, 101.0 + 92 * i, 9.0 + 2 * i, (120, 85, 175)) for i in range(4)]
    assert find(discs([*red, *platelets])) == []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_ruler_grows_with_the_image(seed: int) -> None:
    image = render_photograph("lymphocyte", np.random.default_rng(seed)).image
    (found,) = find(np.asarray(image))
    (larger,) = find(np.asarray(image.resize((960, 720))))
    assert found.red_cell is not None
    assert larger.red_cell is not None
    assert 30 < found.red_cell < 52  # drawn with radii of 19 to 25 pixels
    assert larger.red_cell == pytest.approx(3 * found.red_cell, rel=0.12)

"""White cells are found in drawn fields, whatever the magnification, lamp and place."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wbczoo.bench.locating import Located, measure_locating
from wbczoo.cells import Found, find, network
from wbczoo.cells.overlap import overlap
from wbczoo_datasets.smear import render_photograph

Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]

CLASSES = ("eosinophil", "lymphocyte", "monocyte", "neutrophil")


def photograph(seed: int) -> tuple[Pixels, Box]:
    """A drawn photograph of 320x240 with one white cell, and the cell's box."""
    drawn = render_photograph(CLASSES[seed % 4], np.random.default_rng(seed))
    x, y, radius = drawn.cell
    low, high = (
        (max(x - radius, 0), max(y - radius, 0)),
        (min(x + radius, 320), min(y + radius, 240)),
    )
    return np.asarray(drawn.image), (*low, *high)


@pytest.fixture(scope="module")
def field() -> tuple[Pixels, list[Box]]:
    """Twelve photographs side by side: a field of 1280x720 with twelve white cells."""
    rows, boxes = [], []
    for row in range(3):
        drawn = [photograph(4 * row + column) for column in range(4)]
        rows.append(np.concatenate([image for image, _ in drawn], axis=1))
        for column, (_, (left, top, right, bottom)) in enumerate(drawn):
            x, y = 320 * column, 240 * row
            boxes.append((left + x, top + y, right + x, bottom + y))
    return np.concatenate(rows), boxes


def boxes_of(found: list[Found]) -> NDArray[np.float64]:
    return np.array([one.box for one in found], float).reshape(-1, 4)


def resized(image: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def test_every_cell_of_a_field_is_found_once(field: tuple[Pixels, list[Box]]) -> None:
    image, truth = field
    figures = measure_locating([Located(truth, boxes_of(find(image)).tolist(), "one")], resamples=1)
    assert figures["iou 0.5"]["recall"]["value"] == 1
    assert figures["iou 0.5"]["precision"]["value"] == 1
    assert figures["overlap"]["value"] > 0.8


@pytest.mark.parametrize("scale", [0.25, 0.5, 2.0, 3.0])
def test_another_magnification_shows_the_same_cells(scale: float) -> None:
    image, truth = photograph(3)
    found = find(resized(image, round(320 * scale), round(240 * scale)))
    assert len(found) == 1
    assert overlap(boxes_of(found) / scale, np.array([truth])).max() > 0.7


def test_another_lamp_shows_the_same_cells(field: tuple[Pixels, list[Box]]) -> None:
    image, truth = field
    lit = (image * np.array([0.8, 0.95, 0.85])).astype(np.uint8)
    shares = overlap(boxes_of(find(lit)), np.array(truth))
    assert shares.shape[0] == len(truth)
    assert (shares.max(axis=0) > 0.7).all()


def test_a_cell_that_fills_the_frame_is_found() -> None:
    image, (left, top, right, bottom) = photograph(6)
    close = np.ascontiguousarray(image[int(top) : int(bottom), int(left) : int(right)])
    found = find(resized(close, 60, 60))
    assert len(found) == 1
    assert overlap(boxes_of(found), np.array([[0.0, 0, 60, 60]])).max() > 0.6


def test_a_cell_that_the_frame_cuts_is_found_at_the_edge() -> None:
    image, (left, _, right, _) = photograph(1)
    (found,) = find(np.ascontiguousarray(image[:, int((left + right) / 2) :]))
    assert found.at_edge
    assert found.box[0] <= 2


def test_a_nucleus_is_smaller_than_its_cell_and_grows_with_the_image() -> None:
    image, truth = photograph(1)
    (found,) = find(image)
    (larger,) = find(resized(image, 960, 720))
    cell = np.pi / 4 * (truth[2] - truth[0]) * (truth[3] - truth[1])
    assert 0.2 * cell < found.nucleus.area < cell
    assert larger.nucleus.diameter == pytest.approx(3 * found.nucleus.diameter, rel=0.1)
    assert not found.at_edge


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((300, 400, 3), np.uint8),
        np.full((480, 640, 3), 255, np.uint8),
        np.full((7, 900, 3), 200, np.uint8),
        np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8),
    ],
    ids=["one pixel", "black", "white", "a strip", "noise"],
)
def test_where_there_is_no_cell_none_is_found(image: Pixels) -> None:
    assert find(image) == []


def test_what_is_no_image_is_refused_with_a_sentence() -> None:
    for wrong in (np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match="uint8 RGB"):
            find(wrong)


def test_the_same_image_gives_the_same_cells_in_any_memory_layout() -> None:
    image, _ = photograph(2)
    assert find(image) == find(np.asfortranarray(image)) == find(image.copy())


@pytest.mark.parametrize(
    ("seed", "box", "score", "red_cell"),
    [
        (0, (81, 29, 166, 117), 0.7174, 42.11),
        (1, (201, 50, 262, 116), 0.7640, 45.07),
        (2, (86, 107, 172, 197), 0.9150, 36.82),
        (3, (82, 115, 152, 190), 0.8035, 38.84),
    ],
)
def test_models_were_trained_on_what_was_found_here(
    seed: int, box: Box, score: float, red_cell: float
) -> None:
    """Equal bit for bit on one processor; on others the network's last digits may differ.

    Whoever changes these numbers raises `wbczoo.cells.finder.RULES` too, for the pixel cache.
    """
    (found,) = find(photograph(seed)[0])
    assert found.box == pytest.approx(box, abs=1)
    assert found.score == pytest.approx(score, abs=0.01)
    assert found.red_cell == pytest.approx(red_cell, abs=0.5)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3), (13, 17)])
def test_a_peak_is_a_place_that_no_neighbour_exceeds(size: tuple[int, int]) -> None:
    random = np.random.default_rng(1)
    heat = random.integers(0, 6, (2, *size)).astype(np.float32) / 10  # many are equal
    around = np.pad(heat, ((0, 0), (1, 1), (1, 1)))
    expected = [
        (kind, row, column)
        for kind, row, column in np.ndindex(heat.shape)
        if heat[kind, row, column] >= 0.1
        and heat[kind, row, column] >= around[kind, row : row + 3, column : column + 3].max()
    ]
    assert [*zip(*network._peaks(heat), strict=True)] == expected

"""Pictures of fields: boxes where the cells are, words that fit, at every size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor

from wbczoo.files import flat_name
from wbczoo.runtime.drawing import COLOURS, draw_cells, write_picture

CLASSES = ("eosinophil", "lymphocyte", "monocyte", "neutrophil")


def blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 230, np.uint8)


def answered(cell_class: str | None, **more: Any) -> dict[str, Any]:
    probabilities = {name: 0.9 if name == cell_class else 0.03 for name in CLASSES}
    probability = max(probabilities.values())
    answer = {"class": cell_class, "probability": probability, "probabilities": probabilities}
    return {"tasks": {"cell": answer}, **more}


def count(picture: Image.Image, colour: str) -> int:
    """Pixels of a colour."""
    return int((np.asarray(picture) == ImageColor.getrgb(colour)).all(axis=2).sum())


def test_each_class_has_its_own_colour_and_the_pixels_within_stay() -> None:
    image = blank(480, 640)
    cells = [
        answered(name, box=[40 + 150 * n, 200, 140 + 150 * n, 300])
        for n, name in enumerate(CLASSES)
    ]
    picture = draw_cells(image, cells)
    assert picture.size == (640, 480)
    assert all(count(picture, colour) > 300 for colour in COLOURS[:4])
    assert (np.asarray(picture)[220:280, 60:120] == 230).all()
    assert (image == 230).all()  # the caller's pixels are not drawn on


@pytest.mark.parametrize(
    ("size", "drawn_size"),
    [((60, 60), (360, 360)), ((3000, 4000), (4000, 3000)), ((16, 6000), (6000, 16))],
)
def test_lines_and_letters_follow_the_size(
    size: tuple[int, int], drawn_size: tuple[int, int]
) -> None:
    height, width = size
    box = [width // 4, height // 4, width // 2, height // 2]
    bare = draw_cells(blank(*size), [])
    assert bare.size == drawn_size
    picture = draw_cells(blank(*size), [answered("neutrophil", box=box, flags=["unsure"])])
    changed = (np.asarray(picture) != np.asarray(bare)).any(axis=2).mean()
    assert 0.002 < changed < 0.4


def test_what_has_no_box_stands_in_the_corner() -> None:
    for cell in ({"flags": ["no-cell"]}, answered(None, flags=["no-cell"]), answered("monocyte")):
        changed = (np.asarray(draw_cells(blank(400, 400), [cell])) != 230).any(axis=2)
        assert changed[:40].any()
        assert not changed[100:].any()


@pytest.mark.parametrize("corner", [(0, 0), (540, 0), (0, 380), (540, 380), (300, 200)])
def test_a_label_lies_beside_its_cell_where_there_is_room(corner: tuple[int, int]) -> None:
    x, y = corner
    cell = answered("monocyte", box=[x, y, x + 100, y + 100], flags=["at-edge"])
    picture = np.asarray(draw_cells(blank(480, 640), [cell]))
    assert (picture[y + 12 : y + 88, x + 12 : x + 88] == 230).all()


def test_a_crowded_field_keeps_every_box_and_the_labels_that_fit() -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(0, (1200, 700), (500, 2)).tolist()
    cells = [{"box": [x, y, x + 30, y + 30], "score": 0.5, "at_edge": x == 0} for x, y in corners]
    picture = draw_cells(blank(730, 1230), cells)
    assert count(picture, COLOURS[0]) > 500 * 20


def test_a_picture_is_named_for_its_image_and_no_other(tmp_path: Path) -> None:
    paths = [
        "a/x.png",
        "b/x.png",
        "b/x.jpg",
        "z.zip/x.png",
        "..",
        "\udce9\n.png",
        "A/x.png",
        "é" * 90,
    ]
    names = {write_picture(tmp_path, path, blank(40, 40), []).name for path in paths}
    assert len(names) == len(paths)
    assert all(len(name) < 80 and "/" not in name for name in names)
    assert {path.name for path in tmp_path.iterdir()} == names  # none is left half-written
    assert flat_name("a/x.png", ".jpg").startswith("x-")


def test_what_is_longer_than_jpeg_allows_is_png(tmp_path: Path) -> None:
    for name, image, kind in (("a", blank(40, 40), "JPEG"), ("long", blank(16, 66_000), "PNG")):
        with Image.open(write_picture(tmp_path, name, image, [])) as picture:
            assert picture.format == kind

"""What napari is given of a smear: layer data and a table; no window is needed."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from wbczoo_datasets.fields import render_field

from napari_wbczoo import answer_smear, make_layer, write_table
from napari_wbczoo.layers import COLUMNS, to_rgb

ROWS = [
    {"class": "monocyte", "probability": 0.9, "flags": "", "left": 10, "top": 20, "right": 50,
     "bottom": 80},
    {"class": "neutrophil", "probability": 0.4, "flags": "unsure at-edge", "left": 0, "top": 0,
     "right": 20, "bottom": 30},
]  # fmt: skip


@pytest.fixture(scope="module")
def field() -> np.ndarray:
    return render_field(3, np.random.default_rng(4), magnification=0.7).image


def test_each_cell_of_a_smear_has_a_box_a_class_and_flags(field: np.ndarray) -> None:
    rows = answer_smear(field, "leukocyte-nano")
    assert len(rows) >= 1
    for row in rows:
        assert tuple(row) == COLUMNS
        assert 0 <= row["left"] < row["right"] <= field.shape[1]
        assert 0 <= row["top"] < row["bottom"] <= field.shape[0]
        assert 0 <= row["probability"] <= 1
    again = answer_smear(np.dstack([field, field[..., 0]]), "leukocyte-nano")  # RGBA
    assert again == rows


def test_a_field_without_cells_gives_an_empty_layer() -> None:
    blank = np.full((120, 160, 3), 235, np.uint8)
    rows = answer_smear(blank, "leukocyte-nano")
    assert rows == []
    assert len(make_layer(rows)[0]) == len(make_layer(rows, "points")[0]) == 0


def test_layers_have_rows_first_and_say_class_and_flags() -> None:
    corners, about, kind = make_layer(ROWS)
    assert kind == "shapes"
    assert corners[0].tolist() == [[20, 10], [20, 50], [80, 50], [80, 10]]
    assert about["features"]["label"] == ["monocyte 0.90", "neutrophil ?"]
    assert len(set(about["edge_color"])) == 2
    centres, about, kind = make_layer(ROWS, "points")
    assert kind == "points"
    assert centres.tolist() == [[50, 30], [15, 10]]


def test_the_table_has_all(tmp_path: Path) -> None:
    write_table(ROWS, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as stream:
        found = [*csv.DictReader(stream)]
    assert [row["flags"] for row in found] == ["", "unsure at-edge"]
    assert found[0] == {name: str(value) for name, value in ROWS[0].items()}


def test_what_is_no_smear_is_said() -> None:
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.uint16)):
        with pytest.raises(ValueError, match="a smear is"):
            to_rgb(wrong)
    assert to_rgb(np.ones((2, 2, 3)))[0, 0].tolist() == [255, 255, 255]
    with pytest.raises(ValueError, match="no task 'blood'"):
        answer_smear(np.zeros((40, 40, 3), np.uint8), "leukocyte-nano", task="blood")

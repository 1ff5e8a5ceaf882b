"""Whole fields are drawn with as many white cells as asked, each with its true box."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wbczoo.errors import UsageError
from wbczoo_datasets.fields import render_field
from wbczoo_datasets.synthetic import SYNTHETIC


@pytest.mark.parametrize("cells", [0, 1, 50])
def test_a_field_has_so_many_boxed_cells_at_its_magnification(cells: int) -> None:
    field = render_field(cells, np.random.default_rng(cells), magnification=0.2)
    assert (field.image.shape, field.image.dtype) == ((480, 640, 3), np.uint8)
    assert len(field.boxes) == len(field.classes) == cells
    for left, top, right, bottom in field.boxes:
        assert 0 <= left < right <= 640
        assert 0 <= top < bottom <= 480
        assert max(right - left, bottom - top) <= 0.2 * 232 + 1
        inside = field.image[round(top) : round(bottom), round(left) : round(right)]
        # Chromatin takes more green than anything else, wherever the cell is cut.
        assert inside[..., 1].min() < 110
    assert field.red


def test_a_lamp_colours_the_field_and_moves_no_cell() -> None:
    plain, lit = (
        render_field(5, np.random.default_rng(3), magnification=0.5, lamp=lamp)
        for lamp in ((1, 1, 1), (1, 1, 0.8))
    )
    assert plain.boxes == lit.boxes
    assert np.median(lit.image[..., 2] / plain.image[..., 2]) == pytest.approx(0.8, abs=0.02)
    assert np.median(lit.image[..., 0] / plain.image[..., 0]) == pytest.approx(1, abs=0.02)


def test_a_set_of_fields_tells_its_cells(tmp_path: Path) -> None:
    assert SYNTHETIC.prepare is not None
    root = tmp_path / "fields"
    drawn = {"photographs": 8, "seed": 1, "cells_per_field": "0..6", "magnification": "0.2..0.5"}
    SYNTHETIC.prepare(root, **drawn)
    samples = list(SYNTHETIC.samples(root))
    assert len(samples) == 8
    assert {sample.split for sample in samples} == {"train", "test"}
    for sample in samples:
        assert sample.part == "photographs"
        assert sample.boxes is not None
        assert len(sample.boxes) == len(sample.label.split(", ") if sample.label else [])
        assert sample.box == (sample.boxes[0] if len(sample.boxes) == 1 else None)
    assert len({len(sample.boxes or ()) for sample in samples}) > 2
    again = tmp_path / "again"
    SYNTHETIC.prepare(again, **drawn)
    assert list(SYNTHETIC.samples(again)) == samples
    SYNTHETIC.prepare(root, photographs=8, views=1)  # an earlier set of fields may be replaced
    assert {sample.part for sample in SYNTHETIC.samples(root)} == {"augmented"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"cells_per_field": "51"},
        {"cells_per_field": "many"},
        {"cells_per_field": "5..2"},
        {"cells_per_field": "5", "magnification": "0"},
        {"magnification": "1"},
    ],
)
def test_a_field_that_cannot_be_is_refused(wrong: dict[str, str], tmp_path: Path) -> None:
    assert SYNTHETIC.prepare is not None
    with pytest.raises(UsageError, match=next(reversed(wrong))):
        SYNTHETIC.prepare(tmp_path / "fields", **wrong)
    assert not list(tmp_path.iterdir())

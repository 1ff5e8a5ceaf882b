"""White cells are found in real photographs: those of BCCD, whose boxes were drawn by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from wbczoo import images
from wbczoo.bench.locating import Located, measure_locating
from wbczoo.cells import find
from wbczoo.cells.crop import best_cell, crop_best_cell

if TYPE_CHECKING:
    from wbczoo.data.samples import Rows


@pytest.mark.archive
def test_nearly_every_annotated_cell_is_found_once(bccd_rows: Rows) -> None:
    """Every sixth photograph with one annotated cell; others are measured by the tool."""
    rows = [s for s in bccd_rows.samples if s.part == "photographs" and s.box is not None][::6]
    located = []
    for sample in rows:
        image = images.decode(bccd_rows.source.read(sample.path))
        found = [cell.box for cell in find(np.asarray(image))]
        assert sample.box is not None
        located.append(Located([sample.box], found, sample.group, sample.label))
    figures = measure_locating(located, resamples=1)
    assert len(rows) > 50
    assert figures["iou 0.5"]["recall"]["value"] >= 0.95
    assert figures["centre"]["precision"]["value"] >= 0.95


@pytest.mark.archive
def test_the_crop_shows_the_annotated_cell(bccd_rows: Rows) -> None:
    """Every twelfth photograph with one annotated cell, whose middle lies in the crop's middle."""
    rows = [s for s in bccd_rows.samples if s.part == "photographs" and s.box is not None][::12]
    missed = 0
    for sample in rows:
        image = np.asarray(images.decode(bccd_rows.source.read(sample.path)))
        assert sample.box is not None
        left, top, right, bottom = sample.box
        shown = best_cell(find(image)).box
        x, y = (shown[0] + shown[2]) / 2, (shown[1] + shown[3]) / 2
        missed += not (left < x < right and top < y < bottom)
        crop = crop_best_cell(image)
        assert len(crop) == round(1.5 * max(shown[2] - shown[0], shown[3] - shown[1]))
    assert len(rows) > 25
    assert missed <= 1

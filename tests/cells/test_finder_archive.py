"""White cells are found in real photographs: those of BCCD, whose boxes were drawn by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from wbczoo import images
from wbczoo.bench.locating import Located, measure_locating
from wbczoo.cells import find

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

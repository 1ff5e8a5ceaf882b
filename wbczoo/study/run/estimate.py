"""How long cells will take, from what done cells took, or from rough figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wbczoo.study.plan.plan import Cell

# Rough figures of a machine of two cores: images that training sees in a second, of branches and
# of what trains from images. They only serve until a study has done cells of its own.
_BRANCH = {8: 160.0, 16: 220.0}
_IMAGES = 12.0
_HEADS = 15.0  # seconds of one cell among many
_BASELINE = 300.0

# Training images of one epoch, all folds together, where nothing is known yet.
_TRAINING = {"report": 10_000, "official": 8_500, "grouped": 1_200, "external": 9_000}


def seconds_of(cells: Sequence[Cell], rows: Sequence[Mapping[str, Any]]) -> float:
    """Seconds that cells will take in one process.

    Args:
        rows: done cells. The nearest tells: of the same model, protocol and batch size, else of
            the same model and protocol, else of the same way and protocol; each scaled by epochs.
    """
    return sum(_one(cell, rows) for cell in cells)


def _one(cell: Cell, rows: Sequence[Mapping[str, Any]]) -> float:
    kind = cell.how
    near: list[list[float]] = [[], [], []]
    for row in rows:
        done = row["settings"]
        if row["how"] != kind or done["protocol"] != cell.protocol:
            continue
        seconds = row["seconds"] * (cell.epochs or 1) / (done["epochs"] or 1)
        alike = row["model"] == cell.model
        near[2].append(seconds)
        if alike:
            near[1].append(seconds)
        if alike and done["batch_size"] == cell.batch_size:
            near[0].append(seconds)
    for found in near:
        if found:
            return sum(found) / len(found)
    images = _TRAINING[cell.protocol] * (cell.epochs or 1)
    return {
        "cached heads": _HEADS,
        "baseline": _BASELINE,
        "cached branch": images / _BRANCH.get(cell.batch_size or 8, 200.0),
        "images": images / (_BRANCH.get(cell.batch_size or 8, 200.0)
                            if cell.backbone == "none" else _IMAGES),
    }[kind]  # fmt: skip

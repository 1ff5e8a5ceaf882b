"""Data sets become fields here: images of which all white cells are known, or that have none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wbczoo import images
from wbczoo.data.samples import Rows, read_rows
from wbczoo.errors import WbczooError
from wbczoo.images import Pixels
from wbczoo.images.tree import Tree, Trees
from wbczoo.registry import datasets
from wbczoo.specs import Box, Sample, Split
from wbczoo.tasks import LEUKOCYTE

_NO_WHITE_CELL = ("platelet", "not_a_cell")


@dataclass(frozen=True)
class Field:
    """An image of a data set, and what is known of its white cells.

    Attributes:
        source, path: where it lies.
        boxes: of all its white cells.
        group: what the image must stay together with.
        label: as the data set writes it.
        split: that the data set publishes, if it does.
    """

    source: Tree | Trees
    path: str
    boxes: tuple[Box, ...]
    group: str
    label: str
    split: Split | None = None

    def read(self) -> Pixels:
        """The image, uint8 RGB (H, W, 3); ImageRefused says why there is none."""
        return images.decode(self.source.read(self.path))


@dataclass(frozen=True)
class Fields:
    """Those of one data set.

    Attributes:
        name: the data set's.
        unit: what a group is at least.
        boxed: images that somebody boxed; a field without a white cell is among them too.
        others: images that were labelled as something else than a white cell.
    """

    name: str
    unit: str
    boxed: list[Field]
    others: list[Field]


def read_fields(name: str, root: Path) -> Fields:
    """The fields of a data set.

    Raises:
        UsageError: if there is no such data set, or `root` is none.
        WbczooError: if it knows no box.
    """
    rows = read_rows(datasets.spec(name), root)
    known = [_all_boxes(sample) for sample in rows.samples]
    boxed = [_field(rows, row, boxes) for row, boxes in enumerate(known) if boxes is not None]
    if not boxed:
        raise WbczooError(
            f"The data set {name!r} in {root} knows of no image where all its white cells are, "
            "so nothing can be measured on it."
        )
    others = [
        _field(rows, row, ())
        for row, sample in enumerate(rows.samples)
        if sample.boxes is None and rows.class_of(LEUKOCYTE, row) in _NO_WHITE_CELL
    ]
    return Fields(name, rows.unit, boxed, others)


def _all_boxes(sample: Sample) -> tuple[Box, ...] | None:
    only = None if sample.box is None else (sample.box,)
    return only if sample.boxes is None else sample.boxes


def _field(rows: Rows, row: int, boxes: tuple[Box, ...]) -> Field:
    sample = rows.samples[row]
    return Field(rows.source, sample.path, boxes, rows.groups[row], sample.label, sample.split)

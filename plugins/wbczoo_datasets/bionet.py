"""Bio-Net: whole fields of one laboratory in Lahore, for testing and measuring only."""

from __future__ import annotations

from functools import cache
from pathlib import Path, PurePosixPath
from typing import cast

from wbczoo.errors import UsageError, WbczooError, some
from wbczoo.images.tree import Tree
from wbczoo.specs import Box, DatasetSpec, Sample
from wbczoo_datasets.boxes import read_boxes, read_table, the_only
from wbczoo_datasets.labels import CELLS, LABELS

_TABLE = "bionet.csv"


def samples(root: Path) -> list[Sample]:
    """The samples of `<class>/*.jpg`, in a folder or a zip file, as far as the table knows them.

    Fields of 640x480 with one label each. The same cell was photographed many times: the table
    ties fields that look alike into groups, and has the boxes of the white cells of most. A few
    boxes are red cells.

    Raises:
        UsageError: if `root` is not there or has no such file.
        WbczooError: if the table does not know some files' groups.
    """
    tree = Tree(root)
    paths = [PurePosixPath(name) for name in tree.images()]
    paths = [path for path in paths if path.parent.name in CELLS]
    known = [path for path in paths if path.stem in _groups()]
    if not known:
        raise UsageError(
            f"{root} is not Bio-Net: expected class folders such as neutrophil with files such as "
            f"1776-951a11.jpg; found {some(tree.names)}."
        )
    if strange := [str(path) for path in paths if path.stem not in _groups()]:
        raise WbczooError(
            f"{len(strange)} files in {root} are not of the sample of Bio-Net whose like fields "
            f"are known: {some(strange)}. Remove them; a split that does not know which fields "
            "show one cell would leak."
        )
    boxes = cast(dict[str, tuple[Box, ...]], _boxes())
    return [
        Sample(
            path=str(path),
            label=path.parent.name,
            photograph=path.stem,
            group=_groups()[path.stem],
            box=the_only(boxes.get(path.stem)),
            boxes=boxes.get(path.stem),
        )
        for path in known
    ]


@cache
def _groups() -> dict[str, str]:
    return {row["file"]: row["group"] for row in read_table(_TABLE)}


@cache
def _boxes() -> dict[str, tuple[tuple[int, ...], ...]]:
    return {
        file: tuple(tuple(map(int, box)) for box in boxes)
        for file, boxes in read_boxes(_TABLE).items()
    }


BIONET = DatasetSpec(
    name="bionet",
    licence="none stated: for testing and measuring only; nothing trained on it is published",
    samples=samples,
    unit="photograph",
    confounded="the lamp's colour goes with the class, so that a field without its cell tells it",
    labels=LABELS,
    citation="Bio-Net: fields of blood smears of a laboratory in Lahore, Olympus BX53.",
)

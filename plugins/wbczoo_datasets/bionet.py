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


def samples(root: Path, groups: int = 2) -> list[Sample]:
    """The samples of `<class>/*.jpg`, in a folder or a zip file, as far as the table knows them.

    Fields of 640x480 with one label each. The same cell was photographed many times, turned and
    mirrored. A group holds the fields that show one cell or the same part of a slide: the first
    version of `groups` ties eight fields, the second all that docs/data.md tells of. The table
    has the boxes of the white cells of most fields. A few boxes are red cells.

    Raises:
        UsageError: if `root` is not there or has no such file, or there is no such version of the
            groups.
        WbczooError: if the table does not know some files' groups.
    """
    if groups not in (1, 2):
        raise UsageError(f"Bio-Net's groups have the versions 1 and 2, and not {groups}.")
    group_of = _groups(groups)
    tree = Tree(root)
    paths = [PurePosixPath(name) for name in tree.images()]
    paths = [path for path in paths if path.parent.name in CELLS]
    known = [path for path in paths if path.stem in group_of]
    if not known:
        raise UsageError(
            f"{root} is not Bio-Net: expected class folders such as neutrophil with files such as "
            f"1776-951a11.jpg; found {some(tree.names)}."
        )
    if strange := [str(path) for path in paths if path.stem not in group_of]:
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
            group=group_of[path.stem],
            box=the_only(boxes.get(path.stem)),
            boxes=boxes.get(path.stem),
        )
        for path in known
    ]


@cache
def _groups(version: int) -> dict[str, str]:
    """File name without suffix -> group; the second were made by tools/make_bionet_groups.py."""
    return {row["file"]: row[f"groups_{version}"] for row in read_table(_TABLE)}


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
    options={"groups": 2},
    formerly={"groups": 1},
    unit="photograph",
    confounded="the lamp's colour goes with the class, so that a field without its cell tells it",
    labels=LABELS,
    citation="Bio-Net: fields of blood smears of a laboratory in Lahore, Olympus BX53.",
)

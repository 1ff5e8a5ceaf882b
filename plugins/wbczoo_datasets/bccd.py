"""The BCCD photographs and their augmented views, each view tied to its photograph by a table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast
from xml.etree import ElementTree

from wbczoo.errors import ImageRefused, UsageError, WbczooError, some
from wbczoo.images.tree import Tree
from wbczoo.specs import Box, DatasetSpec, Sample, Split
from wbczoo_datasets.boxes import read_table, the_only
from wbczoo_datasets.labels import LABELS

_VIEW = re.compile(r"(?:^|/)((TRAIN|TEST|TEST_SIMPLE)/([A-Z]+)/[^/]+\.jpe?g)$")
_PHOTOGRAPH = re.compile(r"(?:^|/)BloodImage_(\d+)\.jpg$")
_ANNOTATION = re.compile(r"(?:^|/)BloodImage_(\d+)\.xml$")


@dataclass(frozen=True, slots=True)
class _Photograph:
    label: str
    split: Split | None
    group: str


def samples(root: Path, groups: int = 2) -> list[Sample]:
    """The samples of the published archive, as the zip file or unpacked, or of either half.

    A view (`images/TRAIN`, `TEST`, `TEST_SIMPLE`) carries its folder's label, and the photograph
    that it was made from by feature matching (at least 65 inliers for each; the `k` in
    `_k_1234.jpeg` says nothing). A group holds the photographs that show the same field; the
    second version of `groups` holds those of the first, and the twelve pairs that
    docs/dataset-audit.md found later. A photograph carries its label as published, with several
    cells as `NEUTROPHIL, EOSINOPHIL`, and the boxes of its white cells, which are none or several
    too, where it was annotated.
    Parts: `augmented` and `simple` (views of 320x240), `photographs` (640x480).

    Raises:
        UsageError: if `root` is not there or holds nothing of the archive, or there is no such
            version of the groups.
        WbczooError: if a file is not one of the published ones, stands there twice, or an
            annotation cannot be read.
    """
    if groups not in (1, 2):
        raise UsageError(f"BCCD's groups have the versions 1 and 2, and not {groups}.")
    tree = Tree(root)
    names = tree.names
    found: list[tuple[str, Sample]] = []
    strange: list[str] = []
    boxes = _read_boxes(tree)
    table = _photographs(groups)
    for name in names:
        if view := _VIEW.search(name):
            key, folder, label = view.groups()
            photograph = _augmented().get(key, "")
            part = "simple" if folder == "TEST_SIMPLE" else "augmented"
            split: Split | None = "train" if folder == "TRAIN" else "test"
            seen = None
        elif match := _PHOTOGRAPH.search(name):
            photograph = key = str(int(match[1]))
            part = "photographs"
            known = table.get(photograph)
            label, split = (known.label, known.split) if known else ("", None)
            seen = boxes.get(photograph)
        else:
            continue
        if photograph not in table:
            strange.append(name)
            continue
        group = table[photograph].group
        sample = Sample(name, label, photograph, group, split, part, the_only(seen), seen)
        found.append((key, sample))
    if strange:
        raise WbczooError(
            f"{len(strange)} files in {root} are not of the published BCCD archive, so nobody "
            f"knows their photographs: {some(strange)}. Remove them, or fetch the archive again; "
            "pictures of your own go through --dataset folder."
        )
    if not found:
        raise UsageError(
            f"{root} is not the BCCD archive: expected images/TRAIN/EOSINOPHIL/*.jpeg and the "
            "like, or JPEGImages/BloodImage_*.jpg, in a folder or a zip file; "
            f"found {some(names)}."
        )
    _refuse_copies(root, found)
    return [sample for _, sample in found]


def _refuse_copies(root: Path, found: Iterable[tuple[str, Sample]]) -> None:
    seen: dict[str, str] = {}
    for key, sample in found:
        if key in seen:
            raise WbczooError(
                f"{root} holds the archive twice: {seen[key]} and {sample.path} are the same "
                "file. Point at one of the copies."
            )
        seen[key] = sample.path


def _read_boxes(tree: Tree) -> dict[str, tuple[Box, ...]]:
    """Photograph -> the boxes of its annotated white cells."""
    boxes = {}
    for name in filter(_ANNOTATION.search, tree.names):
        try:
            objects = ElementTree.fromstring(tree.read(name)).iter("object")
            cells = tuple(_box(cell) for cell in objects if cell.findtext("name") == "WBC")
        except (ElementTree.ParseError, ImageRefused, ValueError) as error:
            raise WbczooError(
                f"The annotation {name} in {tree.root} cannot be read ({error}); fetch it again."
            ) from None
        number = cast(re.Match[str], _ANNOTATION.search(name))[1]
        boxes[str(int(number))] = cells
    return boxes


def _box(cell: ElementTree.Element) -> Box:
    sides = ("xmin", "ymin", "xmax", "ymax")
    left, top, right, bottom = (int(cell.findtext(f"bndbox/{side}", "")) for side in sides)
    return left, top, right, bottom


@cache
def _augmented() -> Mapping[str, str]:
    """`TRAIN/EOSINOPHIL/_0_1169.jpeg` -> photograph; made by tools/make_bccd_table.py."""
    return {row["file"]: row["photograph"] for row in read_table("bccd_augmented.csv")}


@cache
def _photographs(groups: int) -> Mapping[str, _Photograph]:
    """Photograph -> what is known of it; made by tools/make_bccd_table.py."""
    return {
        row["photograph"]: _Photograph(
            row["label"], cast(Split | None, row["split"] or None), row[f"groups_{groups}"]
        )
        for row in read_table("bccd_photographs.csv")
    }


BCCD = DatasetSpec(
    name="bccd",
    licence="MIT",
    reference="https://github.com/Shenggan/BCCD_Dataset",
    samples=samples,
    options={"groups": 2},
    formerly={"groups": 1},
    unit="photograph",
    labels=LABELS,
    url="https://github.com/Shenggan/BCCD_Dataset",
    citation=(
        "Shenggan: BCCD Dataset, https://github.com/Shenggan/BCCD_Dataset (MIT); "
        "augmented views, Blood Cell Images: D. Parthasarathy, 2017."
    ),
)

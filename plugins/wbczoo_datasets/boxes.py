"""The tables that ship beside the data sets are read here, and their boxes become pixels."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath

from wbczoo.errors import ImageRefused
from wbczoo.images.tree import Tree
from wbczoo.specs import Box

Shares = tuple[float, float, float, float]  # left, top, right, bottom

_SIDES = ("left", "top", "right", "bottom")


def read_table(name: str) -> list[dict[str, str]]:
    """The rows of a table in this package."""
    with Path(__file__).with_name(name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@cache
def read_boxes(name: str) -> Mapping[str, tuple[Shares, ...]]:
    """File name without suffix -> the boxes that a table of this package has of it."""
    boxes: dict[str, list[Shares]] = defaultdict(list)
    for row in read_table(name):
        if row["left"]:
            left, top, right, bottom = (float(row[side]) for side in _SIDES)
            boxes[row["file"]].append((left, top, right, bottom))
    return {file: tuple(found) for file, found in boxes.items()}


def in_pixels(tree: Tree, name: str, table: str) -> tuple[Box, ...] | None:
    """A file's boxes, which a table has as shares of width and height, in pixels of the file.

    Its header alone is read, and only where there are boxes. None where there are none, or the
    file is no image; whoever reads it then refuses it.
    """
    from PIL import Image

    shares = read_boxes(table).get(PurePosixPath(name).stem)
    if shares is None:
        return None
    try:
        with Image.open(io.BytesIO(tree.read(name))) as image:
            sizes = (*image.size, *image.size)
    except (ImageRefused, OSError):
        return None
    return tuple(_rounded(box, sizes) for box in shares)


def _rounded(box: Shares, sizes: tuple[int, int, int, int]) -> Box:
    left, top, right, bottom = (round(share * size) for share, size in zip(box, sizes, strict=True))
    return left, top, right, bottom


def the_only(boxes: tuple[Box, ...] | None) -> Box | None:
    """The box of a file that shows one white cell."""
    return boxes[0] if boxes and len(boxes) == 1 else None

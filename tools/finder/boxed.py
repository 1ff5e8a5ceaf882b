"""The sets of images with boxes around white cells, read from the archives beside the checkout.

The data sets' plugins know the same images. They round boxes to whole pixels and know no red cell,
so that a network trained by them would be another one.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]

_NOT_ALONE = "PLATELET_705601.jpg"  # half a neutrophil is beside this platelet
SIDES = ("left", "top", "right", "bottom")


@dataclass(frozen=True)
class Boxed:
    """One image of a set, with the boxes of its white cells in pixels, and of red ones if known."""

    archive: Path
    name: str
    boxes: tuple[Box, ...]
    red: tuple[Box, ...] = ()

    def read(self) -> Pixels:
        """The image, uint8 RGB (H, W, 3)."""
        content = _opened(self.archive).read(self.name)
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@cache
def _opened(path: Path) -> zipfile.ZipFile:
    """The archive, its table of contents read once."""
    return zipfile.ZipFile(path)


def read_sets(data: Path) -> dict[str, list[Boxed]]:
    """Every image that trains and whose white cells were boxed: of `bccd`, `raabin` and `pbc`.

    The rows of a table without a box are left out: those images do show a cell.
    """
    return {
        "bccd": list(_bccd(data)),
        "raabin": _table(data / "raabin-sample.zip", data / "raabin-sample.csv"),
        "pbc": _table(data / "pbc-sample.zip", data / "pbc-boxes.csv"),
    }


def read_platelets(data: Path) -> list[Boxed]:
    """The images of PBC that were taken of a platelet, and show no white cell."""
    path = data / "pbc-sample.zip"
    names = sorted(n for n in _opened(path).namelist() if "/platelet/" in n and n.endswith(".jpg"))
    return [Boxed(path, n, ()) for n in names if not n.endswith(_NOT_ALONE)]


def _bccd(data: Path) -> Iterator[Boxed]:
    path = data / "blood-cells.zip"
    with (data / "bccd-photographs.csv").open(encoding="utf-8", newline="") as stream:
        known = {int(row["source_id"]) for row in csv.DictReader(stream)}
    archive = _opened(path)
    for name in sorted(archive.namelist()):
        match = re.search(r"BloodImage_(\d+)\.xml$", name)
        if not match or int(match[1]) not in known:
            continue
        cells = list(ElementTree.fromstring(archive.read(name)).iter("object"))
        white, red = (
            tuple(_voc(cell) for cell in cells if cell.findtext("name") == kind)
            for kind in ("WBC", "RBC")
        )
        image = name.replace("Annotations", "JPEGImages").replace(".xml", ".jpg")
        yield Boxed(path, image, white, red)


def _voc(cell: ElementTree.Element) -> Box:
    sides = ("xmin", "ymin", "xmax", "ymax")
    left, top, right, bottom = (float(cell.findtext(f"bndbox/{side}", "")) for side in sides)
    return left, top, right, bottom


def _table(path: Path, table: Path) -> list[Boxed]:
    """The boxes are shares of the image's sides."""
    shares: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    with table.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["left"]:
                shares[row["file"]].append(tuple(float(row[side]) for side in SIDES))
    found = []
    for name, boxes in shares.items():
        width, height = Image.open(io.BytesIO(_opened(path).read(name))).size
        pixels = tuple((b[0] * width, b[1] * height, b[2] * width, b[3] * height) for b in boxes)
        found.append(Boxed(path, name, pixels))
    return found

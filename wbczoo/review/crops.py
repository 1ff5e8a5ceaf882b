"""Each cell of a review as a small picture, all at one scale, in one file to be read at random."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wbczoo import files, images
from wbczoo.cells.crop import WIDTHS
from wbczoo.errors import ImageRefused, WbczooError
from wbczoo.images import Pixels
from wbczoo.images.walk import Found
from wbczoo.review.cells import Box, read_bytes
from wbczoo.runtime.batches import ahead
from wbczoo.runtime.devices import cores

SIDE = 128  # pixels of a crop
_PACK, _INDEX = "crops.bin", "crops.json"
_USUAL = 0.95  # of all cells, those that a crop shows whole
_OUTSIDE = (222, 222, 222)  # beyond the photograph's frame


class Crops:
    """The pictures that `write_crops` wrote.

    Attributes:
        side: pixels of a photograph that a crop is wide; none where it is a whole photograph.
    """

    def __init__(self, folder: Path) -> None:
        index = files.read_json(folder / _INDEX)
        self.side: int | None = index["side"]
        self._ends: list[int] = index["ends"]
        self._pack = (folder / _PACK).open("rb")
        self._lock = threading.Lock()

    def read(self, cell: int) -> bytes:
        """A cell's picture, as JPEG."""
        begin = self._ends[cell - 1] if cell else 0
        with self._lock:
            self._pack.seek(begin)
            return self._pack.read(self._ends[cell] - begin)

    def close(self) -> None:
        """Let go of the file."""
        self._pack.close()


def has_crops(folder: Path, cells: int) -> bool:
    """Whether the pictures of so many cells are there."""
    try:
        return len(files.read_json(folder / _INDEX)["ends"]) == cells
    except (WbczooError, KeyError, TypeError):
        return False


def measure(image: Found, boxes: Sequence[Box | None], side: int | None) -> dict[str, Any]:
    """What a review keeps of a photograph, and its cells' pictures.

    Args:
        boxes: of its cells; None for the whole photograph.
        side: of crops, in pixels of the photograph.

    Returns:
        `sha256`, `width`, `height`, `crops` (JPEG of each box); or `sha256` and `error`.
    """
    content = b""
    try:
        content = read_bytes(image)
        pixels = images.decode(content)
    except ImageRefused as refusal:
        return {"sha256": hashlib.sha256(content).hexdigest(), "error": str(refusal)}
    height, width = pixels.shape[:2]
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "width": width,
        "height": height,
        "crops": [crop(pixels, box, side) for box in boxes],
    }


def write_crops(
    folder: Path,
    photographs: Sequence[tuple[Found, Sequence[Box | None]]],
    advance: Callable[[int], object],
) -> list[Mapping[str, Any]]:
    """Write each cell's picture into a folder, and measure the photographs on the way.

    Args:
        photographs: with the boxes of their cells, as of `measure`.
        advance: is told of each photograph that is done.

    Returns:
        what `measure` gives of each photograph, without its crops.
    """
    side = usual_side([box for _, boxes in photographs for box in boxes if box])
    told, ends, end = list[Mapping[str, Any]](), list[int](), 0

    def look(shown: tuple[Found, Sequence[Box | None]]) -> dict[str, Any]:
        return measure(*shown, side)

    with files.written_aside(folder / _PACK) as aside, aside.open("wb") as pack:
        for found in ahead(photographs, look, workers=cores(), window=cores() + 1):
            for crop in found.pop("crops", ()):
                pack.write(crop)
                end += len(crop)
                ends.append(end)
            told.append(found)
            advance(1)
    files.write_json(folder / _INDEX, {"side": side, "ends": ends})
    return told


def usual_side(boxes: Sequence[Box]) -> int | None:
    """The side of all crops, in pixels of the photographs: nearly all cells fit with a margin."""
    if not boxes:
        return None
    longer = [max(right - left, bottom - top) for left, top, right, bottom in boxes]
    return max(1, round(WIDTHS["cell"] * float(np.quantile(longer, _USUAL))))


def cut(pixels: Pixels, box: Box, side: int) -> Image.Image:
    """A square of a photograph around a box, `side` pixels wide, in its own colours."""
    left, top, right, bottom = box
    across, down = (left + right - side) // 2, (top + bottom - side) // 2
    square = Image.new("RGB", (side, side), _OUTSIDE)
    seen = pixels[max(down, 0) : max(down + side, 0), max(across, 0) : max(across + side, 0)]
    square.paste(Image.fromarray(np.ascontiguousarray(seen)), (max(-across, 0), max(-down, 0)))
    return square


def as_jpeg(image: Image.Image, quality: int = 88) -> bytes:
    """A picture's bytes as JPEG."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def crop(pixels: Pixels, box: Box | None, side: int | None) -> bytes:
    """A cell's picture as JPEG; the whole photograph where there is no box."""
    if box is not None and side is not None:
        square = cut(pixels, box, side)
        return as_jpeg(square.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0))
    whole = Image.fromarray(pixels)
    whole.thumbnail((SIDE, SIDE))
    square = Image.new("RGB", (SIDE, SIDE), _OUTSIDE)
    square.paste(whole, ((SIDE - whole.width) // 2, (SIDE - whole.height) // 2))
    return as_jpeg(square)

"""A field's pixels and what was said of its cells become a picture with boxes and words."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wbczoo import files, images
from wbczoo.errors import ImageRefused
from wbczoo.images import Pixels
from wbczoo.runtime.batches import ahead
from wbczoo.runtime.cells import AT_EDGE
from wbczoo.runtime.devices import cores
from wbczoo.runtime.rows import Row

Told = tuple[int, images.Source, Row]
Writer = Callable[[str, Pixels, Sequence[Row]], object]
Rectangle = tuple[float, float, float, float]

# Okabe and Ito 2008, Color Universal Design: every kind of colour vision tells them apart. Each
# box and label carries its class in words too.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442")
_DARK = ("#0072B2", "#009E73", "#D55E00")  # on which white letters are read best

_SMALL = 320  # pixels of the shorter side; what has fewer is enlarged, else no word would fit
_WIDE = 1600  # pixels of the longer side that an enlarged image has at most
_LETTER = 11  # pixels of the smallest letters that are read
_JPEG = 65_500  # pixels a side that a JPEG file can have


def draw_cells(image: Pixels, cells: Sequence[Mapping[str, Any]]) -> Image.Image:
    """A picture of an image with a box around each cell, and beside it what is known of it.

    Lines and letters follow the sizes of the image and of its cells; an image of less than 320
    pixels a side is enlarged by a whole factor. Where labels would lie on one another, the surest
    cell's stays, and the others' boxes show their class by its colour.

    Args:
        image: uint8 RGB (H, W, 3).
        cells: rows of `predict` or cells of `locate`: each may have a `box` (left, top, right,
            bottom in pixels), `tasks` with answers, `flags` and a `score`. What has no box
            speaks of the whole image, and stands in its corner.

    Returns:
        RGB, of the image's size or a multiple of it.
    """
    height, width = image.shape[:2]
    factor = max(1, min(-(-_SMALL // min(height, width)), _WIDE // max(height, width)))
    # np.array: Pillow must not draw on the caller's pixels.
    picture = Image.fromarray(np.array(image))
    picture = picture.resize((width * factor, height * factor)) if factor > 1 else picture
    pen = ImageDraw.Draw(picture)
    boxes = [[factor * side for side in cell["box"]] for cell in cells if "box" in cell]
    letter = _letter_size(min(picture.size), boxes)
    font = ImageFont.load_default(letter)
    line = max(2, round(letter / 6))
    for cell in reversed(cells):  # the surest lies on top
        if "box" in cell:
            left, top, right, bottom = (factor * side for side in cell["box"])
            frame = (left, top, right - 1, bottom - 1)
            pen.rectangle(frame, outline="white", width=line + 2)
            inner = (left + 1, top + 1, max(right - 2, left + 1), max(bottom - 2, top + 1))
            pen.rectangle(inner, outline=colour_of(cell), width=line)
    taken: list[Rectangle] = []
    for cell in cells:
        words = _words(cell)
        if not words:
            continue
        left, top, right, bottom = pen.multiline_textbbox((0, 0), words, font, spacing=line)
        size = (right - left + 2 * line, bottom - top + 2 * line)
        box = [factor * side for side in cell.get("box", (0, 0, width, 0))]
        place = _free_place(box, size, picture.size, taken)
        if place is None:
            continue
        taken.append(place)
        colour = colour_of(cell)
        pen.rectangle(place, fill=colour)
        ink = "white" if colour in _DARK else "black"
        corner = (place[0] + line - left, place[1] + line - top)
        pen.multiline_text(corner, words, ink, font, spacing=line)
    return picture


def write_picture(
    folder: Path, path: str, image: Pixels, cells: Sequence[Mapping[str, Any]]
) -> Path:
    """Write `draw_cells` into a folder, under the name that stands for the image's path.

    It is a JPEG file, or PNG where the picture is longer than JPEG allows.
    """
    picture = draw_cells(image, cells)
    suffix = ".jpg" if max(picture.size) <= _JPEG else ".png"
    target = folder / files.flat_name(path, suffix)
    with files.written_aside(target) as aside:
        picture.save(aside, quality=90, subsampling=0)  # PNG takes no notice
    return target


def draw_rows(told: Iterable[Told], *writers: Writer) -> Iterator[Row]:
    """Write pictures of each image that was answered; its rows come once they are there.

    Args:
        told: an image's number, what it is read from, and a row of it; for each of its rows.
        writers: each is given an image's path, its pixels and its rows.
    """

    def draw(group: list[Told]) -> list[Row]:
        source, rows = group[0][1], [row for _, _, row in group]
        if "error" not in rows[0]:
            with contextlib.suppress(ImageRefused):  # it was taken away meanwhile
                image = images.decode(source)
                for write in writers:
                    write(rows[0]["path"], image, rows)
        return rows

    groups = ([*group] for _, group in groupby(told, key=itemgetter(0)))
    for rows in ahead(groups, draw, workers=cores(), window=cores() + 1):
        yield from rows


def _letter_size(shorter: int, boxes: Sequence[Sequence[float]]) -> int:
    """Letters so large that a class and its probability are about as wide as a cell."""
    wide = statistics.median(box[2] - box[0] for box in boxes) if boxes else shorter
    return round(min(max(wide / 5, _LETTER, shorter / 64), max(_LETTER, shorter / 20)))


def colour_of(cell: Mapping[str, Any]) -> str:
    """The colour of the class that the first task answered; a class has one in all pictures."""
    answer = next(iter(cell.get("tasks", {}).values()), None)
    if not answer or answer.get("class") is None:
        return COLOURS[0]
    return COLOURS[[*answer["probabilities"]].index(answer["class"]) % len(COLOURS)]


def _words(cell: Mapping[str, Any]) -> str:
    """Each class that a task answers with its probability, once, else the score; then the flags."""
    answers = [a for a in cell.get("tasks", {}).values() if a.get("class") is not None]
    # Of tasks that say the same the first speaks.
    classes = {answer["class"]: answer["probability"] for answer in reversed(answers)}
    lines = [f"{name} {classes[name]:.2f}" for name in dict.fromkeys(a["class"] for a in answers)]
    if not lines and "score" in cell:
        lines = [f"{cell['score']:.2f}"]
    flags = [*cell.get("flags", ())]
    if cell.get("at_edge"):
        flags.append(AT_EDGE)
    return "\n".join(lines + [", ".join(flags)] * bool(flags))


def _free_place(
    box: Sequence[float],
    size: tuple[float, float],
    frame: tuple[int, int],
    taken: Sequence[Rectangle],
) -> Rectangle | None:
    """Where a label goes: above its box, below it, or in it; none where others lie everywhere."""
    left, top, right, bottom = box
    wide, high = size
    tried = [(left, top - high), (left, bottom), (right - wide, top - high), (right - wide, bottom),
             (left, top), (left, bottom - high)]  # fmt: skip
    places = []
    for x, y in tried:
        x, y = max(0, min(x, frame[0] - wide)), max(0, min(y, frame[1] - high))
        places.append((x, y, x + wide, y + high))
    # The cell itself is covered only where nothing else is free.
    for avoided in ([*taken, (left, top, right, bottom)], taken):
        for place in places:
            if not any(_meet(place, other) for other in avoided):
                return place
    return None


def _meet(some: Rectangle, other: Rectangle) -> bool:
    return some[0] < other[2] and other[0] < some[2] and some[1] < other[3] and other[1] < some[3]

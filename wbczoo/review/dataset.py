"""Reviewed cells become a data set: a folder for each class, and what photographs they are of."""

from __future__ import annotations

import hashlib
import io
import shutil
from pathlib import PurePosixPath

from PIL import Image

from wbczoo import files, images
from wbczoo.errors import ImageRefused
from wbczoo.progress import tell
from wbczoo.review.added import seen_by_both
from wbczoo.review.cells import Cell, read_bytes
from wbczoo.review.crops import cut
from wbczoo.review.decisions import SKIPPED
from wbczoo.review.session import Review
from wbczoo.runtime.cells import FOUND, NO_CELL
from wbczoo.text import csv_line

CELLS = "cells"
TABLE = "cells.csv"
ERRORS = "errors.csv"  # truth and answer of each, as `differential --errors` takes them

_MARGIN = 1.5  # of a picture's side to its cell's: with more a finder takes a neighbour for it


def reviewed(review: Review) -> dict[int, str]:
    """Each cell that somebody decided, and its class; of two reviewers where both agree."""
    first, *rest = (slate.decided for slate in review.decisions.slates.values())
    agreed = {*first}
    if review.decisions.revealed:
        both = seen_by_both(review.cells, first, rest[0])
        agreed = {one for one, other in both.items() if first[one].to == rest[0][other].to}
    return {
        cell: first[cell].to
        for cell in sorted(agreed)
        if first[cell].to != SKIPPED and NO_CELL not in review.cells[cell].flags
    }


def write_cells(review: Review) -> int:
    """Write the reviewed cells as `cells/CLASS/NAME.png`, and `cells.csv` with their photographs.

    `errors.csv` has what each is and what the model answered.

    What an earlier signature wrote is replaced. A photograph that is no longer there, or whose
    bytes are others now, is left out aloud.

    Returns:
        how many there are.
    """
    labels = reviewed(review)
    by_photograph: dict[int, list[int]] = {}
    for cell in labels:
        by_photograph.setdefault(review.cells[cell].photograph, []).append(cell)
    folder = review.folder / CELLS
    aside = review.folder / f".{CELLS}"
    shutil.rmtree(aside, ignore_errors=True)
    lines = [csv_line(("file", "label", "photograph"))]
    for place, cells in by_photograph.items():
        photograph = review.prepared.photographs[place]
        try:
            pixels = read_photograph(review, place)
        except ImageRefused as refusal:
            tell(f"{photograph.path}: its {len(cells)} cells are left out of {folder}: {refusal}")
            continue
        for cell in cells:
            name = f"{labels[cell]}/{_name(photograph.path, review.cells[cell])}"
            stream = io.BytesIO()
            _picture(review, pixels, review.cells[cell]).save(stream, "PNG")
            files.write_bytes(aside / name, stream.getvalue())
            lines.append(csv_line((f"{CELLS}/{name}", labels[cell], photograph.path)))
    shutil.rmtree(folder, ignore_errors=True)
    if aside.exists():
        aside.rename(folder)
    errors = [csv_line(("truth", "answer", "photograph"))]
    for cell, label in labels.items():
        found = review.cells[cell]
        if found.added:  # of which the model answered nothing
            continue
        path = review.prepared.photographs[found.photograph].path
        errors.append(csv_line((label, found.proposed, path)))
    for name, table in ((ERRORS, errors), (TABLE, lines)):
        files.write_bytes(review.folder / name, "".join(table).encode("utf-8", "backslashreplace"))
    return len(lines) - 1


def read_photograph(review: Review, place: int) -> images.Pixels:
    """A photograph's pixels, as they were when the review began.

    Raises:
        ImageRefused: if it cannot be read, or has changed since.
    """
    photograph = review.prepared.photographs[place]
    content = read_bytes(review.prepared.images[photograph.path])
    if hashlib.sha256(content).hexdigest() != photograph.sha256:
        raise ImageRefused("The photograph is another one than when the review began.")
    return images.decode(content)


def _picture(review: Review, pixels: images.Pixels, cell: Cell) -> Image.Image:
    left, top, right, bottom = cell.box
    if review.prepared.begun["cells"] not in FOUND:
        return Image.fromarray(pixels)
    side = round(_MARGIN * max(right - left, bottom - top))
    return cut(pixels, cell.box, max(side, 16))


def _name(path: str, cell: Cell) -> str:
    stem = PurePosixPath(files.flat_name(path, ".png")).stem
    return f"{'-'.join(map(str, (stem, *cell.box)))}.png"

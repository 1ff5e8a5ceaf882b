"""Images become rows of the white cells that each shows; no model has a part in it."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from wbczoo import images
from wbczoo.cells import Found
from wbczoo.cells.crop import finder_sha256
from wbczoo.cells.finder import RULES, THRESHOLD
from wbczoo.errors import ImageRefused, UsageError
from wbczoo.images.archives.members import Member
from wbczoo.runtime.batches import Sources, ahead, several
from wbczoo.runtime.cells import NO_CELL, decode_and_find
from wbczoo.runtime.devices import cores
from wbczoo.runtime.drawing import write_picture
from wbczoo.runtime.output import Output
from wbczoo.runtime.part_file import Form, Watch, Written, table_line, whole_records, write_part
from wbczoo.runtime.rows import Count, Layout, Row, write_as, write_table

COLUMNS = ("path", "error", "width", "height", "cell", "left", "top", "right", "bottom",
           "score", "nucleus_area", "nucleus_diameter", "at_edge")  # fmt: skip


def locate(
    sources: Sources, *, least: float = THRESHOLD, workers: int | None = None
) -> list[dict[str, Any]]:
    """Find the white cells of images, whatever their magnification, stain and lamp.

    Args:
        sources: paths, bytes, Pillow images or uint8 arrays (H, W, 3), or one of them alone.
        least: the lowest score of a cell, in [0, 1].
        workers: images that are looked at at once; as many as there are cores if None.

    Returns:
        for each source `{"width": ..., "height": ..., "cells": [...]}`, the surest cell first,
        each `{"box": [left, top, right, bottom], "score": ..., "nucleus": {"area": ...,
        "diameter": ...}, "at_edge": ...}` in pixels of the upright image; or `{"error": reason}`
        if the image was refused.

    Raises:
        UsageError: if `least` is no score, or `workers` is below 1.
    """
    return list(_rows(several(sources), least, workers, None))


def locate_paths(
    paths: Iterable[str | Path | Member],
    *,
    least: float = THRESHOLD,
    workers: int | None = None,
    draw: Path | None = None,
) -> Iterator[Row]:
    """Find the white cells of image files and archives' members; few are in memory at a time.

    Args:
        least, workers: as of `locate`.
        draw: a folder to write a picture of each image with its cells into.

    Yields:
        for each path, in order, `{"path": ...}` and what `locate` gives.
    """
    yield from _rows(paths, least, workers, draw, named=True)


def _rows(
    sources: Iterable[images.Source],
    least: float,
    workers: int | None,
    draw: Path | None,
    *,
    named: bool = False,
) -> Iterator[Row]:
    if not 0 <= least <= 1:
        raise UsageError(f"The lowest score lies between 0 and 1; it was given {least}.")
    if workers is not None and workers < 1:
        raise UsageError(f"At least one image is looked at at once, not {workers}.")

    def look(source: images.Source) -> Row:
        row: Row = {"path": str(source)} if named else {}
        try:
            image, found, _ = decode_and_find(source, least)
        except ImageRefused as refusal:
            return {**row, "error": str(refusal)}
        height, width = image.shape[:2]
        cells = [describe(cell) for cell in found]
        if draw is not None:
            write_picture(draw, row["path"], image, cells or [{"flags": [NO_CELL]}])
        return {**row, "width": width, "height": height, "cells": cells}

    # The finder computes with one thread, so images are looked at side by side.
    workers = workers or cores()
    yield from ahead(sources, look, workers=workers, window=workers + 1)


def describe(cell: Found) -> dict[str, Any]:
    """A found cell as JSON has it."""
    return {
        "box": [*cell.box],
        "score": cell.score,
        "nucleus": {"area": cell.nucleus.area, "diameter": cell.nucleus.diameter},
        "at_edge": cell.at_edge,
    }


def write_cells(
    layout: Layout, rows: Iterable[Row], stream: TextIO, *, headed: bool = False, **how: Any
) -> Count:
    """Write a JSON line for each image, or a line of a table for each cell and each image without.

    Args:
        headed: a table's columns stand there already.
        how: as of `write_as`.
    """
    if layout == "jsonl":
        return write_as(layout, rows, (), stream, **how)
    return write_table(rows, () if headed else COLUMNS, _lines, stream, **how)


def write_located(
    out: str | os.PathLike[str],
    paths: Iterable[str | Member],
    *,
    layout: Layout,
    least: float = THRESHOLD,
    workers: int | None = None,
    draw: Path | None = None,
    compute: Callable[[Iterable[Any]], Iterator[Row]] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    watch: Watch,
) -> Written:
    """Find the white cells of images into a file, as `part_file.write_part` writes it.

    Args:
        out: as of `Output`.
        least, workers, draw: as of `locate_paths`; pictures are drawn of the images that are
            looked at.
        compute: what looks at them as `locate_paths` would, where that is not to be done here.
        watch: is given the number of images that are there, and yields what counts further ones.

    Raises:
        UsageError, WbczooError: as `write_part`, which knows rows of another finder, layout or
            lowest score.
    """
    if layout == "csv":
        form = Form(layout, COLUMNS, partial(write_cells, layout), _of_table, _whole_images)
    else:
        form = Form(layout, (), partial(write_cells, layout), _of_json)
    made_by = {
        "row format": layout,
        "finder": f"{RULES} {finder_sha256()}",
        "lowest score": least,
    }
    compute = compute or partial(locate_paths, least=least, workers=workers, draw=draw)
    return write_part(
        Output(out), paths, compute, form, made_by, resume=resume, overwrite=overwrite,
        watch=watch,
    )  # fmt: skip


def _of_json(row: Row) -> Row:
    if not {"cells", "error"} & row.keys():
        raise ValueError
    return row


def _of_table(values: Row) -> Row:
    return {name: values[name] for name in ("path", "error") if values[name]}


def _whole_images(stream: BinaryIO, layout: Layout) -> Iterator[bytes]:
    """The columns, then all lines of each image; the last image may lack cells and is left out."""
    lines = b""
    for place, record in enumerate(whole_records(stream, layout)):
        if place < 2 or _begins_image(record):
            if lines:
                yield lines
            lines = b""
        lines += record


def _begins_image(record: bytes) -> bool:
    try:
        return table_line(record, COLUMNS)["cell"] in ("", "1")
    except (ValueError, csv.Error):  # whoever reads it says so
        return True


def _lines(row: Row) -> Iterator[list[object]]:
    image = [row["path"], row.get("error", ""), row.get("width", ""), row.get("height", "")]
    for number, cell in enumerate(row.get("cells", ()), 1):
        nucleus = cell["nucleus"]
        yield [
            *image, number, *cell["box"], cell["score"], nucleus["area"], nucleus["diameter"],
            "true" if cell["at_edge"] else "false",
        ]  # fmt: skip
    if not row.get("cells"):
        yield image + [""] * (len(COLUMNS) - len(image))

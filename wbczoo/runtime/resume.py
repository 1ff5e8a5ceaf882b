"""Rows are on their way to a file here, and a run that was stopped goes on behind its last one."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, NoReturn

from wbczoo import files
from wbczoo.cells.crop import finder_sha256
from wbczoo.errors import UsageError, WbczooError
from wbczoo.images.file import claim_file
from wbczoo.images.walk import Found
from wbczoo.runtime.batches import BATCH
from wbczoo.runtime.cells import FOUND, NO_CELL, Cells, choose_cells
from wbczoo.runtime.predict import predict_paths
from wbczoo.runtime.rows import (
    BOX_COLUMNS,
    Count,
    Layout,
    Row,
    begins_image,
    count_row,
    csv_columns,
    further_columns,
    write_as,
)
from wbczoo.runtime.session import Session
from wbczoo.tasks import Task

Watch = Callable[[int], AbstractContextManager[Callable[[int], object]]]


@dataclass(frozen=True)
class Written:
    """What a call did: the images that it computed, and all whose rows stand in the file."""

    computed: int
    count: Count


def part_of(out: Path) -> Path:
    """Where the rows are until all are there."""
    return out.with_name(f"{out.name}.part")


def check_place(
    out: Path, *, resume: bool, overwrite: bool, inputs: Iterable[str | Path] = ()
) -> None:
    """Find out whether rows may be written to `out`; nothing is changed.

    Args:
        inputs: files that are read.

    Raises:
        UsageError: as `claim_file`; if it is there, and `overwrite` does
            not say to replace it; or if an interrupted run's rows are there, and neither `resume`
            nor `overwrite` says what becomes of them.
    """
    if resume and overwrite:
        raise UsageError("--resume goes on with the rows and --overwrite drops them; give one.")
    claim_file(out, "--out", overwrite=True, inputs=inputs)
    part = part_of(out)
    begun = part.exists() and part.stat().st_size > 0
    if overwrite:
        return
    if begun and not resume:
        raise UsageError(
            f"{part} holds the rows of a run that was interrupted. Give --resume to go on behind "
            "them, or --overwrite to begin anew."
        )
    if out.exists() and not begun:
        left = "is whole; nothing is left to resume" if resume else "is there already"
        raise UsageError(f"{out} {left}. Give --overwrite to replace it, or name another file.")


def write_rows(
    out: Path,
    session: Session,
    images: Iterable[Found],
    *,
    layout: Layout,
    batch_size: int = BATCH,
    workers: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    cells: Cells | None = None,
    draw: Path | None = None,
    watch: Watch,
) -> Written:
    """Answer images into a file, which appears when it is whole.

    Until then the rows are in `FILE.part`, and each is there as soon as it is answered. Beside it
    `FILE.part.json` tells what computed them. With `resume` the rows that are there stay, and the
    file ends in the same bytes as if nothing had stopped it: batches hold the same images as they
    would have, for an answer's last digits depend on what it was computed with.

    Args:
        cells: as `Session.answers` takes it.
        draw: as of `predict_paths`; of the images that are computed.
        watch: is given the number of images that are there, and yields what counts further ones.

    Raises:
        UsageError: as `check_place`; if another process writes there; if cells are asked of a
            model that knows none; or if the rows are those of other images or cells, another
            model, layout, batch size or device, or are damaged.
        WbczooError: if the file cannot be written; the rows so far are kept.
    """
    check_place(out, resume=resume, overwrite=overwrite)
    part, made_by = part_of(out), out.with_name(f"{out.name}.part.json")
    chosen = choose_cells(cells, session.file)
    now = {
        "model": files.sha256_of(session.path),
        "row format": layout,
        "batch size": batch_size,
        "device": session.provider,
        "choice of --cells": chosen,
        "finder": finder_sha256() if chosen in FOUND else None,
        "limits of flags": session.limits.to_dict() if session.limits else None,
    }
    further = further_columns(session.file, session.limits, cells)
    shape = _Shape(layout, session.tasks, batch_size, further, several=chosen == "all")
    with _alone(part):
        # The empty file comes first: whatever stops this, the state then tells what it was.
        part.open("ab" if resume else "wb").close()
        kept = _keep(part, made_by, now, shape, iter(images))
        if part.stat().st_size == 0:
            files.write_json(made_by, now)
        rows = predict_paths(
            session, kept.rest, batch_size=batch_size, workers=workers, cells=cells, draw=draw
        )
        with watch(kept.count.images) as advance:
            count = _append(part, islice(rows, kept.again, None), shape, kept, advance)
        part.replace(out)
        made_by.unlink(missing_ok=True)
    return Written(count.images, kept.count + count)


@dataclass(frozen=True)
class _Shape:
    layout: Layout
    tasks: Sequence[Task]
    batch_size: int
    further: Sequence[str]
    several: bool  # an image has as many rows as it has cells


@dataclass(frozen=True)
class _Kept:
    """What there is of an interrupted run.

    Attributes:
        count: of its rows.
        headed: the columns of a table are there.
        last: the last row.
        rest: the images that are to be computed.
        again: how many of their rows are there: the images are those since a batch last began
            with an image, or since the one that was cut began.
    """

    count: Count
    headed: bool
    last: Row | None
    rest: Iterator[Found]
    again: int


def _keep(
    part: Path,
    made_by: Path,
    now: Mapping[str, object],
    shape: _Shape,
    images: Iterator[Found],
) -> _Kept:
    """Compare the rows that are there with what is asked now, and cut off a half-written one."""
    if part.stat().st_size == 0:
        return _Kept(Count(0, 0), False, None, images, 0)
    if not made_by.exists():
        raise UsageError(
            f"{part} has no {made_by.name} beside it, which would tell what model its rows are "
            "of. Give --overwrite to begin anew."
        )
    before = files.read_json(made_by)
    other = [name for name, value in now.items() if before.get(name) != value]
    if other:
        raise UsageError(
            f"{part} was begun with another {' and another '.join(other)}. Give the same again, "
            "or --overwrite to begin anew."
        )
    count, last, end, rows, again = Count(0, 0), None, 0, 0, 0
    batch: list[Found] = []
    headed = False
    columns = csv_columns(shape.tasks, shape.further)
    with part.open("rb") as stream:
        for record in _whole_records(stream, shape.layout):
            end += len(record)
            if shape.layout == "csv" and not headed:
                headed = True
                if record.decode() == ",".join(columns) + "\n":
                    continue
                raise UsageError(f"{part} has other columns. Give --overwrite to begin anew.")
            row = _read_row(record, columns, shape, part, rows)
            if begins_image(row, last):
                image = next(images, None)
                if image is None or row["path"] != _as_told(str(image), shape.layout):
                    raise UsageError(
                        f"Row {rows + 1} of {part} is of {row['path']}, and now "
                        f"{'no further image' if image is None else image} is meant. Name the "
                        "same images, or give --overwrite to begin anew."
                    )
                if rows % shape.batch_size == 0:
                    batch, again = [], 0
                batch.append(image)
            count += count_row(row, last)
            rows, again, last = rows + 1, again + 1, row
    if not shape.several and rows % shape.batch_size == 0:
        batch, again = [], 0
    os.truncate(part, end)
    return _Kept(count, headed, last, chain(batch, images), again)


def _whole_records(stream: BinaryIO, layout: Layout) -> Iterator[bytes]:
    """The records of a file, up to the last one that is whole."""
    record = b""
    for line in stream:
        record += line
        # A path may hold a line's end. It then stands in quotes, which come in pairs.
        if line.endswith(b"\n") and (layout == "jsonl" or record.count(b'"') % 2 == 0):
            yield record
            record = b""


def _read_row(record: bytes, columns: Sequence[str], shape: _Shape, part: Path, rows: int) -> Row:
    """A row as it was written; of a table its path, error, box and flags alone."""
    try:
        text = record.decode()
        if shape.layout == "csv":
            (values,) = csv.reader(io.StringIO(text, newline=""))
            return _of_table(dict(zip(columns, values, strict=True)))
        row: Row = json.loads(text)
        if not {"tasks", "error", "flags"} & row.keys():
            raise ValueError
        return {**row, "path": str(row["path"])}
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error):
        raise UsageError(
            f"Row {rows + 1} of {part} is damaged. Give --overwrite to begin anew."
        ) from None


def _of_table(values: Mapping[str, str]) -> Row:
    row: Row = {"path": values["path"]}
    if values.get("left"):
        row["box"] = [int(values[side]) for side in BOX_COLUMNS]
    if values["error"]:
        return {**row, "error": values["error"]}
    row["flags"] = values.get("flags", "").split()
    return row if NO_CELL in row["flags"] else {**row, "tasks": {}}


def _as_told(path: str, layout: Layout) -> str:
    """A path as `_told` gives it back: a table cannot hold what is no text."""
    return path.encode("utf-8", "backslashreplace").decode() if layout == "csv" else path


def _append(
    part: Path,
    rows: Iterator[Row],
    shape: _Shape,
    kept: _Kept,
    advance: Callable[[int], object],
) -> Count:
    try:
        with part.open("a", encoding="utf-8", newline="") as stream:
            count = write_as(
                shape.layout, rows, shape.tasks, stream, further=shape.further, headed=kept.headed,
                before=kept.last, advance=advance,
            )  # fmt: skip
            os.fsync(stream.fileno())
    except OSError as error:
        raise WbczooError(
            f"{part} cannot be written: {error.strerror or error}. The rows that are there are "
            "kept. Make room; --resume then goes on behind them."
        ) from None
    return count


@contextmanager
def _alone(part: Path) -> Iterator[None]:
    """Let no other process write the same rows meanwhile."""
    part.parent.mkdir(parents=True, exist_ok=True)

    def refuse() -> NoReturn:
        raise UsageError(f"{part} is being written by another process. Name another file.")

    with files.locked(part.with_name(f"{part.name}.lock"), refuse, remove=True):
        yield

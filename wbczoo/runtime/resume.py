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
from wbczoo.errors import UsageError, WbczooError
from wbczoo.images.file import claim_file
from wbczoo.images.walk import Found
from wbczoo.runtime.batches import BATCH
from wbczoo.runtime.predict import predict_paths
from wbczoo.runtime.rows import Count, Layout, Row, csv_columns, write_as
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
    watch: Watch,
) -> Written:
    """Answer images into a file, which appears when it is whole.

    Until then the rows are in `FILE.part`, and each is there as soon as it is answered. Beside it
    `FILE.part.json` tells what computed them. With `resume` the rows that are there stay, and the
    file ends in the same bytes as if nothing had stopped it: batches hold the same images as they
    would have, for an answer's last digits depend on what it was computed with.

    Args:
        watch: is given the number of rows that are there, and yields what counts further ones.

    Raises:
        UsageError: as `check_place`; if another process writes there; or if the rows are those of
            other images, another model, layout, batch size or device, or are damaged.
        WbczooError: if the file cannot be written; the rows so far are kept.
    """
    check_place(out, resume=resume, overwrite=overwrite)
    part, made_by = part_of(out), out.with_name(f"{out.name}.part.json")
    now = {
        "model": files.sha256_of(session.path),
        "row format": layout,
        "batch size": batch_size,
        "device": session.provider,
    }
    shape = _Shape(layout, session.tasks, batch_size)
    with _alone(part):
        # The empty file comes first: whatever stops this, the state then tells what it was.
        part.open("ab" if resume else "wb").close()
        kept = _keep(part, made_by, now, shape, iter(images))
        if part.stat().st_size == 0:
            files.write_json(made_by, now)
        rows = predict_paths(session, kept.rest, batch_size=batch_size, workers=workers)
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


@dataclass(frozen=True)
class _Kept:
    """What there is of an interrupted run.

    Attributes:
        count: of its rows.
        headed: the columns of a table are there.
        rest: the images that are to be computed.
        again: how many of them have rows: the beginning of the batch that was cut.
    """

    count: Count
    headed: bool
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
        return _Kept(Count(0, 0), False, images, 0)
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
    refused = rows = end = 0
    batch: list[Found] = []  # the images of one that was cut
    headed = False
    with part.open("rb") as stream:
        for record in _whole_records(stream, shape.layout):
            end += len(record)
            if shape.layout == "csv" and not headed:
                headed = True
                if record.decode() == ",".join(csv_columns(shape.tasks)) + "\n":
                    continue
                raise UsageError(f"{part} has other columns. Give --overwrite to begin anew.")
            path, is_refused = _told(record, shape.layout, part, rows)
            image = next(images, None)
            if image is None or path != _as_told(str(image), shape.layout):
                raise UsageError(
                    f"Row {rows + 1} of {part} is of {path}, and now "
                    f"{'no further image' if image is None else image} is meant. Name the same "
                    "images, or give --overwrite to begin anew."
                )
            rows, refused = rows + 1, refused + is_refused
            batch = [*batch, image] if rows % shape.batch_size else []
    os.truncate(part, end)
    return _Kept(Count(rows - refused, refused), headed, chain(batch, images), len(batch))


def _whole_records(stream: BinaryIO, layout: Layout) -> Iterator[bytes]:
    """The records of a file, up to the last one that is whole."""
    record = b""
    for line in stream:
        record += line
        # A path may hold a line's end. It then stands in quotes, which come in pairs.
        if line.endswith(b"\n") and (layout == "jsonl" or record.count(b'"') % 2 == 0):
            yield record
            record = b""


def _told(record: bytes, layout: Layout, part: Path, rows: int) -> tuple[str, bool]:
    """The path that a row is of, and whether it is refused."""
    try:
        text = record.decode()
        if layout == "jsonl":
            row = json.loads(text)
            if "tasks" not in row and "error" not in row:
                raise ValueError
            return str(row["path"]), "error" in row
        ((path, error, *_),) = csv.reader(io.StringIO(text, newline=""))
    except (ValueError, KeyError, TypeError, csv.Error):
        raise UsageError(
            f"Row {rows + 1} of {part} is damaged. Give --overwrite to begin anew."
        ) from None
    return path, bool(error)


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
                shape.layout, rows, shape.tasks, stream, headed=kept.headed, advance=advance
            )
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

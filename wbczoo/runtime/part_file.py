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
from wbczoo.progress import tell
from wbczoo.runtime.output import Output
from wbczoo.runtime.rows import Count, Layout, Row, begins_image, count_row

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
    output: Output, *, resume: bool, overwrite: bool, inputs: Iterable[str | Path] = ()
) -> bool:
    """Find out whether rows may be written to a place; nothing is changed.

    Args:
        inputs: files that are read.

    Returns:
        whether there is anything to do: not where `resume` goes on with a file that is whole.

    Raises:
        UsageError: as `claim_file`; if it is there, and neither `overwrite` says to replace it
            nor `resume` to leave it; or if an interrupted run's rows are there, and neither
            `resume` nor `overwrite` says what becomes of them.
        UsageError, WbczooError: as `Output.is_there`.
    """
    if resume and overwrite:
        raise UsageError("--resume goes on with the rows and --overwrite drops them; give one.")
    claim_file(output.path, "--out", overwrite=True, inputs=inputs)
    part = part_of(output.path)
    begun = part.exists() and part.stat().st_size > 0
    there = output.is_there()
    if overwrite:
        return True
    if begun and not resume:
        raise UsageError(
            f"{part} holds the rows of a run that was interrupted. Give --resume to go on behind "
            "them, or --overwrite to begin anew."
        )
    if not there or begun:
        return True
    if not resume:
        raise UsageError(
            f"{output} is there already. Give --overwrite to replace it, or name another file."
        )
    tell(
        f"{output} is whole: nothing is left to resume, and nothing was computed. Give "
        "--overwrite to compute it anew, or name another file"
    )
    return False


def whole_records(stream: BinaryIO, layout: Layout) -> Iterator[bytes]:
    """The records of a file, up to the last one that is whole."""
    record = b""
    for line in stream:
        record += line
        # A path may hold a line's end. It then stands in quotes, which come in pairs.
        if line.endswith(b"\n") and (layout == "jsonl" or record.count(b'"') % 2 == 0):
            yield record
            record = b""


@dataclass(frozen=True)
class Form:
    """How rows stand in a file, and how they are read back.

    Attributes:
        layout: JSON lines or a table.
        columns: of the table.
        write: writes rows to a stream, as `write_as` does with `headed`, `before` and `advance`.
        read: a row of a line's values: of a table all as text, else as they were written. It
            raises ValueError or KeyError where they make none.
        records: the bytes of each whole row of a file; of a table the columns come first.
        batch_size: images that were computed together, and are again.
        several: an image has as many rows as it has cells.
    """

    layout: Layout
    columns: Sequence[str]
    write: Callable[..., Count]
    read: Callable[[Row], Row]
    records: Callable[[BinaryIO, Layout], Iterator[bytes]] = whole_records
    batch_size: int = 1
    several: bool = False


def write_part(
    output: Output,
    images: Iterable[Found],
    compute: Callable[[Iterator[Found]], Iterator[Row]],
    form: Form,
    made_by: Mapping[str, object],
    *,
    resume: bool,
    overwrite: bool,
    watch: Watch,
    deliver: Callable[[Path], object] | None = None,
) -> Written:
    """Compute the rows of images into a file, which appears when it is whole.

    Until then the rows are in `FILE.part`, and each is there as soon as it is computed. Beside it
    `FILE.part.json` tells what computed them. With `resume` a whole file stays as it is; else the
    rows that are there stay, and the file ends in the same bytes as if nothing had stopped it:
    batches hold the same images as they would have, for an answer's last digits depend on what it
    was computed with.

    Args:
        compute: the rows of images, in order.
        made_by: what the rows depend on, each by its name in a sentence.
        watch: is given the number of images that are there, and yields what counts further ones.
        deliver: is given the file with all rows, and puts what it makes of it where that belongs;
            if None the file becomes the output.

    Raises:
        UsageError: as `check_place`; if another process writes there; or if the rows are those of
            other images, were made by something else, or are damaged.
        WbczooError: if the file cannot be written; the rows so far are kept.
    """
    if not check_place(output, resume=resume, overwrite=overwrite):
        return Written(0, Count(0, 0))
    out = output.path
    part, state = part_of(out), out.with_name(f"{out.name}.part.json")
    with _alone(part):
        # The empty file comes first: whatever stops this, the state then tells what it was.
        part.open("ab" if resume else "wb").close()
        kept = _keep(part, state, made_by, form, iter(images))
        if part.stat().st_size == 0:
            files.write_json(state, dict(made_by))
        rows = compute(kept.rest)
        with watch(kept.count.images) as advance:
            count = _append(part, islice(rows, kept.again, None), form, kept, advance)
        (deliver or output.put)(part)
        part.unlink(missing_ok=True)
        state.unlink(missing_ok=True)
    return Written(count.images, kept.count + count)


@dataclass(frozen=True)
class _Kept:
    """What there is of an interrupted run.

    Attributes:
        count: of its rows.
        headed: the columns of a table are there.
        last: the last row.
        rest: the images that are to be computed.
        again: how many of their rows are there: the images are those since a batch last began,
            which is with every `batch_size`-th image.
    """

    count: Count
    headed: bool
    last: Row | None
    rest: Iterator[Found]
    again: int


def _keep(
    part: Path,
    state: Path,
    made_by: Mapping[str, object],
    form: Form,
    images: Iterator[Found],
) -> _Kept:
    """Compare the rows that are there with what is asked now, and cut off a half-written one."""
    if part.stat().st_size == 0:
        return _Kept(Count(0, 0), False, None, images, 0)
    if not state.exists():
        raise UsageError(
            f"{part} has no {state.name} beside it, which would tell what its rows were made by. "
            "Give --overwrite to begin anew."
        )
    before = files.read_json(state)
    other = [name for name, value in made_by.items() if before.get(name) != value]
    if other:
        raise UsageError(
            f"{part} was begun with another {' and another '.join(other)}. Give the same again, "
            "or --overwrite to begin anew."
        )
    count, last, end, rows, again = Count(0, 0), None, 0, 0, 0
    batch: list[Found] = []
    headed = False
    with part.open("rb") as stream:
        for record in form.records(stream, form.layout):
            end += len(record)
            if form.layout == "csv" and not headed:
                headed = True
                if record.decode() == ",".join(form.columns) + "\n":
                    continue
                raise UsageError(f"{part} has other columns. Give --overwrite to begin anew.")
            row = _read_row(record, form, part, rows)
            if begins_image(row, last):
                image = next(images, None)
                if image is None or row["path"] != _as_told(str(image), form.layout):
                    raise UsageError(
                        f"Row {rows + 1} of {part} is of {row['path']}, and now "
                        f"{'no further image' if image is None else image} is meant. Name the "
                        "same images, or give --overwrite to begin anew."
                    )
                if count.images % form.batch_size == 0:
                    batch, again = [], 0
                batch.append(image)
            count += count_row(row, last)
            rows, again, last = rows + 1, again + 1, row
    if not form.several and count.images % form.batch_size == 0:
        batch, again = [], 0
    os.truncate(part, end)
    return _Kept(count, headed, last, chain(batch, images), again)


def _read_row(record: bytes, form: Form, part: Path, rows: int) -> Row:
    try:
        row = form.read(
            table_line(record, form.columns) if form.layout == "csv" else json.loads(record)
        )
        return {**row, "path": str(row["path"])}
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error):
        raise UsageError(
            f"Row {rows + 1} of {part} is damaged. Give --overwrite to begin anew."
        ) from None


def table_line(record: bytes, columns: Sequence[str]) -> dict[str, str]:
    """The first line of a record of a table, each value under its column.

    Raises:
        ValueError, csv.Error: if it is none.
    """
    values = next(csv.reader(io.StringIO(record.decode(), newline="")))
    return dict(zip(columns, values, strict=True))


def _as_told(path: str, layout: Layout) -> str:
    """A path as it is read back: a table cannot hold what is no text."""
    return path.encode("utf-8", "backslashreplace").decode() if layout == "csv" else path


def _append(
    part: Path, rows: Iterator[Row], form: Form, kept: _Kept, advance: Callable[[int], object]
) -> Count:
    try:
        with part.open("a", encoding="utf-8", newline="") as stream:
            count = form.write(rows, stream, headed=kept.headed, before=kept.last, advance=advance)
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

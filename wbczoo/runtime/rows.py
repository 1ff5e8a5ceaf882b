"""Rows of answers leave here as JSON lines or CSV, each written as soon as it is there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TextIO

from wbczoo.runtime.cells import FOUND, NO_CELL, Cells, choose_cells, from_the_top
from wbczoo.runtime.flags import Limits
from wbczoo.runtime.model_file import NOVELTY, ModelFile
from wbczoo.runtime.sets import Floors
from wbczoo.tasks import Task
from wbczoo.text import csv_line

Row = dict[str, Any]
Layout = Literal["jsonl", "csv"]
Format = Literal["jsonl", "csv", "parquet"]

BOX_COLUMNS = ("left", "top", "right", "bottom")


@dataclass(frozen=True)
class Count:
    """How many rows are answers, refusals and images without a cell.

    Attributes:
        further: how many of them are of another cell of the image before.
    """

    answered: int
    refused: int
    without_cell: int = 0
    further: int = 0

    @property
    def images(self) -> int:
        """How many there were."""
        return self.answered + self.refused + self.without_cell - self.further

    @property
    def exit_code(self) -> int:
        """0 if none was refused, 3 if some were, 1 if all were."""
        if not self.refused:
            return 0
        return 3 if self.answered or self.without_cell else 1

    def __add__(self, other: Count) -> Count:
        return Count(
            self.answered + other.answered,
            self.refused + other.refused,
            self.without_cell + other.without_cell,
            self.further + other.further,
        )


def count_row(row: Row, before: Row | None) -> Count:
    """The count of one row, given the one before it."""
    refused, empty = "error" in row, NO_CELL in row.get("flags", ())
    return Count(not (refused or empty), refused, empty, not begins_image(row, before))


def begins_image(row: Row, before: Row | None) -> bool:
    """Whether a row is the first of its image, given the one before it.

    The boxes of one image come from the top to the bottom and each once, so that an image which
    is named twice in a row is known as well.
    """
    if before is None or row["path"] != before["path"] or not ("box" in row and "box" in before):
        return True
    return from_the_top(row["box"]) <= from_the_top(before["box"])


def write_as(
    layout: Layout,
    rows: Iterable[Row],
    tasks: Sequence[Task],
    stream: TextIO,
    *,
    further: Sequence[str] = (),
    headed: bool = False,
    before: Row | None = None,
    advance: Callable[[int], object] = int,
) -> Count:
    """Write each row in a layout, at once; `advance` then hears of each image that begins.

    Args:
        further: columns of a table, as `csv_columns` takes them.
        headed: a table's columns stand there already.
        before: the row that stands there already, if any.
    """
    if layout == "jsonl":
        return _write(rows, lambda row: _json_line(row, stream), stream, before, advance)
    columns = [] if headed else csv_columns(tasks, further)

    def lines(row: Row) -> Iterator[list[object]]:
        yield table_values(row, tasks, further)

    return write_table(rows, columns, lines, stream, before=before, advance=advance)


def write_jsonl(rows: Iterable[Row], stream: TextIO) -> Count:
    """Write each row as one line of JSON, at once.

    A path that `stream` cannot encode, such as one whose bytes are no text, is written with JSON's
    escapes, which read back as the same path.
    """
    return write_as("jsonl", rows, (), stream)


def write_csv(
    rows: Iterable[Row],
    tasks: Sequence[Task],
    stream: TextIO,
    *,
    further: Sequence[str] = (),
    headed: bool = False,
) -> Count:
    """Write each row as one of a table, at once, under `csv_columns(tasks)`.

    What `stream` cannot encode is written with backslashes.

    Args:
        further: columns, as `csv_columns` takes them.
        headed: the columns stand there already.
    """
    return write_as("csv", rows, tasks, stream, further=further, headed=headed)


def write_table(
    rows: Iterable[Row],
    columns: Sequence[str],
    lines_of: Callable[[Row], Iterable[Sequence[object]]],
    stream: TextIO,
    *,
    before: Row | None = None,
    advance: Callable[[int], object] = int,
) -> Count:
    """Write what each row says as lines of a table, at once, below its columns if there are any.

    What `stream` cannot encode is written with backslashes.
    """
    if columns:
        stream.write(_encoded(csv_line(columns), stream))
        stream.flush()

    def text(row: Row) -> str:
        return _encoded("".join(map(csv_line, lines_of(row))), stream)

    return _write(rows, text, stream, before, advance)


def _write(
    rows: Iterable[Row],
    text_of: Callable[[Row], str],
    stream: TextIO,
    before: Row | None,
    advance: Callable[[int], object],
) -> Count:
    count = Count(0, 0)
    for row in rows:
        stream.write(text_of(row))
        stream.flush()
        found = count_row(row, before)
        count, before = count + found, row
        advance(found.images)
    return count


def _json_line(row: Row, stream: TextIO) -> str:
    line = json.dumps(row, ensure_ascii=False, allow_nan=False)
    if _encoded(line, stream) != line:
        line = json.dumps(row, allow_nan=False)
    return line + "\n"


def further_columns(
    file: ModelFile,
    limits: Limits | None,
    cells: Cells | None = None,
    floors: Floors | None = None,
) -> tuple[str, ...]:
    """What a table of a model's answers has beside paths, errors and classes.

    Args:
        limits, floors: of the session.
        cells: as `Session.answers` takes it.
    """
    boxes = choose_cells(cells, file) in FOUND
    novelty = (NOVELTY,) if file.has_novelty else ()
    flags = ("flags",) if boxes or limits is not None else ()
    sets = (f"{task.name}_set" for task in file.tasks if floors and task.name in floors)
    return (*(BOX_COLUMNS if boxes else ()), *novelty, *flags, *sets)


def csv_columns(tasks: Sequence[Task], further: Sequence[str] = ()) -> list[str]:
    """`path,error`, then for each task `<task>,<task>_probability,<task>_<class>...`.

    Args:
        further: what stands between, as `further_columns` tells.
    """
    columns = ["path", "error", *further]
    for task in tasks:
        columns += [task.name, f"{task.name}_probability"]
        columns += [f"{task.name}_{name}" for name in task.classes]
    return columns


def table_values(row: Row, tasks: Sequence[Task], further: Sequence[str]) -> list[object]:
    """What a row says under each of `csv_columns`; empty text where it says nothing."""
    said = dict(zip(BOX_COLUMNS, row.get("box", ()), strict=False))
    said |= {"novelty": row.get("novelty", ""), "flags": " ".join(row.get("flags", ()))}
    for name, answer in row.get("tasks", {}).items():
        said[f"{name}_set"] = " ".join(answer.get("set", ()))
    cells: list[object] = [row["path"], row.get("error", "")]
    cells += [said.get(name, "") for name in further]
    for task in tasks:
        answer = row["tasks"][task.name] if "tasks" in row else None
        if answer is None:
            cells += [""] * (2 + len(task.classes))
        else:
            cells += [answer["class"], answer["probability"]]
            cells += [answer["probabilities"][name] for name in task.classes]
    return cells


def _encoded(text: str, stream: TextIO) -> str:
    """The text as `stream` can encode it."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)

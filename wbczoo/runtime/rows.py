"""Rows of answers leave here as JSON lines or CSV, each written as soon as it is there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TextIO

from wbczoo.tasks import Task
from wbczoo.text import csv_line

Row = dict[str, Any]
Layout = Literal["jsonl", "csv"]


@dataclass(frozen=True)
class Count:
    """How many images were answered, and how many refused."""

    answered: int
    refused: int

    @property
    def images(self) -> int:
        """How many there were."""
        return self.answered + self.refused

    @property
    def exit_code(self) -> int:
        """0 if all were answered, 3 if some were refused, 1 if all were."""
        if not self.refused:
            return 0
        return 3 if self.answered else 1

    def __add__(self, other: Count) -> Count:
        return Count(self.answered + other.answered, self.refused + other.refused)


def write_as(
    layout: Layout,
    rows: Iterable[Row],
    tasks: Sequence[Task],
    stream: TextIO,
    *,
    headed: bool = False,
    advance: Callable[[int], object] = int,
) -> Count:
    """Write each row in a layout, at once; `advance` then hears of it."""

    def watched() -> Iterator[Row]:
        for row in rows:
            yield row
            advance(1)

    if layout == "jsonl":
        return write_jsonl(watched(), stream)
    return write_csv(watched(), tasks, stream, headed=headed)


def write_jsonl(rows: Iterable[Row], stream: TextIO) -> Count:
    """Write each row as one line of JSON, at once.

    A path that `stream` cannot encode, such as one whose bytes are no text, is written with JSON's
    escapes, which read back as the same path.
    """
    answered = refused = 0
    for row in rows:
        line = json.dumps(row, ensure_ascii=False, allow_nan=False)
        if _encoded(line, stream) != line:
            line = json.dumps(row, allow_nan=False)
        stream.write(line + "\n")
        stream.flush()
        answered, refused = answered + ("error" not in row), refused + ("error" in row)
    return Count(answered, refused)


def write_csv(
    rows: Iterable[Row], tasks: Sequence[Task], stream: TextIO, *, headed: bool = False
) -> Count:
    """Write each row as one of a table, at once, under `csv_columns(tasks)`.

    What `stream` cannot encode is written with backslashes.

    Args:
        headed: the columns stand there already.
    """
    columns = [] if headed else csv_columns(tasks)
    return write_table(rows, columns, lambda row: [_cells(row, tasks)], stream)


def write_table(
    rows: Iterable[Row],
    columns: Sequence[str],
    lines_of: Callable[[Row], Iterable[Sequence[object]]],
    stream: TextIO,
) -> Count:
    """Write what each row says as lines of a table, at once, below its columns if there are any.

    What `stream` cannot encode is written with backslashes.
    """
    if columns:
        stream.write(_encoded(csv_line(columns), stream))
        stream.flush()
    answered = refused = 0
    for row in rows:
        stream.writelines(_encoded(csv_line(line), stream) for line in lines_of(row))
        stream.flush()
        answered, refused = answered + ("error" not in row), refused + ("error" in row)
    return Count(answered, refused)


def csv_columns(tasks: Sequence[Task]) -> list[str]:
    """`path,error`, then for each task `<task>,<task>_probability,<task>_<class>...`."""
    columns = ["path", "error"]
    for task in tasks:
        columns += [task.name, f"{task.name}_probability"]
        columns += [f"{task.name}_{name}" for name in task.classes]
    return columns


def _cells(row: Row, tasks: Sequence[Task]) -> list[object]:
    cells: list[object] = [row["path"], row.get("error", "")]
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

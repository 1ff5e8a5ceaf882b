"""Rows of answers become a Parquet file here, for programs that read columns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from wbczoo import files
from wbczoo.errors import UsageError
from wbczoo.machine import how_to_install
from wbczoo.runtime.rows import BOX_COLUMNS, Row, csv_columns, table_values
from wbczoo.tasks import Task

_GROUP = 1 << 16  # rows that are in memory, and that a reader takes at once


def open_pyarrow(extra: str, instead: str) -> tuple[Any, Any]:
    """`pyarrow` and `pyarrow.parquet`.

    Args:
        extra: of wbczoo, that brings them.
        instead: what to do without them, as the end of a sentence.

    Raises:
        UsageError: if they are not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError(
            "Parquet is written by pyarrow, which is not installed: "
            f"{how_to_install(extra)}, or {instead}."
        ) from None
    return pyarrow, pyarrow.parquet


def check_parquet() -> None:
    """Raises UsageError where rows cannot be written as Parquet."""
    open_pyarrow("parquet", "choose another format")


def write_parquet(
    rows: Path,
    out: Path,
    tasks: Sequence[Task],
    further: Sequence[str],
    model: str,
) -> None:
    """Write rows that stand in a file as JSON lines to a Parquet file, aside and renamed.

    The columns are those of a table, with types: text for paths, errors and classes, int32 for
    the sides of a box, float32 for numbers, a list of text for flags and
    sets; null where a row has none.

    Args:
        further: columns, as `csv_columns` takes them.
        model: SHA-256 of the model's file, `wbczoo.model` in the schema's metadata.

    Raises:
        UsageError: if pyarrow is not installed.
    """
    pyarrow, parquet = open_pyarrow("parquet", "choose another format")
    columns = csv_columns(tasks, further)
    schema = pyarrow.schema(
        [(name, _type(pyarrow, name, tasks)) for name in columns],
        metadata={"wbczoo.model": model},
    )
    with (
        files.written_aside(out) as aside,
        parquet.ParquetWriter(aside, schema) as writer,
        rows.open(encoding="utf-8") as lines,
    ):
        answers = map(json.loads, lines)
        while group := [*islice(_values(answers, tasks, further), _GROUP)]:
            arrays = [
                pyarrow.array(values, field.type)
                for values, field in zip(zip(*group, strict=True), schema, strict=True)
            ]
            writer.write_table(pyarrow.table(arrays, schema=schema))


def _values(
    rows: Iterator[Row], tasks: Sequence[Task], further: Sequence[str]
) -> Iterator[list[object]]:
    for row in rows:
        values = [None if value == "" else value for value in table_values(row, tasks, further)]
        # As in a table, which cannot hold what is no text either.
        values[0] = str(row["path"]).encode("utf-8", "backslashreplace").decode()
        lists = {"flags": row.get("flags")}
        lists |= {f"{name}_set": told.get("set") for name, told in row.get("tasks", {}).items()}
        for place, name in enumerate(further, start=2):
            if name in lists:
                values[place] = lists[name]
        yield values


def _type(pyarrow: Any, name: str, tasks: Sequence[Task]) -> Any:
    if name in ("flags", *(f"{task.name}_set" for task in tasks)):
        return pyarrow.list_(pyarrow.string())
    if name in BOX_COLUMNS:
        return pyarrow.int32()
    if name in ("path", "error", *(task.name for task in tasks)):
        return pyarrow.string()
    return pyarrow.float32()  # novelty and probabilities

"""A model's answers to images become a file, which a run that was stopped goes on with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from wbczoo import files
from wbczoo.cells.crop import finder_sha256
from wbczoo.images.walk import Found
from wbczoo.runtime.batches import BATCH
from wbczoo.runtime.cells import FOUND, NO_CELL, Cells, choose_cells
from wbczoo.runtime.output import Output
from wbczoo.runtime.parquet import write_parquet
from wbczoo.runtime.part_file import Form, Watch, Written, write_part
from wbczoo.runtime.predict import predict_paths
from wbczoo.runtime.rows import (
    BOX_COLUMNS,
    Format,
    Layout,
    Row,
    csv_columns,
    further_columns,
    write_as,
)
from wbczoo.runtime.session import Session
from wbczoo.runtime.shards import Dealt, Shard, write_told


def write_rows(
    out: str | os.PathLike[str],
    session: Session,
    images: Iterable[Found],
    *,
    layout: Format,
    batch_size: int = BATCH,
    workers: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    cells: Cells | None = None,
    draw: Path | None = None,
    maps: Path | None = None,
    shard: Shard | None = None,
    compute: Callable[[Iterable[Found]], Iterator[Row]] | None = None,
    watch: Watch,
) -> Written:
    """Answer images into a file, as `wbczoo.runtime.part_file.write_part` writes it.

    Args:
        out: as of `Output`.
        layout: rows for Parquet are JSON lines until all are there.
        cells: as `Session.answers` takes it.
        draw, maps: as of `predict_paths`; of the images that are computed.
        shard: which of the images are answered, if not all; `merge` then reads the file.
        compute: what answers them as `predict_paths` would with this batch size and these cells,
            where that is not to be done here.
        watch: is given the number of images that are there, and yields what counts further ones.

    Raises:
        UsageError, WbczooError: as `write_part`, which knows rows of another model, layout, batch
            size, device or choice of cells; and if cells are asked of a model that knows none.
    """
    chosen = choose_cells(cells, session.file)
    made_by: dict[str, object] = {
        "model": files.sha256_of(session.path),
        "row format": layout,
        "batch size": batch_size,
        "device": session.provider,
        "choice of --cells": chosen,
        "finder": finder_sha256() if chosen in FOUND else None,
        "limits of flags": session.limits.to_dict() if session.limits else None,
        "coverage of sets": session.coverage,
    }
    output = Output(out)
    further = further_columns(session.file, session.limits, cells, session.floors)
    on_the_way: Layout = "csv" if layout == "csv" else "jsonl"
    form = Form(
        on_the_way,
        csv_columns(session.tasks, further),
        lambda rows, stream, **how: write_as(
            on_the_way, rows, session.tasks, stream, further=further, **how
        ),
        _of_table if layout == "csv" else _of_json,
        batch_size=batch_size,
        several=chosen == "all",
    )
    compute = compute or partial(
        predict_paths, session, batch_size=batch_size, workers=workers, cells=cells, draw=draw,
        maps=maps,
    )  # fmt: skip
    dealt = images if shard is None else Dealt(images, shard, batch_size)

    def deliver(rows: Path) -> None:
        if isinstance(dealt, Dealt):
            write_told(output, rows, dealt, made_by, session.tasks, further)
        if layout == "parquet":
            write_parquet(rows, output.path, session.tasks, further, str(made_by["model"]))
            rows = output.path
        output.put(rows)

    return write_part(
        output, dealt, compute, form,
        made_by if shard is None else {**made_by, "--shard": str(shard)},
        resume=resume, overwrite=overwrite, watch=watch, deliver=deliver,
    )  # fmt: skip


def _of_json(row: Row) -> Row:
    if not {"tasks", "error", "flags"} & row.keys():
        raise ValueError
    return row


def _of_table(values: Row) -> Row:
    """A table's row: its path, error, box and flags alone."""
    row: Row = {"path": values["path"]}
    if values.get("left"):
        row["box"] = [int(values[side]) for side in BOX_COLUMNS]
    if values["error"]:
        return {**row, "error": values["error"]}
    row["flags"] = values.get("flags", "").split()
    return row if NO_CELL in row["flags"] else {**row, "tasks": {}}

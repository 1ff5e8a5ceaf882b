"""`wbczoo predict`: answers for images, streamed, without torch."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click

from wbczoo.cli.geojson import claim_collections, write_collections
from wbczoo.cli.images import (
    draw_option,
    images_argument,
    images_from,
    kept_if_stopped,
    null_option,
    ray_option,
    tell_count,
    watch,
    watch_rows,
)
from wbczoo.cli.results import stream
from wbczoo.cli.runtime_options import (
    cells_option,
    coverage_option,
    engine_option,
    model_option,
    runtime_device_option,
    tell_default_model,
    time_limit_option,
    unknown_above_option,
    unsure_below_option,
)
from wbczoo.runtime.batches import BATCH


@click.command("predict")
@images_argument
@model_option
@click.option(
    "--format",
    "layout",
    type=click.Choice(["jsonl", "csv", "parquet", "geojson"]),
    default="jsonl",
    show_default=True,
    help="One JSON line or one row of a table for each image (Parquet goes to --out alone), or of "
    "cells what QuPath imports.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format jsonl.")
@click.option(
    "--out",
    type=click.Path(),
    help="Write to this file or URL, once all is there; of several images' GeoJSON, into this "
    "folder.",
)
@draw_option
@click.option(
    "--maps",
    type=click.Path(path_type=Path),
    help="Write pictures of what in each image speaks for its answers into this folder.",
)
@click.option(
    "--shard",
    metavar="I/N",
    help="Answer the I-th of N shares of the images; wbczoo merge joins the files of --out.",
)
@ray_option
@click.option("--resume", is_flag=True, help="Go on behind the rows of a run that was stopped.")
@click.option("--overwrite", is_flag=True, help="Replace what --out, --draw and --maps name.")
@null_option
@click.option("--batch-size", type=click.IntRange(min=1), default=BATCH, show_default=True)
@click.option(
    "--workers", type=click.IntRange(min=1), help="Threads that decode and, on the CPU, compute."
)
@cells_option
@unknown_above_option
@unsure_below_option
@coverage_option
@runtime_device_option
@engine_option
@time_limit_option
@click.pass_context
def command(
    ctx: click.Context,
    images: tuple[str, ...],
    model: Path,
    layout: Literal["jsonl", "csv", "parquet", "geojson"],
    as_json: bool,
    out: str | None,
    draw: Path | None,
    maps: Path | None,
    shard: str | None,
    cluster: str | None,
    resume: bool,
    overwrite: bool,
    null: bool,
    batch_size: int,
    workers: int | None,
    cells: Any,
    unknown_above: float | None,
    unsure_below: float | None,
    coverage: str | None,
    device: Any,
    engine: Any,
    time_limit: float,
) -> None:
    """Answer image files, folders, archives and patterns, one line for each image, in order.

    An image that cannot be used is a line with its reason; the others are answered. With - the
    paths of image files are read from stdin, one to a line.

    Example: wbczoo predict smears/ --model exports/a --format jsonl
    """
    from wbczoo.errors import UsageError
    from wbczoo.images.file import claim_folder
    from wbczoo.progress import tell
    from wbczoo.runtime import predict_paths
    from wbczoo.runtime.cells import FOUND, choose_cells
    from wbczoo.runtime.devices import cores
    from wbczoo.runtime.predict import load
    from wbczoo.runtime.rows import further_columns, write_as
    from wbczoo.runtime.stopping import ended_by_signals

    if out is None and (resume or (overwrite and draw is None and maps is None)):
        raise UsageError("--resume and --overwrite speak of a file; name it with --out.")
    if out is None and shard is not None:
        raise UsageError("--shard writes a file for wbczoo merge; name it with --out.")
    layout = "jsonl" if as_json else layout
    if layout == "geojson" and (resume or shard is not None):
        raise UsageError("--resume and --shard speak of rows; --format geojson writes documents.")
    if cluster is not None and (
        out is None or layout == "geojson" or draw is not None or maps is not None
    ):
        raise UsageError("--ray computes rows for a file; name it with --out, without pictures.")
    if layout == "parquet" and (out is None or shard is not None):
        raise UsageError(
            "Parquet is written once all rows are there, to the file of --out; shards are JSON "
            "lines, and wbczoo merge --format parquet makes it of them."
        )
    found = images_from(images, null=null)
    for folder, option in ((draw, "--draw"), (maps, "--maps")):
        if folder is not None:
            claim_folder(folder, option, overwrite=overwrite or resume, inputs=found.places)
    if layout == "geojson":
        place = claim_collections(out, found, overwrite=overwrite)
    elif out is not None:
        from wbczoo.runtime.folder import find_model
        from wbczoo.runtime.output import Output
        from wbczoo.runtime.parquet import check_parquet
        from wbczoo.runtime.part_file import check_place
        from wbczoo.runtime.resume import write_rows
        from wbczoo.runtime.shards import Shard

        share = None if shard is None else Shard.parse(shard)
        total = found.total
        if share is not None and total is not None:
            total = share.count(total, batch_size)
        inputs: list[str | Path] = [*found.places, find_model(model)]
        output = Output(out)
        if not check_place(output, resume=resume, overwrite=overwrite, inputs=inputs):
            return
        if layout == "parquet":
            check_parquet()
    ctx.with_resource(ended_by_signals())
    session = load(
        model, device=device, engine=engine, parallel=workers or cores() if cluster is None else 1,
        threads=None if cluster is None else 1, unknown_above=unknown_above,
        unsure_below=unsure_below, coverage=None if coverage is None else float(coverage),
        time_limit=time_limit,
    )  # fmt: skip
    if coverage is not None and session.file.sets is not None:
        for sentence in session.file.sets.not_promised(session.tasks, coverage):
            tell(sentence)
    chosen = choose_cells(cells, session.file)
    if layout == "geojson" and chosen not in FOUND:
        raise UsageError(
            "GeoJSON outlines cells, and whole images have none; ask a model that was trained with "
            "--crop cell by --cells one or all."
        )
    tell_default_model()
    if device == "auto":
        why = f": {session.why_no_cuda}" if session.why_no_cuda else ""
        click.echo(f"computing with {session.provider}{why}", err=True)
    begun = time.perf_counter()
    if out is not None and layout != "geojson":
        with kept_if_stopped(output.path), ExitStack() as held:
            compute = None
            if cluster is not None:
                from wbczoo.runtime.cluster import on_cluster

                alone = partial(
                    predict_paths, session, batch_size=batch_size, workers=1, cells=cells
                )
                compute = held.enter_context(
                    on_cluster(cluster, alone, batch_size=batch_size, provider=session.provider)
                )
                begun = time.perf_counter()
            written = write_rows(
                out, session, found, layout=layout, batch_size=batch_size, workers=workers,
                resume=resume, overwrite=overwrite, cells=cells, draw=draw, maps=maps,
                shard=share, compute=compute, watch=partial(watch, total),
            )  # fmt: skip
        count = written.count
        tell(_speed(written.computed, time.perf_counter() - begun))
    else:
        rows = predict_paths(
            session, found, batch_size=batch_size, workers=workers, cells=cells, draw=draw,
            maps=maps,
        )  # fmt: skip
        watched = watch_rows if out is None else watch
        with watched(found.total) as advance:
            if layout == "geojson":
                from wbczoo.runtime.geojson import answered_cells

                count = write_collections(answered_cells(rows), place, advance)
            else:
                count = write_as(
                    "csv" if layout == "csv" else "jsonl", rows, session.tasks, stream(),
                    advance=advance,
                    further=further_columns(session.file, session.limits, cells, session.floors),
                )  # fmt: skip
    tell_count(count, found, "answered")
    ctx.exit(count.exit_code)


def _speed(images: int, seconds: float) -> str:
    return f"{images} images in {seconds:.1f} s, {images / seconds:.1f} images/s"

"""`wbczoo locate`: the white cells of images, as boxes, without torch and without a model."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Literal

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
from wbczoo.cli.options import Real
from wbczoo.cli.results import stream


@click.command("locate")
@images_argument
@click.option(
    "--format",
    "layout",
    type=click.Choice(["jsonl", "csv", "geojson"]),
    default="jsonl",
    show_default=True,
    help="One JSON line for each image, one CSV row for each cell, or what QuPath imports.",
)
@click.option(
    "--out",
    type=click.Path(),
    help="Write to this file or URL, once all is there; of several images' GeoJSON, into this "
    "folder.",
)
@draw_option
@click.option(
    "--least",
    metavar="SCORE",
    type=Real(0, 1),
    help="The lowest score of a cell.  [default: the finder's own]",
)
@click.option("--resume", is_flag=True, help="Go on behind the rows of a run that was stopped.")
@click.option("--overwrite", is_flag=True, help="Replace what --out and --draw name.")
@null_option
@ray_option
@click.option("--workers", type=click.IntRange(min=1), help="Images that are looked at at once.")
@click.pass_context
def command(
    ctx: click.Context,
    images: tuple[str, ...],
    layout: Literal["jsonl", "csv", "geojson"],
    out: str | None,
    draw: Path | None,
    least: float | None,
    resume: bool,
    overwrite: bool,
    null: bool,
    cluster: str | None,
    workers: int | None,
) -> None:
    """Find the white cells of image files, folders, archives and patterns, in order.

    An image that cannot be used is a line with its reason. With - the paths of image files are
    read from stdin, one to a line.

    Example: wbczoo locate smears/ --format csv --draw pictures
    """
    from wbczoo.cells.finder import THRESHOLD
    from wbczoo.errors import UsageError
    from wbczoo.images.file import claim_folder
    from wbczoo.runtime.geojson import located_cells
    from wbczoo.runtime.locate import locate_paths, write_cells, write_located
    from wbczoo.runtime.output import Output
    from wbczoo.runtime.part_file import check_place

    if out is None and (resume or (overwrite and draw is None)):
        raise UsageError("--resume and --overwrite speak of a file; name it with --out.")
    if resume and layout == "geojson":
        raise UsageError("--resume goes on behind rows; --format geojson writes documents.")
    if cluster is not None and (out is None or layout == "geojson" or draw is not None):
        raise UsageError("--ray computes rows for a file; name it with --out, without pictures.")
    found = images_from(images, null=null)
    if draw is not None:
        claim_folder(draw, "--draw", overwrite=overwrite or resume, inputs=found.places)
    least = THRESHOLD if least is None else least
    if out is not None and layout != "geojson":
        output = Output(out)
        if not check_place(output, resume=resume, overwrite=overwrite, inputs=found.places):
            return
        with kept_if_stopped(output.path), ExitStack() as held:
            compute = None
            if cluster is not None:
                from wbczoo.runtime.cluster import on_cluster

                alone = partial(locate_paths, least=least, workers=1)
                compute = held.enter_context(on_cluster(cluster, alone))
            count = write_located(
                out, found, layout=layout, least=least, workers=workers, draw=draw,
                compute=compute, resume=resume, overwrite=overwrite,
                watch=partial(watch, found.total),
            ).count  # fmt: skip
    else:
        if layout == "geojson":
            place = claim_collections(out, found, overwrite=overwrite)
        rows = locate_paths(found, least=least, workers=workers, draw=draw)
        with watch_rows(found.total) if out is None else watch(found.total) as advance:
            if layout == "geojson":
                count = write_collections(map(located_cells, rows), place, advance)
            else:
                count = write_cells(layout, rows, stream(), advance=advance)
    tell_count(count, found, "looked at")
    ctx.exit(count.exit_code)

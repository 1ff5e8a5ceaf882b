"""`wbczoo bench fields`: predict on fields, cells found, beside a plain loop of the same steps."""

from __future__ import annotations

from typing import Any

import click

from wbczoo.cli.options import json_option, print_json, print_table
from wbczoo.cli.results import echo


@click.command("fields")
@click.argument("images", nargs=-1, required=True)
@click.option(
    "--model",
    help="An export that was trained on cells that are found.  [default: the published one]",
)
@click.option(
    "--cells",
    type=click.Choice(["one", "all"]),
    default="one",
    show_default=True,
    help="Of each field the best one, or all.",
)
@click.option(
    "--limit", type=click.IntRange(min=2), default=128, show_default=True, help="Fields at most."
)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="Of each.  [default: all cores]")
@json_option
def fields(
    images: tuple[str, ...],
    model: str | None,
    cells: Any,
    limit: int,
    rounds: int,
    threads: int | None,
    as_json: bool,
) -> None:
    """Compare predict on fields with a plain loop of the same steps in PyTorch and scikit-image.

    Each is timed in a process of its own, in turn, by the clock and by processor time.

    Example: wbczoo bench fields BCCD/JPEGImages
    """
    from wbczoo.bench.field_speed import bench_fields
    from wbczoo.progress import tell
    from wbczoo.runtime import find_images
    from wbczoo.runtime.named import resolve

    document = bench_fields(
        find_images(images)[:limit],
        resolve(model),
        cells=cells,
        threads=threads,
        rounds=rounds,
        tell=tell,
    )
    if as_json:
        print_json(document)
        return
    print_table(
        [_cells(row) for row in document["rows"]],
        (
            "what",
            "files to CSV,\nfields/s (batch)",
            "times the\nbest loop",
            "processor ms\nof a field",
            "times the\nbest loop",
            "of the\nbound",
            "peak\nMB",
            "cells, same,\nequal answers",
            "probability\noff by",
        ),
    )
    bound = document["bound_ms"]
    echo(
        f"\nThe bound: {bound['decoding']:.1f} ms to decode a field, {bound['finder']:.1f} for the "
        f"finder's network, {bound['classifier']:.1f} for the classifier."
    )
    echo(
        f"{document['images']} fields, cells: {document['cells']}, {document['rounds']} rounds in "
        f"turn, {document['threads']} threads: {document['processor']}, {document['cores']} cores"
    )


def _cells(row: dict[str, Any]) -> list[str]:
    if row["error"]:
        return [row["name"], *[""] * 7, row["error"]]

    def form(value: float | None, places: int) -> str:
        return "" if value is None else f"{value:.{places}f}"

    found = row["agreement"]
    difference = found["probability_difference"]
    return [
        row["name"],
        ", ".join(f"{value:.1f} ({size})" for size, value in row["fields_per_second"].items()),
        form(row["ratio"], 2),
        form(row["processor_ms"], 1),
        form(row["processor_ratio"], 2),
        form(row["of_bound"], 2),
        form(row["peak_megabytes"], 0),
        f"{found['cells']}, {found['same']}, {found['equal']}",
        "" if difference is None else f"{difference:.2g}",
    ]

"""`wbczoo bench locate`: how well and how fast white cells are found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from wbczoo.cli.datasets import data_option
from wbczoo.cli.options import json_option, print_json, print_table
from wbczoo.cli.results import echo
from wbczoo.text import format_figure

_RULES = {"centre": "centre", "IoU .5": "iou 0.5", "IoU .7": "iou 0.7"}


@click.command("locate")
@data_option(
    "A data set that knows the boxes of its white cells, and where it lies; repeat it.",
    required=True,
)
@click.option(
    "--every",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Each so many fields are changed and looked at again.",
)
@click.option("--boxes-only", is_flag=True, help="Recall and precision alone.")
@click.option(
    "--network",
    type=click.Path(path_type=Path),
    help="A finder's network to measure instead of the built-in one.",
)
@click.option(
    "--resamples", type=click.IntRange(1), default=2000, show_default=True, help="Of the bootstrap."
)
@json_option
def locate(
    given: dict[str, Path],
    every: int,
    boxes_only: bool,
    network: Path | None,
    resamples: int,
    as_json: bool,
) -> None:
    """Measure the finder of white cells on boxed fields, on changed ones, and where no cell is.

    A found box is right at the centre if its middle lies in a true box, and at IoU .5 or .7 if the
    two share as much of what they cover together. Times are processor times of one thread.

    Example: wbczoo bench locate --data bccd=blood-cells.zip --data pbc=pbc.zip
    """
    from wbczoo.bench.finding import bench_locate
    from wbczoo.progress import tell

    document = bench_locate(
        given,
        every=every,
        boxes_only=boxes_only,
        network_file=network,
        resamples=resamples,
        tell=tell,
    )
    if as_json:
        print_json(document)
    else:
        _print(document)


def _print(document: Mapping[str, Any]) -> None:
    sets = document["sets"]
    print_table(
        [
            (
                name,
                rule,
                format_figure(found[key]["recall"]),
                format_figure(found[key]["precision"]),
            )
            for name, found in sets.items()
            for rule, key in _RULES.items()
        ],
        ("data set", "right by", "recall", "precision"),
    )
    echo()
    print_table(
        [
            (name, found["images"], found["groups"], found["cells"], found["found"],
             format_figure(found["overlap"]), f"{found['images_per_second']:.0f}",
             f"{found['decoding_ms']:.1f}")
            for name, found in sets.items()
        ],
        ("data set", "images", "groups", "cells", "found", "mean IoU", "images/s", "decoding, ms"),
    )  # fmt: skip
    if "changes" in document:
        kinds = {kind: None for found in document["changes"].values() for kind in found}
        echo("\nOf the cells that are found, found again at IoU .7 in the changed field:\n")
        print_table(
            [
                (kind, *(_again(found[kind]) for found in document["changes"].values()))
                for kind in kinds
            ],
            ("change", *document["changes"]),
        )
        echo("\nPictures without a white cell:\n")
        print_table(
            [
                (row["kind"], row["pictures"], row["answered"],
                 format_figure(row["quiet"]))
                for row in document["without_cells"]
            ],
            ("kind", "pictures", "with a cell found", "share in which none is"),
        )  # fmt: skip
        echo("\nOne field laid out to each size, on one thread, without decoding:\n")
        print_table(
            [_speed_row(row) for row in document["speed"]],
            ("pixels", "cells", "ms", "network alone, ms", "of the bound", "peak MB"),
        )
    echo(f"\nInterval: {document['interval']}.")
    echo("Images/s are the finder's, by processor time and without decoding.")
    echo(f"On {document['processor']}, {document['cores']} cores, one of them used.")


def _again(found: Mapping[str, Any]) -> str:
    return f"{format_figure(found['again'])} of {found['cells']}"


def _speed_row(row: Mapping[str, Any]) -> list[object]:
    peak = row["peak_megabytes"]
    return [
        f"{row['width']}x{row['height']}",
        row["cells"],
        f"{row['milliseconds']:.1f}",
        f"{row['bound_milliseconds']:.1f}",
        f"{row['of_bound']:.2f}",
        "-" if peak is None else f"{peak:.0f}",
    ]

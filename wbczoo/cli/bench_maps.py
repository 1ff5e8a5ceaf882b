"""`wbczoo bench maps`: how much of what models look at lies on the cell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from wbczoo.cli.datasets import data_option
from wbczoo.cli.options import json_option, print_json, print_table
from wbczoo.cli.results import echo
from wbczoo.text import format_figure


@click.command("maps")
@data_option(
    "A data set that knows the boxes of its white cells, and where it lies; repeat it.",
    required=True,
)
@click.option(
    "--model",
    "models",
    multiple=True,
    help="An export, or a published model's name; repeat it.  [default: all published ones, but "
    "for ensembles]",
)
@click.option("--limit", type=click.IntRange(min=1), help="Fields of each data set at most.")
@click.option(
    "--oracles/--no-oracles",
    default=True,
    show_default=True,
    help="Compare with Grad-CAM and occlusion, which captum computes.",
)
@click.option(
    "--resamples", type=click.IntRange(1), default=2000, show_default=True, help="Of the bootstrap."
)
@json_option
def maps(
    given: dict[str, Path],
    models: tuple[str, ...],
    limit: int | None,
    oracles: bool,
    resamples: int,
    as_json: bool,
) -> None:
    """Measure how much of models' evidence lies on the boxed cell of fields with one.

    Evidence is what positions add to the answered class's logit above the mean of its task.

    Example: wbczoo bench maps --data bccd=blood-cells.zip --model leukocyte-small
    """
    from wbczoo.bench.maps import bench_maps
    from wbczoo.progress import tell

    document = bench_maps(
        given,
        models,
        limit=limit,
        oracles=oracles,
        resamples=resamples,
        tell=tell,
    )
    if as_json:
        print_json(document)
    else:
        _print(document)


def _print(document: Mapping[str, Any]) -> None:
    rows = document["models"]

    def names(row: Mapping[str, Any]) -> list[str]:
        return [row["model"], row["task"]]

    echo("Where the evidence lies, and how much of the image lies there:\n")
    print_table(
        [
            [*names(row), what, *(format_figure(row[kind][part]) for part in row["shares"])]
            for row in rows
            for kind, what in (("shares", "evidence"), ("areas", "image"))
        ],
        ("model", "task", "of the", "in the cell's box", "beyond it, stained", "beyond it, slide"),
    )
    echo("\nAnswers that stay where a part is painted as empty slide:\n")
    print_table(
        [
            [*names(row), *(format_figure(row["kept"][part]) for part in row["kept"])]
            for row in rows
        ],
        ("model", "task", "all beyond the box", "the box"),
    )
    echo("\nOf the evidence in the cell's box, by the class that the first task answered:\n")
    first = [row for row in rows if row["first"]]
    print_table(
        [
            [*names(row), name, row["answered"][name], format_figure(figure)]
            for row in first
            for name, figure in row["classes"].items()
        ],
        ("model", "task", "class", "images", "share"),
    )
    if any(row["oracles"] for row in first):
        echo("\nBeside what captum computes of the same answers:\n")
        print_table([[*names(row), *_oracles(row["oracles"])] for row in first],
                    ("model", "task", "largest difference\nfrom Grad-CAM",
                     "correlation\nwith occlusion", "occlusion's share\nin the box"))  # fmt: skip
    echo()
    for row in {(row["model"], row["data"]): row for row in rows}.values():
        down, across = row["positions"]
        echo(
            f"{row['model']}: {row['images']} fields of {row['data']} with one boxed cell, "
            f"{row['groups']} groups; {row['elsewhere']} more in which it reads another place; "
            f"{down} by {across} positions."
        )
    echo(f"Interval: {document['interval']}.")


def _oracles(found: Mapping[str, Any]) -> list[str]:
    gap = found["grad_cam_difference"]
    return [
        "-" if gap is None else f"{gap:.1g}",
        f"{found['occlusion_correlation']:.2f}",
        format_figure(found["occlusion_share"]),
    ]

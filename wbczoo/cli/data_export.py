"""`wbczoo data export`: a data set goes into the form of another program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wbczoo.cli.datasets import data_argument, dataset_from, dataset_options
from wbczoo.cli.options import json_option, out_option, print_facts


@click.command("export")
@data_argument
@dataset_options
@click.option(
    "--format",
    "layout",
    type=click.Choice(["folder", "hf", "webdataset", "coco"]),
    required=True,
    help="Folders of classes; image folders of datasets; tar shards; boxes of cells.",
)
@out_option
@json_option
@click.pass_context
def export(
    ctx: click.Context, /, data: Path, layout: Any, out: Path, as_json: bool, **options: Any
) -> None:
    """Write a data set's files, unchanged, with labels, photographs, groups and laboratories.

    Of coco each white cell has a box: the data's own, or one that is found.

    Example: wbczoo data export blood-cells.zip --dataset bccd --format webdataset --out shards
    """
    from wbczoo.config import TrainConfig
    from wbczoo.data.layouts import write_layout
    from wbczoo.data.prepared import read_dataset
    from wbczoo.progress import tell

    rows = read_dataset(TrainConfig(dataset=dataset_from(options)), data, tell)
    document = write_layout(rows, out, layout)
    refused = document["refused"] = {**rows.refused, **document.get("refused", {})}
    named = [(name, value) for name, value in document.items() if name != "refused"]
    print_facts(document, as_json, named)
    if refused:
        ctx.exit(3)

"""`wbczoo data`: prepare, show, describe, audit and hand on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wbczoo.cli.data_audit import audit
from wbczoo.cli.data_export import export
from wbczoo.cli.data_show import show
from wbczoo.cli.datasets import dataset_from, dataset_options
from wbczoo.cli.options import json_option, print_facts


@click.group("data")
def command() -> None:
    """Prepare, show, audit and export data sets.

    Example: wbczoo data show blood-cells.zip --dataset bccd
    """


command.add_command(audit)
command.add_command(export)
command.add_command(show)


@command.command("prepare")
@click.argument("data", type=click.Path(path_type=Path))
@dataset_options
@click.option("--image-size", type=click.IntRange(min=32), default=224, show_default=True)
@click.option(
    "--photographs", type=click.IntRange(min=1), help="Of synthetic: how many to draw, 8 or more."
)
@click.option("--views", type=click.IntRange(min=1), help="Of synthetic: views of each.")
@click.option("--seed", type=int, help="Of synthetic.")
@click.option(
    "--cells-per-field",
    metavar="N|N..M",
    help="Of synthetic: draw whole fields of so many white cells, such as 0..50, not one cell an "
    "image.",
)
@click.option(
    "--magnification",
    metavar="X|X..Y",
    help="Of such fields: 1 shows a white cell 100 to 230 pixels wide.",
)
@json_option
@click.pass_context
def prepare(
    ctx: click.Context, /, data: Path, image_size: int, as_json: bool, **options: Any
) -> None:
    """Decode every image once into the pixel cache; a data set that can draw itself does so.

    DATA is the folder or archive of the data set; of synthetic, the folder to draw into.

    Example: wbczoo data prepare runs/smears --dataset synthetic --photographs 40

    Drawn fields, to practise `wbczoo review` on without photographs of one's own:

    \b
      wbczoo data prepare practice --dataset synthetic --photographs 8 \\
        --cells-per-field 10..30 --magnification 0.4
    """
    from wbczoo.data.prepared import prepare_data

    dataset = dataset_from(options)
    drawn = {name: number for name, number in options.items() if number is not None}
    document = prepare_data(data, dataset=dataset, image_size=image_size, **drawn)
    cached, refused = document["cached"], document["refused"]
    rows = [("images cached", cached), ("refused", len(refused)), ("cache", document["cache"])]
    print_facts(document, as_json, rows)
    if refused:
        ctx.exit(1 if cached == 0 else 3)

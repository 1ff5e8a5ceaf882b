"""`wbczoo adapt`: an export, refitted to labelled cells of one's own laboratory, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wbczoo.cli.datasets import dataset_from, dataset_options
from wbczoo.cli.options import json_option, out_option, print_json
from wbczoo.cli.results import echo
from wbczoo.machine import how_to_install
from wbczoo.progress import tell


@click.command("adapt")
@click.argument("model", metavar="MODEL")
@click.argument("reviewed", type=click.Path(exists=True, path_type=Path))
@dataset_options
@out_option
@click.option(
    "--limit",
    type=click.IntRange(1),
    help="Adapt to at most so many cells, drawn by group, and measure the others as well.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draw of --limit.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier export.")
@json_option
def command(model: str, reviewed: Path, as_json: bool, **options: Any) -> None:
    """Refit an export's heads, temperatures and limits to labelled cells; 100 are enough.

    REVIEWED is a folder or archive with a folder for each class. The figures before and after are
    of folds by group, in which nothing was chosen on the cells that are measured.

    Example: wbczoo adapt leukocyte-small reviewed/ --out exports/ours
    """
    from wbczoo.errors import WbczooError

    try:
        from wbczoo.exporting.adaptation_page import adaptation_table
        from wbczoo.exporting.adapting.adapt import adapt
    except ModuleNotFoundError as error:
        raise WbczooError(
            f"{error.name} is not installed, which adapting needs: {how_to_install('adapt')}."
        ) from None

    options["dataset"] = dataset_from(options)
    card = adapt(model, reviewed, **options)
    if as_json:
        print_json(card)
    else:
        echo(adaptation_table(card["adaptation"]))
        tell(f"written: {options['out']}")

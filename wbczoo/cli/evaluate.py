"""`wbczoo evaluate`: a run or an export, measured on the test photographs of a protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wbczoo.cli.datasets import (
    data_from,
    data_sources,
    dataset_options,
    parse_fold,
)
from wbczoo.cli.options import device_option, json_option, print_json
from wbczoo.cli.results import echo
from wbczoo.cli.settings import split_settings
from wbczoo.errors import UsageError


@click.command("evaluate")
@click.argument("model")
@data_sources
@dataset_options
@split_settings(shown="the run's own")
@click.option("--ensemble", is_flag=True, help="Let all runs of the folder answer together.")
@click.option(
    "--resamples",
    type=click.IntRange(1, 1_000_000),
    default=2000,
    show_default=True,
    help="Of the bootstrap.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write each image's answer, drawings and a page of the errors into this folder.",
)
@click.option("--overwrite", is_flag=True, help="Replace what has the same names in --out.")
@device_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, /, model: str, fold: str | None, as_json: bool, **options: Any
) -> None:
    """Measure a run, or an export or a published model without torch, on unseen photographs.

    Each number has a 95 % interval from a bootstrap over groups of photographs.

    \b
    Example:
      wbczoo evaluate runs/a blood-cells.zip --dataset bccd --protocol official --json
      wbczoo evaluate runs/b --data raabin=raabin.zip
      wbczoo evaluate runs/c cells/ --out results
    """
    from wbczoo.evaluation.evaluate import evaluate

    data = data_from(options)
    if options["overwrite"] and options["out"] is None:
        raise UsageError("--overwrite speaks of a folder; name it with --out.")
    if isinstance(data, dict):
        options["dataset"] = None
    number = parse_fold(fold)
    found = evaluate(model, data, fold=None if number == "all" else number, **options)
    if as_json:
        print_json(found.to_dict())
    else:
        echo(found.table())
    if found.to_dict()["refused"]:
        ctx.exit(3)

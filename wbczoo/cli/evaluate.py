"""`wbczoo evaluate`: a run or an export, measured on the test photographs of a protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wbczoo.cli.options import (
    data_argument,
    dataset_from,
    dataset_options,
    device_option,
    json_option,
    parse_fold,
    print_json,
    protocol_options,
)


@click.command("evaluate")
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@data_argument
@dataset_options
@protocol_options(default=None, shown="the run's own")
@click.option(
    "--resamples",
    type=click.IntRange(1, 1_000_000),
    default=2000,
    show_default=True,
    help="Of the bootstrap.",
)
@device_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: Path,
    data: Path,
    protocol: str | None,
    part: str | None,
    fold: str | None,
    resamples: int,
    device: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure a run, or an export without torch, on photographs that it never saw.

    Each number has a 95 % interval from a bootstrap over groups of photographs.

    \b
    Example:
      wbczoo evaluate runs/a blood-cells.zip --dataset bccd --protocol official --json
    """
    from wbczoo.evaluate import evaluate
    from wbczoo.progress import tell

    number = parse_fold(fold)
    document = evaluate(
        model,
        data,
        dataset_from(options),
        protocol=protocol,
        part=part,
        fold=None if number == "all" else number,
        resamples=resamples,
        device=device,
        tell=tell,
    )
    if as_json:
        print_json(document)
    else:
        from wbczoo.metrics import table

        click.echo(table(document))
    if document["refused"]:
        ctx.exit(3)

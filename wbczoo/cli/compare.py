"""`wbczoo compare`: several models on one data set, each figure with its interval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wbczoo.cli.options import (
    device_option,
    json_option,
    print_json,
    print_table,
)
from wbczoo.cli.plans import plan_from, plan_options
from wbczoo.cli.results import echo


@click.command("compare")
@plan_options()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The folder of the plan, results, report and drawing; the same call goes on in it.",
)
@click.option(
    "--resamples", type=click.IntRange(1), default=2000, show_default=True, help="Of the bootstrap."
)
@device_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, /, out: Path, resamples: int, device: str, as_json: bool, **options: Any
) -> None:
    """Compare backbones, branches and baselines under one protocol or several.

    \b
    Example:
      wbczoo compare smears --dataset synthetic --backbone mobilenetv2 --backbone resnet18 \\
          --seq none --seq bilstm --protocol grouped --seeds 3 --out runs/compared
    """
    from wbczoo.metrics.intervals import METHOD
    from wbczoo.study.compare import compare
    from wbczoo.study.report.words import format_figures

    document = compare(out=out, resamples=resamples, device=device, **plan_from(options))
    if as_json:
        print_json(document)
    else:
        tasks = list(dict.fromkeys(t for one in document["models"] for t in one["tasks"]))
        print_table(
            [
                (one["arena"], one["model"], one["trained"] or one["setting"],
                 *(format_figures(one["tasks"][task]) if one["tasks"] else one["missing"]
                   for task in tasks))
                for one in document["models"]
            ],
            ("protocol", "model", "trained", *(f"{task}:\naccuracy; macro-F1" for task in tasks)),
        )  # fmt: skip
        for arena, counts in {one["arena"]: one["test"] for one in document["models"]}.items():
            echo(f"\n{arena}: {counts}.")
        echo(f"Intervals: {METHOD}; with several seeds each resample draws seeds too.")
        echo(f"drawing: {document['accuracy']}; report: {document['report']}")
    for reason in dict.fromkeys(document["refused"].values()):
        click.echo(f"refused: {reason}", err=True)
    if document["refused"]:
        ctx.exit(3)

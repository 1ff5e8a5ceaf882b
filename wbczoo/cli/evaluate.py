"""`wbczoo evaluate`: a run or an export, measured on the test photographs of a protocol."""

from __future__ import annotations

from collections.abc import Mapping
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
from wbczoo.cli.results import echo
from wbczoo.text import format_figure

_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "ece": "calibration error (ECE)",
}


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
    from wbczoo.evaluation.evaluate import evaluate
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
        echo(table(document))
    if document["refused"]:
        ctx.exit(3)


def table(document: Mapping[str, Any]) -> str:
    """An evaluation for a person to read: `0.571 [0.45, 0.68]`, limits rounded outwards.

    Args:
        document: what `wbczoo.evaluation.evaluate.evaluate` returns.
    """
    from tabulate import tabulate

    from wbczoo.metrics.formulas import COVERAGES

    tasks: dict[str, Any] = {}
    for task, found in document["tasks"].items():
        tasks[task] = found
        # `external` measures twice; a note stands there where both are the same.
        if "accuracy" in found.get("shared_classes", {}):
            tasks[f"{task}, shared classes"] = found["shared_classes"]
    rows: list[list[object]] = [
        [name, *(format_figure(found[key]) for found in tasks.values())]
        for key, name in _NAMES.items()
    ]
    for place, share in enumerate(COVERAGES):
        errors = [format_figure(found["coverage"][place]["error"]) for found in tasks.values()]
        rows.append([f"error at coverage {share:.0%}", *errors])
    parts = [_heading(document)]
    if tasks:
        parts.append(tabulate(rows, ["", *tasks], disable_numparse=True))
    for task, found in tasks.items():
        rows = [
            [name, own["files"], own["groups"]]
            + [format_figure(own[figure]) for figure in ("precision", "recall", "auroc")]
            for name, own in found["per_class"].items()
        ]
        headers = [task, "files", "groups", "precision", "recall", "AUROC"]
        parts.append(tabulate(rows, headers, disable_numparse=True))
        names = found["classes"]
        rows = [[name, *counts] for name, counts in zip(names, found["confusion"], strict=True)]
        parts.append(tabulate(rows, ["truth \\ answer", *names]))
    if document.get("contradictions"):
        rate = document["contradictions"]
        parts.append(
            f"The tasks contradict each other: {format_figure(rate)} of {rate['files']} files."
        )
    for task, count in document.get("left_out", {}).items():
        parts.append(f"The task {task} leaves out {count} files by their labels.")
    parts += [f"Refused {path}: {reason}" for path, reason in document.get("refused", {}).items()]
    parts.append(f"Intervals: {document['interval']}.")
    return "\n\n".join(parts)


def _heading(document: Mapping[str, Any]) -> str:
    photographs = document["photographs"]
    source = (
        "an unknown number of photographs" if photographs is None else f"{photographs} photographs"
    )
    fold = "" if document.get("fold") is None else f", fold {document['fold']}"
    return (
        f"{'LEAKY ' if document['leaky'] else ''}{document['protocol']}, {document['part']}{fold}: "
        f"{document['files']} files of {source}, {document['groups']} groups"
    )

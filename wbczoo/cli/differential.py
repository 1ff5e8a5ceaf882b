"""`wbczoo differential`: how many cells of each class, with intervals, without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from wbczoo.cli.images import images_argument, images_from, null_option
from wbczoo.cli.options import Real, json_option, print_json, print_table
from wbczoo.cli.results import echo
from wbczoo.cli.runtime_options import (
    cells_option,
    engine_option,
    model_option,
    runtime_device_option,
    tell_default_model,
    unknown_above_option,
)
from wbczoo.text import format_limits, format_number, format_percent, printable


@click.command("differential")
@images_argument
@model_option
@click.option("--task", "task_name", help="Whose classes are counted.  [default: the first]")
@click.option(
    "--by",
    metavar="folder|CSV",
    help="A differential for each folder, or for each group (or patient, or slide) of a table.",
)
@click.option(
    "--min-probability",
    "--unsure-below",
    type=Real(0, 1),
    help="Images whose class is less likely are put aside.  [default: the model's limit, or 0]",
)
@unknown_above_option
@click.option(
    "--errors",
    "errors_from",
    metavar="PROTOCOL[:LABORATORY]|FOLDER|CSV",
    help="Correct by these errors of the model: of an evaluation on its card, or of reviewed "
    "cells, in folders of classes or as a table of truth and answer.",
)
@click.option("--html", type=click.Path(path_type=Path), help="Write a page for people too.")
@click.option("--overwrite", is_flag=True, help="Replace what --html names.")
@null_option
@cells_option
@runtime_device_option
@engine_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    images: tuple[str, ...],
    model: Path,
    task_name: str | None,
    by: str | None,
    min_probability: float | None,
    unknown_above: float | None,
    errors_from: str | None,
    html: Path | None,
    overwrite: bool,
    null: bool,
    cells: Any,
    device: Any,
    engine: Any,
    as_json: bool,
) -> None:
    """Count the cells of each class, with intervals and what must be looked at.

    An image counts as one cell, unless --cells all counts each that is found in a field.

    Example: wbczoo differential smears/ --model exports/a --by folder
    """
    from wbczoo import files
    from wbczoo.errors import UsageError, WbczooError, some
    from wbczoo.images.archives.members import Member
    from wbczoo.images.file import claim_file
    from wbczoo.images.identity import Distinct
    from wbczoo.images.walk import describe_passed_over
    from wbczoo.progress import bar, tell
    from wbczoo.runtime import Session, predict_paths
    from wbczoo.runtime.cells import choose_cells
    from wbczoo.runtime.devices import cores
    from wbczoo.runtime.differential.confusion import choose_errors, explain_none
    from wbczoo.runtime.differential.count import count, describe, group_by
    from wbczoo.runtime.folder import find_model
    from wbczoo.runtime.rows import begins_image
    from wbczoo.runtime.stopping import ended_by_signals
    from wbczoo.runtime.templates import render

    if html is None and overwrite:
        raise UsageError("--overwrite speaks of a page; name it with --html.")
    found = images_from(images, null=null)
    if html is not None:
        inputs: list[str | Path] = [*found.places, find_model(model)]
        inputs += [each for each in (by, errors_from) if each]
        claim_file(html, "--html", overwrite=overwrite, inputs=inputs)
    paths = [*found]
    group_of = group_by(by, images)
    for path in paths:  # what would stop the count is told before anything is computed
        if isinstance(path, Member) and path.broken:
            raise WbczooError(f"{path}: {path.broken}")
        group_of(str(path))
    ctx.with_resource(ended_by_signals())
    session = Session(
        model, device=device, engine=engine, parallel=cores(), unknown_above=unknown_above
    )
    cells = choose_cells(cells, session.file)
    tasks = {task.name: task for task in session.tasks}
    if task_name is not None and task_name not in tasks:
        raise UsageError(f"The model has no task {task_name!r}; it has {', '.join(tasks)}.")
    task = tasks[task_name] if task_name else session.tasks[0]
    if min_probability is None:
        min_probability = session.limits.unsure_below.get(task.name, 0.0) if session.limits else 0.0
    if errors_from is None:
        explain_none(session, task)  # a damaged card is told before anything is computed
        errors = None
    else:
        # A reviewed image shows the one cell that it is named after.
        predict = partial(predict_paths, session, cells="one" if cells == "all" else cells)
        errors = choose_errors(errors_from, session, task, predict)
    tell_default_model()

    distinct = Distinct(paths, group_of)
    with bar(len(paths), "images", unit="image") as advance:

        def answered() -> Iterator[dict[str, Any]]:
            before: dict[str, Any] | None = None
            for row in predict_paths(session, distinct, cells=cells):
                yield row
                advance(int(begins_image(row, before)))
                before = row

        tallies = count(answered(), task, session.tasks, group_of, min_probability,
                        each_cell=cells == "all")  # fmt: skip
    document = describe(tallies, task, session, min_probability, errors, cells)
    for group in document["groups"]:
        if twice := distinct.repeated.get(group["name"]):
            group["warnings"].append(
                f"{format_number(len(twice), 'image')} came twice and "
                f"count{'s' * (len(twice) == 1)} once: {some(twice)}."
            )
    if found.passed_over:
        tell(describe_passed_over(found.passed_over))
    if distinct.shared:
        shared = format_number(len(distinct.shared), "image")
        verb = "counts" if len(distinct.shared) == 1 else "count"
        tell(f"{shared} {verb} in two groups: {some(distinct.shared)}")
    if html is not None:
        title = f"Differential by {document['model']}"
        files.write_text(html, render("differential.html", title=title, **document))
        tell(f"written: {html}")
    if as_json:
        print_json(document)
    else:
        _print(document)
    refused = sum(group["refused"] for group in document["groups"])
    if refused:
        ctx.exit(1 if refused == sum(group["images"] for group in document["groups"]) else 3)


def _print(document: Mapping[str, Any]) -> None:
    for group in document["groups"]:
        echo(f"{printable(group['name'])}: {_summary(group)}")
        rows = [
            _row(name, found, document["correction"]) for name, found in group["classes"].items()
        ]
        headers = [document["task"], "cells", "%", "95 % interval"]
        print_table(rows, headers + ["corrected %", "95 % interval"] * bool(document["correction"]))
        for warning in group["warnings"]:
            echo(f"Warning: {warning}")
        echo()
    echo(f"Interval: {document['interval']}.")
    if document["correction"]:
        echo(f"Corrected {document['correction']}.")
    else:
        echo(f"Not corrected: {document['why_no_correction']}")
    echo(f"Intended use: {document['intended_use']}")
    echo(f"Not for: {document['not_for']}")


def _summary(group: Mapping[str, Any]) -> str:
    counted = f"{group['counted']} of "
    if "cells" in group:
        counted += f"{group['cells']} cells in "
    kinds = {"refused": "refused", "no_cell": "without a cell", "at_edge": "at the edge",
             "unknown": "unknown", "unsure": "unsure",
             "contradicted": "contradicted"}  # fmt: skip
    aside = ", ".join(f"{group[kind]} {words}" for kind, words in kinds.items() if kind in group)
    return f"{counted}{group['images']} images counted; {aside}"


def _row(name: str, found: Mapping[str, Any], correction: str | None) -> list[object]:
    row = [name, found["count"], *_shares(found)]
    return row + _shares(found["corrected"]) if correction else row


def _shares(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return ["-", "-"]
    return [format_percent(found["percent"]), format_limits(found["low"], found["high"])]

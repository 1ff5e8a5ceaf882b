"""`wbczoo study`: a grid of trainings and baselines, run under several protocols."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from wbczoo.cli.options import device_option, json_option, print_json, print_table
from wbczoo.cli.results import echo


@click.group("study")
def command() -> None:
    """Run a grid of cells under several protocols, show what is done, and report on it.

    Example: wbczoo study run docs/studies/report-2020.toml --out runs/study
    """


_plan = click.argument("plan", type=click.Path(path_type=Path))
_data = click.option(
    "--data",
    "given",
    multiple=True,
    metavar="DATASET=PATH",
    help="Where a data set lies, over what the plan says; repeat it.",
)
_resamples = click.option(
    "--resamples", type=click.IntRange(1), default=2000, show_default=True, help="Of the bootstrap."
)
_only = click.option("--only", multiple=True, metavar="BLOCK", help="A block's name; repeat it.")


@command.command("run")
@_plan
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The folder of its results."
)
@_data
@_only
@click.option(
    "--storage",
    metavar="URL",
    help="Optuna's storage, shared by several machines.  [default: OUT/queue.sqlite]",
)
@click.option("--dry-run", is_flag=True, help="Only print the cells, and how long they will take.")
@device_option
@json_option
@click.pass_context
def run(
    ctx: click.Context,
    /,
    plan: Path,
    out: Path,
    given: tuple[str, ...],
    only: tuple[str, ...],
    storage: str | None,
    dry_run: bool,
    device: str,
    as_json: bool,
) -> None:
    """Run every cell of a study that is not done; the same command goes on after a kill.

    Example: wbczoo study run docs/studies/report-2020.toml --out runs/study
    """
    from wbczoo.progress import tell
    from wbczoo.study.run.run import run_study

    if dry_run:
        _print_cells(plan, out, only, as_json)
        return
    report = run_study(
        plan, out, _paths(given), storage=storage, device=device, only=only, tell=tell
    )
    counts = {"done_before": report.before, "done_now": report.done}
    if as_json:
        print_json({**counts, "refused": report.refused, "out": str(out)})
    else:
        told = Counter(report.refused.values())
        print_table(
            [
                ("cells done before", report.before),
                ("cells done now", report.done),
                ("cells refused", len(report.refused)),
                *((f"{number} refused", reason) for reason, number in told.items()),
            ],
            ("what", "value"),
        )
        echo(f"study: {out}")
    if report.refused:
        ctx.exit(3)


@command.command("show")
@_plan
@click.option("--out", type=click.Path(path_type=Path), help="The folder of its results.")
@_only
@_resamples
@json_option
def show(
    plan: Path, out: Path | None, only: tuple[str, ...], resamples: int, as_json: bool
) -> None:
    """Show a study's done cells, each figure with its interval by group, and what was not run.

    Example: wbczoo study show docs/studies/report-2020.toml --out runs/study
    """
    from wbczoo.study.report.show import describe_cells

    cells = describe_cells(plan, out, only, resamples=resamples)
    if as_json:
        print_json({"cells": cells})
        return
    done = [cell for cell in cells if cell["done"]]
    tasks = list(dict.fromkeys(task for cell in done for task in cell["tasks"]))
    print_table(
        [
            (cell["arena"], cell["model"], _setting(cell["settings"]),
             f"{_known(cell['photographs'])} / {cell['files']}",
             *(_told(cell["tasks"][t]) for t in tasks))
            for cell in done
        ],
        ("protocol", "model", "setting", "photographs\n/ files",
         *(f"{task}:\naccuracy; macro-F1" for task in tasks)),
    )  # fmt: skip
    missing = Counter((cell["arena"], cell["model"]) for cell in cells if not cell["done"])
    for (arena, model), number in missing.items():
        echo(f"not run: {arena}, {model}: {number} cells")
    from wbczoo.metrics.intervals import METHOD

    echo(f"\nIntervals: {METHOD}.")


@command.command("report")
@click.argument("study", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the two files go.  [default: the folder of the results]",
)
@click.option(
    "--images", is_flag=True, help="Show the photographs that every model gets wrong, in the HTML."
)
@_data
@_resamples
@json_option
def report(
    study: Path, out: Path | None, images: bool, given: tuple[str, ...], resamples: int,
    as_json: bool,
) -> None:  # fmt: skip
    """Write a study's report: report.html, which needs nothing beside it, and report.md.

    STUDY is the folder that `study run` wrote, or a plan's file with its results beside it.

    Example: wbczoo study report runs/study
    """
    from wbczoo.progress import tell
    from wbczoo.study.report.report import write_report

    document = write_report(
        study, out, resamples=resamples, images=images, data=_paths(given), tell=tell
    )
    if as_json:
        print_json(document)
        return
    if document["claims"]:
        print_table(
            [(one["verdict"], one["claim"]) for one in document["claims"]], ("verdict", "claim")
        )
    echo(f"{document['cells_done']} of {document['cells']} cells are done.")
    echo(f"report: {document['html']}, {document['markdown']}")


def _print_cells(plan: Path, out: Path, only: tuple[str, ...], as_json: bool) -> None:
    from wbczoo.study.report.show import describe_missing

    document = describe_missing(plan, out, only)
    if as_json:
        print_json(document)
        return
    print_table(
        [
            (cell["arena"], cell["model"], _setting(cell["settings"]), cell["how"],
             "done" if cell["done"] else cell["seconds"])
            for cell in document["cells"]
        ],
        ("protocol", "model", "setting", "how", "seconds"),
    )  # fmt: skip
    echo(
        f"\n{document['done']} of {len(document['cells'])} cells are done; the others take about "
        f"{document['told']} in one process, by {document['basis']}."
    )


def _setting(settings: dict[str, Any]) -> str:
    from wbczoo.study.plan.plan import Cell
    from wbczoo.study.report.words import format_special

    if settings["baseline"] is not None:
        part = f", fitted on {settings['train_part']}" if settings["train_part"] else ""
        options = "".join(f", {k} {v}" for k, v in settings["baseline_options"].items())
        return f"seed {settings['seed']}{options}{part}"
    changes = "".join(f", {text}" for text in format_special(Cell(**settings)))
    return (
        f"{settings['trainable']}, batch {settings['batch_size']}, lr {settings['lr']:g}, "
        f"{settings['epochs']} epochs, seed {settings['seed']}{changes}"
    )


def _known(count: int | None) -> str:
    return "unknown" if count is None else str(count)


def _told(figures: dict[str, Any]) -> str:
    from wbczoo.study.report.show import format_published

    return f"{format_published(figures['accuracy'])}; {format_published(figures['macro_f1'])}"


def _paths(given: tuple[str, ...]) -> dict[str, Path]:
    from wbczoo.errors import UsageError

    paths = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or not path:
            raise UsageError(
                f"--data takes DATASET=PATH, such as bccd=blood-cells.zip, not {text}."
            )
        paths[name] = Path(path)
    return paths

"""`wbczoo study`: a grid of trainings and baselines, run under several protocols."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from wbczoo.cli.datasets import data_option
from wbczoo.cli.options import (
    device_option,
    json_option,
    print_facts,
    print_json,
    print_table,
)
from wbczoo.cli.plans import plan_from, plan_options
from wbczoo.cli.results import echo
from wbczoo.text import count_sources, format_count, format_duration, name_source


@click.group("study")
def command() -> None:
    """Run a grid of trials under several protocols, show what is done, and report on it.

    Example: wbczoo study run docs/studies/report-2020.toml --out runs/study
    """


_plan = click.argument("plan", type=click.Path(path_type=Path))
_study = click.argument("study", type=click.Path(exists=True, path_type=Path))
_data = data_option("Where a data set lies, over what the plan says; repeat it.")
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
    "--trial",
    "chosen",
    multiple=True,
    metavar="KEY",
    help="One trial, by the beginning of its key that show prints; repeat it.",
)
@click.option(
    "--fresh",
    is_flag=True,
    help="Run also trials whose results lie beside the plan; show then has both.",
)
@click.option(
    "--storage",
    metavar="URL",
    help="Optuna's storage, shared by several machines.  [default: OUT/queue.sqlite]",
)
@click.option(
    "--in-order", is_flag=True, help="Take trials in the order of the plan, not the cheapest first."
)
@click.option("--dry-run", is_flag=True, help="Only print the trials, and how long they will take.")
@device_option
@json_option
@click.pass_context
def run(
    ctx: click.Context,
    /,
    plan: Path,
    out: Path,
    given: dict[str, Path],
    only: tuple[str, ...],
    chosen: tuple[str, ...],
    fresh: bool,
    storage: str | None,
    in_order: bool,
    dry_run: bool,
    device: str,
    as_json: bool,
) -> None:
    """Run every trial of a study that is not done; the same command goes on after a kill.

    Example: wbczoo study run docs/studies/report-2020.toml --out runs/study
    """
    from wbczoo.progress import tell
    from wbczoo.study.run.run import run_study

    if dry_run:
        _print_missing(plan, out, only, chosen, fresh, as_json)
        return
    report = run_study(
        plan, out, given, storage=storage, device=device, only=only, chosen=chosen, fresh=fresh,
        in_order=in_order, tell=tell,
    )  # fmt: skip
    counts = {"done_before": report.before, "done_now": report.done}
    document = {**counts, "refused": report.refused, "out": str(out)}
    told = Counter(report.refused.values())
    rows = [
        ("trials done before", report.before),
        ("trials done now", report.done),
        ("trials refused", len(report.refused)),
        *((f"{number} refused", reason) for reason, number in told.items()),
        ("study", out),
    ]
    print_facts(document, as_json, rows)
    if report.refused:
        ctx.exit(3)


@command.command("show")
@_study
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The folder of its results.  [default: STUDY, or what lies beside the plan]",
)
@_only
@_resamples
@json_option
def show(
    study: Path, out: Path | None, only: tuple[str, ...], resamples: int, as_json: bool
) -> None:
    """Show a study's done trials, each figure with its interval by group, and what was not run.

    STUDY is the folder that `study run` or `compare` wrote, or a plan's file.

    \b
    Example:
      wbczoo study show runs/study
      wbczoo study show docs/studies/report-2020.toml --out runs/study
    """
    from wbczoo.metrics.intervals import METHOD
    from wbczoo.study.plan.plan import find_plan
    from wbczoo.study.report.show import describe_trials

    trials = describe_trials(*find_plan(study, out), only, resamples=resamples)
    if as_json:
        print_json({"trials": trials})
        return
    done = [trial for trial in trials if trial["done"]]
    tasks = list(dict.fromkeys(task for trial in done for task in trial["tasks"]))
    sources = " or ".join(dict.fromkeys(f"{name_source(trial['unit'])}s" for trial in done))
    print_table(
        [
            (one["key"][:8], one["arena"], one["model"], one["setting"],
             f"{format_count(count_sources(one, one['unit']))} / {one['files']}",
             *(_figures(one, task) for task in tasks))
            for one in done
        ],
        ("trial", "protocol", "model", "setting", f"{sources or 'photographs'}\n/ files",
         *(f"{task}:\naccuracy; macro-F1" for task in tasks)),
    )  # fmt: skip
    missing: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for one in (one for one in trials if not one["done"]):
        alike = (one["missing"], one["arena"], one["model"], one["reason"])
        missing.setdefault(alike, []).append(one)
    for (why, arena, model, reason), ones in missing.items():
        time = format_duration(sum(one["seconds"] for one in ones))
        echo(f"{why}: {arena}, {model}: {len(ones)} trials; {reason}; about {time}")
    echo(f"\nIntervals: {METHOD}.")


@command.command("new")
@plan_options()
@click.option("--name", default="compare", show_default=True, help="The study's name.")
def new(*, name: str, **options: Any) -> None:
    """Print a study's plan, which `study run` takes: a start for a grid of your own.

    The data are read, so that what cannot be is said now. Without DATA it is a plan for drawn
    smears, as `wbczoo data prepare smears --dataset synthetic` makes them.

    \b
    Example:
      wbczoo study new cells --task own --each-file-a-photograph \\
          --backbone mobilenetv2 --backbone resnet18 > plan.toml
      wbczoo study new > plan.toml
    """
    from wbczoo.study.new import new_plan, plan_of_drawn
    from wbczoo.study.plan.write import write_toml

    nothing = options["data"] is None and not options["sources"]
    plan = plan_of_drawn() if nothing else new_plan(name=name, **plan_from(options))[0]
    echo(write_toml(plan).rstrip())


@command.command("report")
@_study
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
    study: Path, out: Path | None, images: bool, given: dict[str, Path], resamples: int,
    as_json: bool,
) -> None:  # fmt: skip
    """Write a study's report: report.html, which needs nothing beside it, and report.md.

    STUDY is the folder that `study run` wrote, or a plan's file with its results beside it.

    Example: wbczoo study report runs/study
    """
    from wbczoo.progress import tell
    from wbczoo.study.report.report import write_report

    document = write_report(study, out, resamples=resamples, images=images, data=given, tell=tell)
    if as_json:
        print_json(document)
        return
    if document["claims"]:
        print_table(
            [(one["verdict"], one["claim"]) for one in document["claims"]], ("verdict", "claim")
        )
    echo(f"{document['trials_done']} of {document['trials']} trials are done.")
    echo(f"report: {document['html']}, {document['markdown']}")


def _print_missing(
    plan: Path, out: Path, only: Sequence[str], chosen: Sequence[str], fresh: bool, as_json: bool
) -> None:
    from wbczoo.study.report.show import describe_missing

    document = describe_missing(plan, out, only, chosen, fresh=fresh)
    if as_json:
        print_json(document)
        return
    print_table(
        [
            (one["key"][:8], one["arena"], one["model"], one["setting"], one["how"],
             "done" if one["done"] else one["seconds"])
            for one in document["trials"]
        ],
        ("trial", "protocol", "model", "setting", "how", "seconds"),
    )  # fmt: skip
    echo(
        f"\n{document['done']} of {len(document['trials'])} trials are done; the others take about "
        f"{document['told']} in one process, by {document['basis']}."
    )


def _figures(one: dict[str, Any], task: str) -> str:
    """A trial's figures in a task; below them other results of the same trial."""
    from wbczoo.study.report.words import format_figures

    lines = [format_figures(one["tasks"][task])]
    if "kept" in one:
        lines.append(f"{format_figures(one['kept'][task])} (kept)")
    if published := one["published"].get(task):
        lines.append(f"{', '.join(f'{value:.4f}' for value in published)} (published)")
    return "\n".join(lines)

"""`wbczoo data show`: what a data set holds, and what a protocol would make of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wbczoo.cli.datasets import data_argument, dataset_options, split_from
from wbczoo.cli.options import json_option, print_json, print_table, tasks_option
from wbczoo.cli.results import echo
from wbczoo.cli.settings import split_settings
from wbczoo.errors import UsageError
from wbczoo.tasks import DEFAULT, Task
from wbczoo.text import count_sources, format_class, format_count, name_source

if TYPE_CHECKING:
    from wbczoo.config import TrainConfig
    from wbczoo.data.plan import Role
    from wbczoo.data.samples import Rows

ROLES: tuple[Role, ...] = ("train", "validation", "test")


@click.command("show")
@data_argument
@dataset_options
@split_settings(shown="none: no split is shown")
@tasks_option
@click.option(
    "--folds",
    is_flag=False,
    flag_value=5,
    type=click.IntRange(2),
    metavar="[N]",
    help="Show what each of so many folds of grouped tests, and how many files of each class; 5 "
    "where no number is said.",
)
@click.option("--seed", default=0, show_default=True, help="Of the split.")
@click.option(
    "--croissant",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also describe it for catalogues, as Croissant, in FILE and a list beside it.",
)
@json_option
@click.pass_context
def show(
    ctx: click.Context,
    /,
    data: Path,
    protocol: str | None,
    tasks: tuple[Task, ...],
    folds: int | None,
    croissant: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Count a data set's files and photographs by part, published split and label.

    With --protocol, also what it would train, validate and test on; with --folds in each fold of
    grouped.

    Example: wbczoo data show blood-cells.zip --dataset bccd --protocol official
    """
    from wbczoo.data.classes import explain_left_out, settle_tasks
    from wbczoo.data.prepared import count, read_dataset
    from wbczoo.data.splits import plan_split
    from wbczoo.progress import tell

    if folds is not None:
        if protocol not in (None, "grouped") or options["fold"] not in (None, "all"):
            raise UsageError("--folds shows all of --protocol grouped: leave out what is another.")
        protocol, options["folds"] = "grouped", folds
    config = split_from({**options, "protocol": protocol})
    rows = read_dataset(config, data, tell)
    if not tasks and (left := explain_left_out(rows, DEFAULT)):
        tell(left)
    named = settle_tasks(rows, tasks)
    tasks = named or DEFAULT
    rows_of: dict[tuple[str, str, str], list[int]] = {}
    for row, sample in enumerate(rows.samples):
        rows_of.setdefault((sample.part, sample.split or "", sample.label), []).append(row)
    document: dict[str, Any] = {
        "dataset": rows.dataset,
        "unit": rows.unit,
        "files": len(rows),
        "photographs": rows.count_photographs(range(len(rows))),
        "groups": len(set(rows.groups)),
        "refused": dict(rows.refused),
        "passed_over": dict(rows.passed_over),
        "contradictions": rows.contradictions(),
        "classes": {task.name: rows.files_of(task) for task in named},
        "left_out": {task.name: rows.left_out(task) for task in tasks},
        "labels": [
            {
                "part": key[0],
                "split": key[1] or None,
                "label": key[2],
                **count(rows, rows_of[key]),
            }
            for key in sorted(rows_of)
        ],
    }
    if protocol is not None:
        plan = plan_split(rows, tasks, config)
        document["split"] = {
            "protocol": protocol,
            "fold": plan.fold,
            "leaky": plan.leaky,
            "leaked_files": plan.leaked,
            "train": count(rows, plan.train),
            "validation": count(rows, plan.validation),
            "test": count(rows, plan.test),
            "counts": plan.counts,
        }
    if folds is not None:
        document["folds"] = [_describe_fold(rows, tasks, config, n) for n in range(config.folds)]
        del document["split"]
    if croissant is not None:
        from wbczoo.data.croissant import write_croissant
        from wbczoo.registry import datasets

        document |= write_croissant(rows, datasets.spec(config.dataset.selector), croissant)
    if as_json:
        print_json(document)
    else:
        _print(document)
    if rows.refused:
        ctx.exit(3 if len(rows) else 1)


def _describe_fold(
    rows: Rows, tasks: Sequence[Task], config: TrainConfig, fold: int
) -> dict[str, Any]:
    """What one fold trains, validates and tests on, and its test's files of each class."""
    from wbczoo.data.classes import count_classes
    from wbczoo.data.prepared import count
    from wbczoo.data.splits import plan_split

    plan = plan_split(rows, tasks, config.model_copy(update={"fold": fold}))
    roles: dict[str, Any] = {role: count(rows, plan.rows(role)) for role in ROLES}
    classes = count_classes(rows, plan, tasks)
    tested = {
        task: {name: files["test"] for name, files in found.items()}
        for task, found in classes.items()
    }
    return {"fold": fold, **roles, "tested": tested}


def _print_folds(folds: Sequence[dict[str, Any]], unit: str) -> None:
    echo(f"\nprotocol grouped: {name_source(unit)}s / files of each fold")
    tasks = list(folds[0]["tested"])
    print_table(
        [
            (
                fold["fold"],
                *(
                    f"{format_count(count_sources(fold[r], unit))} / {fold[r]['files']}"
                    for r in ROLES
                ),
                *(", ".join(f"{n} {name}" for name, n in fold["tested"][t].items()) for t in tasks),
            )
            for fold in folds
        ],
        ("fold", *ROLES, *(f"tested files, {task}" for task in tasks)),
    )


def _print(document: dict[str, Any]) -> None:
    unit = document["unit"]
    source, number = name_source(unit), document["photographs"]
    # Where no photograph is told of, a slide or a patient counts as one.
    further = source != "photograph" and number != document["groups"]
    echo(
        f"{document['dataset']}: {document['files']} files of "
        f"{format_count(count_sources(document, unit))} {source}s"
        f"{f', {number} photographs,' if further else ''} in "
        f"{document['groups']} groups (unit: {unit})\n"
    )
    print_table(
        [
            (
                row["part"],
                row["split"] or "",
                row["label"] or "(no label)",
                format_count(count_sources(row, unit)),
                row["files"],
            )
            for row in document["labels"]
        ],
        ("part", "split", "label", f"{source}s", "files"),
    )
    for task, classes in document["classes"].items():
        found = (f"{sum(of.values())} {format_class(name, of)}" for name, of in classes.items())
        echo(f"\nclasses of {task}: {', '.join(found)}")
    for task, left in document["left_out"].items():
        if left:
            told = ", ".join(f"{n} {label or '(no label)'}" for label, n in sorted(left.items()))
            echo(f"\nleft out of {task}: {told}")
    if "croissant" in document:
        echo(f"\ndescribed in {document['croissant']}, with {document['samples']}")
    if folds := document.get("folds"):
        _print_folds(folds, unit)
    split = document.get("split")
    if split is None:
        return
    word = " LEAKY" if split["leaky"] else ""
    fold = "" if split["fold"] is None else f", fold {split['fold']}"
    echo(f"\nprotocol {split['protocol']}{word}{fold}")
    print_table(
        [
            (
                role,
                format_count(count_sources(split[role], unit)),
                split[role]["files"],
                split[role]["groups"],
            )
            for role in ROLES
        ],
        ("role", f"{source}s", "files", "groups"),
    )
    if split["leaked_files"]:
        echo(f"{split['leaked_files']} test files are of {source}s that training sees too.")
    for name, number in split["counts"].items():
        echo(f"{name}: {number}")

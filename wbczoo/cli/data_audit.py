"""`wbczoo data audit`: find views of one photograph on both sides of a split, by pixels alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wbczoo.cli.datasets import data_argument, dataset_options, split_from
from wbczoo.cli.options import (
    json_option,
    print_json,
    print_table,
    tasks_option,
)
from wbczoo.cli.results import echo
from wbczoo.cli.settings import split_settings
from wbczoo.machine import how_to_install
from wbczoo.tasks import DEFAULT, Task

_SHOWN = 20  # groups in the table; --json has them all


@click.command("audit")
@data_argument
@dataset_options
@split_settings(shown="none: the published split is audited")
@tasks_option
@click.option("--seed", default=0, show_default=True, help="Of the split.")
@click.option("--check", is_flag=True, help="Compare with the photographs that the data declare.")
@click.option(
    "--against",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="HASHES",
    help="Look the images up in a list of SHA-256, such as of a backbone's pretraining, instead.",
)
@json_option
@click.pass_context
def audit(
    ctx: click.Context,
    /,
    data: Path,
    protocol: str | None,
    tasks: tuple[Task, ...],
    check: bool,
    against: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Find files of one photograph on both sides of a split, by their pixels alone.

    The split is the published one (train and test folders), or the one that --protocol makes.

    Example: wbczoo data audit smears --protocol report
    """
    from wbczoo.errors import WbczooError

    try:
        from wbczoo.audit.against import look_up, read_hashes
        from wbczoo.audit.report import check as hold_against
        from wbczoo.audit.report import (
            describe,
            planned_sides,
            published_sides,
            require_photographs,
        )
        from wbczoo.audit.search import audit as find_leaks
    except ModuleNotFoundError as error:
        raise WbczooError(
            "Auditing needs OpenCV (cv2) and threadpoolctl, of which "
            f"{error.name} is not installed: {how_to_install('train')}."
        ) from None
    from wbczoo.data.classes import settle_tasks
    from wbczoo.data.prepared import read_dataset
    from wbczoo.data.splits import plan_split
    from wbczoo.progress import tell

    config = split_from({**options, "protocol": protocol})
    hashes = None if against is None else read_hashes(against)
    rows = read_dataset(config, data, tell)
    if check:
        require_photographs(rows)
    sides: dict[int, str]
    if protocol is None and hashes is not None:
        sides = {row: sample.split or "unsplit" for row, sample in enumerate(rows.samples)}
    elif protocol is None:
        sides = published_sides(rows, config.part)
    else:
        sides = planned_sides(plan_split(rows, settle_tasks(rows, tasks or DEFAULT), config))
    if hashes is not None:
        looked_up = look_up(rows, sides, hashes)
        if as_json:
            print_json(looked_up)
        else:
            _print_listed(looked_up)
        ctx.exit(3 if looked_up["listed"] or looked_up["refused"] else 0)
    found = find_leaks(rows, sides)
    for path, reason in found.refused.items():
        tell(f"refused {path}: {reason}")
    document: dict[str, Any] = {
        "dataset": rows.dataset,
        "protocol": protocol,
        **describe(rows, found),
        "check": hold_against(rows, found) if check else None,
    }
    if as_json:
        print_json(document)
    else:
        _print(document)
    if document["groups"] or document["refused"]:
        ctx.exit(3)


def _print(document: dict[str, Any]) -> None:
    told = ", ".join(f"{side} {count}" for side, count in document["files"].items())
    split = document["protocol"] or "the published split"
    echo(f"{document['dataset']}, {split}: {told} files; judged by pixels alone")
    for side, count in document["leaked_files"].items():
        word = "LEAK: " if count else ""
        echo(
            f"{word}{count} of {document['files'][side]} {side} files show what an earlier side "
            "shows too."
        )
    if document["unjudged"]:
        echo(f"{len(document['unjudged'])} files show too little to be compared.")
    groups = document["groups"]
    if groups:
        echo()
        print_table(
            [_row(group, document["files"]) for group in groups[:_SHOWN]],
            (*document["files"], "inliers", "of", "confidence", "best pair"),
        )
        more = f"; {len(groups) - _SHOWN} more groups in --json" if len(groups) > _SHOWN else ""
        echo(f"\nA row is a group of files that show one photograph or field{more}.")
        echo(document["confidence_means"])
    if document["check"]:
        _print_check(document["check"])


def _print_listed(document: dict[str, Any]) -> None:
    for side, count in document["files"].items():
        paths = document["listed"].get(side, [])
        word = "LEAK: " if paths and side == "test" else ""
        echo(
            f"{word}{len(paths)} of {count} {side} files are among the {document['hashes']} listed"
        )
        for path in paths[:_SHOWN]:
            echo(f"  {path}")
        if len(paths) > _SHOWN:
            echo(f"  and {len(paths) - _SHOWN} more in --json")
    echo("by equal bytes: a file that was saved anew or cropped is not found")


def _row(group: dict[str, Any], sides: dict[str, int]) -> tuple[object, ...]:
    counts = [len(group["files"].get(side, ())) for side in sides]
    pair = group["best_pair"]
    if pair is None:
        return (*counts, "-", "-", "-", "only through other views, or equal bytes")
    names = f"{pair['file']} = {pair['shows']}"
    return (*counts, pair["inliers"], pair["matched"], f"at least {pair['confidence']}", names)


def _print_check(check: dict[str, Any]) -> None:
    echo("\nagainst what the data set declares")
    rows = []
    for unit in ("files", "groups"):
        scores = check[unit]
        rows.append(
            (
                unit,
                scores["true"],
                scores["told"],
                scores["both"],
                *(_score(scores, name) for name in ("recall", "precision")),
            )
        )
    print_table(rows, ("unit", "leak", "told", "both", "recall", "precision"))
    different = check["pairs_of_different_groups"]
    echo(
        f"{check['confirmed_pairs']} pairs of files were confirmed; the data set puts "
        f"{len(different)} pairs of photographs among them into different groups."
    )
    for pair in different:
        one, other = pair["photographs"]
        echo(f"  {one} and {other}: {pair['inliers']} inliers, {pair['file']}")


def _score(scores: dict[str, Any], name: str) -> str:
    if scores[name] is None:
        return "-"
    limits = scores.get(f"{name}_interval")
    return f"{scores[name]:.4f}" + (f" [{limits[0]:.3f}, {limits[1]:.3f}]" if limits else "")

"""`wbczoo train`: a composition, photographs and a protocol in; a run out."""

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
from wbczoo.cli.options import (
    Real,
    composition_options,
    device_option,
    json_option,
    out_option,
    print_json,
    print_table,
)
from wbczoo.cli.results import echo
from wbczoo.cli.settings import settings
from wbczoo.text import format_class, format_sources


@click.command("train")
@data_sources
@dataset_options
@composition_options(default_weights="imagenet")
@settings()
@out_option
@device_option
@click.option(
    "--init",
    type=click.Path(exists=True, path_type=Path),
    metavar="RUN",
    help="Start from a run: its composition and weights, its heads by the names of classes.",
)
@click.option("--resume", is_flag=True, help="Go on with a run that was stopped.")
@click.option(
    "--checkpoint-seconds",
    type=Real(min=0),
    default=300.0,
    show_default=True,
    help="How much work a kill may cost at most.",
)
@click.option(
    "--track",
    type=click.Choice(["tensorboard", "mlflow", "trackio"]),
    help="Let a tracker hear of each epoch too.",
)
@json_option
@click.pass_context
def command(
    ctx: click.Context, /, out: Path, fold: str | None, as_json: bool, **options: Any
) -> None:
    """Train a composition under a protocol and leave a run.

    \b
    Example:
      wbczoo train blood-cells.zip --dataset bccd --protocol official \\
          --backbone mobilenetv2 --seq bilstm --trainable all --epochs 1 --out runs/a
      wbczoo train --data bccd=blood-cells.zip --data pbc=pbc.zip --data raabin=raabin.zip \\
          --task cell5 --protocol laboratory --hold-out raabin --backbone mobilenetv2 --out runs/b
    """
    from wbczoo.training.run import train

    data = data_from(options)
    summaries = train(data=data, out=out, fold=parse_fold(fold), **options).summaries
    if not summaries:  # another device of the same training prints
        return
    if as_json:
        print_json(summaries[0] if len(summaries) == 1 else {"folds": summaries})
    else:
        for summary in summaries:
            print_table(_rows(summary), ("what", "value"))
        echo(f"run: {out}")
    if any(summary["data"]["refused_images"] for summary in summaries):
        ctx.exit(3)


def _rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    data = summary["data"]
    word = " LEAKY" if summary["leaky"] else ""
    fold = "" if data["fold"] is None else f", fold {data['fold']}"
    out = f", {data['held_out']} held out" if data.get("held_out") else ""
    rows = [
        ("model", summary["name"]),
        ("protocol", f"{summary['protocol']}{word}, part {data['part']}{fold}{out}"),
    ]
    for role in ("train", "validation", "test"):
        counts = data[role]
        sources = format_sources(counts, data["unit"])
        rows.append((role, f"{sources}, {counts['files']} files"))
    for name, roles in data.get("laboratories", {}).items():
        told = (f"{roles[role]['files']} {role}" for role in roles if roles[role]["files"])
        rows.append((f"files of {name}", ", ".join(told)))
    for task, found in data["classes"].items():
        raw = data.get("labels", {}).get(task, {})
        told = (
            f"{n['train']} {format_class(name, raw.get(name, ()))}" for name, n in found.items()
        )
        rows.append((f"training files, {task}", ", ".join(told)))
    rows += [(name, str(number)) for name, number in data["counts"].items() if number]
    rows += [
        (
            f"left out of {task}",
            ", ".join(f"{n} {label or '(no label)'}" for label, n in left.items()),
        )
        for task, left in data["left_out"].items()
    ]
    if len(segments := summary["segments"]) > 1:
        rates = (f"to epoch {each['epochs']} lr {each['lr']:g}" for each in segments)
        rows.append(("segments", ", ".join(rates)))
    epoch = f"{summary['best_epoch']} of {summary['epochs']}"
    if not data["validation"]["files"]:
        kept = ("epoch kept", f"{epoch}, the last; nothing validated")
    elif summary["keep"] == "last":
        kept = ("epoch kept", f"{epoch}, the last")
    else:
        kept = ("best epoch", f"{epoch}, by validation")
    seen = "saw too" if summary["leaky"] else "never saw"
    return [
        *rows,
        kept,
        ("figures", f"not yet: wbczoo evaluate measures it on photographs that it {seen}"),
    ]

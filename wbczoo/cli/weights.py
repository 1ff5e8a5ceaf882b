"""`wbczoo weights`: a checkpoint of any training becomes a file that `--weights` takes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from wbczoo.cli.options import json_option, print_facts


@click.group("weights")
def command() -> None:
    """Turn checkpoints into files that --weights takes.

    Example: wbczoo weights convert my.pt --strip encoder. --drop fc. --out mine.safetensors
    """


@command.command("convert")
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--strip", multiple=True, metavar="PREFIX", help="Taken off names that begin with it; repeat."
)
@click.option("--drop", multiple=True, metavar="PREFIX", help="Of names that are left out; repeat.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A .safetensors file.")
@click.option("--overwrite", is_flag=True, help="Replace the file.")
@json_option
def convert(checkpoint: Path, out: Path, as_json: bool, **options: Any) -> None:
    """Write a checkpoint's tensors as safetensors, under the names that a backbone has.

    Nothing in the checkpoint is run: only tensors and plain values are read.

    Example: wbczoo weights convert my.pt --strip encoder. --drop fc. --out mine.safetensors
    """
    from wbczoo.model.convert import convert_weights

    shapes = convert_weights(checkpoint, out, **options)
    names = list(shapes)
    rows = [
        ("file", str(out)),
        ("tensors", str(len(names))),
        ("values", f"{sum(map(math.prod, shapes.values())):,}"),
        ("first", names[0]),
        ("last", names[-1]),
    ]
    print_facts({"file": str(out), "tensors": shapes}, as_json, rows)
    if not as_json:
        click.echo(f"then: wbczoo build --backbone NAME --weights {out}", err=True)

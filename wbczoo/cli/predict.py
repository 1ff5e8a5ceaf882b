"""`wbczoo predict`: answers for images, streamed, without torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from wbczoo.cli.options import model_option, runtime_device_option


@click.command("predict")
@click.argument("images", nargs=-1, required=True)
@model_option
@click.option(
    "--format",
    "layout",
    type=click.Choice(["jsonl", "csv"]),
    default="jsonl",
    show_default=True,
    help="One JSON line or one CSV row for each image.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format jsonl.")
@click.option("--batch-size", type=click.IntRange(min=1), default=16, show_default=True)
@click.option("--workers", type=click.IntRange(min=1), help="Threads that decode images.")
@runtime_device_option
@click.pass_context
def command(
    ctx: click.Context,
    images: tuple[str, ...],
    model: Path,
    layout: str,
    as_json: bool,
    batch_size: int,
    workers: int | None,
    device: Any,
) -> None:
    """Answer image files, folders and patterns, one line for each image, in order.

    An image that cannot be used is a line with its reason; the others are answered.

    Example: wbczoo predict smears/ --model exports/a --format jsonl
    """
    from wbczoo.runtime import Session, find_images, predict_paths, write_csv, write_jsonl

    paths = find_images(images)
    session = Session(model, device=device)
    if device == "auto":
        why = f": {session.why_no_cuda}" if session.why_no_cuda else ""
        click.echo(f"computing with {session.provider}{why}", err=True)
    rows = predict_paths(session, paths, batch_size=batch_size, workers=workers)
    if as_json or layout == "jsonl":
        count = write_jsonl(rows, sys.stdout)
    else:
        count = write_csv(rows, session.tasks, sys.stdout)
    if count.refused:
        click.echo(f"{count.answered} images answered, {count.refused} refused", err=True)
    ctx.exit(count.exit_code)

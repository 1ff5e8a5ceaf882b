"""`wbczoo list`: every part that is installed, and every model that can be opened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from wbczoo import registry
from wbczoo.cli.options import json_option, print_json, print_table
from wbczoo.cli.results import echo
from wbczoo.runtime.published import TrainedModel, list_models


@click.command("list")
@json_option
@click.option("--strict", is_flag=True, help="Exit 3 if a plugin is broken or doubled.")
@click.pass_context
def command(ctx: click.Context, as_json: bool, strict: bool) -> None:
    """Show every backbone, sequence branch and data set, built-in or from a plugin, and the models.

    Example: wbczoo list --json
    """
    rows = {
        kind: [entry.row() for entry in parts.entries() if entry.status != "blocked"]
        for kind, parts in registry.ALL.items()
    }
    models = list_models()
    if as_json:
        print_json({**rows, "models": [model.row() for model in models]})
    else:
        print_table(
            [
                (
                    kind,
                    row["name"],
                    row["status"],
                    f"{row['distribution']} {row['version']}",
                    row["reason"],
                )
                for kind, entries in rows.items()
                for row in entries
            ],
            ("kind", "name", "status", "from", "reason"),
        )
        echo()
        print_table(
            [*_rows(models)], ("model", "MB", "learned from", "task", "classes, and figure")
        )
    wrong = [row for entries in rows.values() for row in entries]
    if strict and any(row["status"] in ("broken", "duplicate") for row in wrong):
        ctx.exit(3)


def _rows(models: Sequence[TrainedModel]) -> Iterator[tuple[str, ...]]:
    """A line for each task of a model, and one for its figure."""
    for model in models:
        lines = [(task, ", ".join(classes)) for task, classes in model.tasks.items()]
        figure = str(model.headline or "never evaluated")
        lines.append(("", model.reason or figure))
        learned = ", ".join(model.laboratories)
        learned += f"; adapted to {model.adapted_to}" * bool(model.adapted_to)
        told = (model.name, f"{model.bytes / 1e6:.1f}", learned)
        for place, line in enumerate(lines):
            yield (*(told if place == 0 else ("", "", "")), *line)

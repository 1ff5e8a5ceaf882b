"""`wbczoo list`: every part that is installed, and whether it can be used."""

from __future__ import annotations

import click

from wbczoo import registry
from wbczoo.cli.options import json_option, print_json, print_table


@click.command("list")
@json_option
@click.option("--strict", is_flag=True, help="Exit 3 if a plugin is broken or doubled.")
@click.pass_context
def command(ctx: click.Context, as_json: bool, strict: bool) -> None:
    """Show every backbone, sequence branch and data set, built-in or from a plugin.

    Example: wbczoo list --json
    """
    rows = {
        kind: [entry.row() for entry in parts.entries() if entry.status != "blocked"]
        for kind, parts in registry.ALL.items()
    }
    if as_json:
        print_json(rows)
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
    wrong = [row for entries in rows.values() for row in entries]
    if strict and any(row["status"] in ("broken", "duplicate") for row in wrong):
        ctx.exit(3)

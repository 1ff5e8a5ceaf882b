"""`wbczoo push`: an export goes to a model hub, if it holds."""

from __future__ import annotations

from pathlib import Path

import click

from wbczoo.cli.options import json_option, print_facts


@click.command("push")
@click.argument("export", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--repo", required=True, metavar="OWNER/NAME", help="Where to; made if it is not there."
)
@click.option("--private", is_flag=True, help="Make it private; a public one is refused.")
@json_option
def command(export: Path, repo: str, private: bool, as_json: bool) -> None:
    """Upload an export to a model hub as one commit, with its card as the page.

    The export is verified first. Exits 3 and sends nothing if it does not hold.

    Example: wbczoo push exports/a --repo me/white-cells --private
    """
    from wbczoo.runtime import hub

    document = hub.push(export, repo, private=private)
    rows = [
        ("at", document["url"]),
        ("commit", document["commit"]),
        ("private", document["private"]),
        ("files", ", ".join(document["files"])),
    ]
    print_facts(document, as_json, rows)

"""`wbczoo pull`: an export comes from a model hub, and stays if it holds."""

from __future__ import annotations

from pathlib import Path

import click

from wbczoo.cli.options import json_option, out_option, print_facts


@click.command("pull")
@click.argument("repo", metavar="OWNER/NAME")
@out_option
@click.option("--revision", help="A branch, tag or commit.  [default: the main branch]")
@json_option
def command(repo: str, out: Path, revision: str | None, as_json: bool) -> None:
    """Fetch an export from a model hub, check its hashes and replay its example.

    Exits 3 and keeps nothing if it does not hold.

    Example: wbczoo pull me/white-cells --out exports/a
    """
    from wbczoo.runtime import hub

    document = hub.pull(repo, out, revision=revision)
    rows = [
        ("model", document["name"]),
        ("from", f"{document['endpoint']}/{document['repository']}"),
        ("commit", document["commit"]),
        ("files", ", ".join(str(out / name) for name in document["files"])),
    ]
    print_facts(document, as_json, rows)

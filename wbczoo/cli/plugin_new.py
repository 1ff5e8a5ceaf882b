"""`wbczoo plugin new`: write a distribution with one working part, to start a plugin from."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from wbczoo.cli.results import echo
from wbczoo.skeleton import KINDS, Kind, name_plugin, write_plugin


@click.command("new")
@click.argument("distribution")
@click.option("--kind", type=click.Choice(KINDS), required=True, help="What it adds to the zoo.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="A new folder for it.  [default: the distribution's name]",
)
def new(distribution: str, kind: Kind, out: Path | None) -> None:
    """Write a plugin that works, with its test, as a start for one of your own.

    DISTRIBUTION is what `pip install` will call it; wbczoo-mynet adds the part mynet.

    Example: wbczoo plugin new wbczoo-mynet --kind backbone
    """
    folder = out or Path(distribution)
    for path in write_plugin(distribution, kind, folder):
        echo(path)
    click.echo("next:", err=True)
    for command in (
        ["pip", "install", "--editable", f"{folder}[test]"],
        ["wbczoo", "plugin", "check", name_plugin(distribution, kind).part],
        ["python", "-m", "pytest", str(folder)],
    ):
        click.echo(f"  {shlex.join(command)}", err=True)

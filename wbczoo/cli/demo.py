"""`wbczoo demo`: the whole road once, offline, on smears that the package draws."""

from __future__ import annotations

from pathlib import Path

import click

from wbczoo.cli.options import print_table, seed_option


@click.command("demo")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/demo"),
    show_default=True,
    help="A new folder for all that it writes.",
)
@seed_option("the drawn images, the weights and the split")
def command(out: Path, seed: int) -> None:
    """Draw smears, train mobilenetv2 + bilstm a little, measure, export, verify and predict.

    The images are drawn, so the figures speak of the software and of nothing else.

    Example: wbczoo demo --out runs/demo
    """
    from wbczoo.demo import run_demo
    from wbczoo.progress import tell

    found = run_demo(out, seed=seed, tell=tell)
    click.echo()
    print_table(found.figures, ("drawn smears, protocol official", "value", "95 % interval"))
    click.echo()
    asked = ("image", "cell", "probability", "nucleus", "probability")
    print_table(found.answers, asked)
    click.echo(f"\nThe published model {found.published} answers the same drawn images so:\n")
    print_table(found.published_answers, asked)
    click.echo()
    print_table(found.paths, ("what", "where"))

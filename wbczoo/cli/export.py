"""`wbczoo export`: a run becomes one ONNX file with its card."""

from __future__ import annotations

from pathlib import Path

import click

from wbczoo.cli.options import json_option, out_option, print_json, print_table


@click.command("export")
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@out_option
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="Real images for the parity gate.  [default: the run's own cached ones]",
)
@click.option("--opset", type=click.IntRange(18, 23), default=18, show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace an earlier export.")
@json_option
def command(
    run: Path, out: Path, images: Path | None, opset: int, overwrite: bool, as_json: bool
) -> None:
    """Write a run as model.onnx with card.json, card.md and example.npz.

    An export that answers differently from PyTorch is not written.

    Example: wbczoo export runs/a --out exports/a
    """
    from wbczoo.export import export
    from wbczoo.progress import tell

    card = export(run, out, images=images, opset=opset, overwrite=overwrite, tell=tell)
    if as_json:
        print_json(card)
        return
    parity = card["parity"]
    print_table(
        [
            ("model", card["name"]),
            ("size", f"{card['bytes'] / 1e6:.1f} MB"),
            (
                "parity",
                f"{parity['difference']:.2g} of {parity['bound']:.2g} allowed, on "
                f"{parity['images']} {parity['source']}, batches {parity['batches']}",
            ),
            ("files", ", ".join(str(out / n) for n in ("model.onnx", "card.md", "example.npz"))),
        ],
        ("what", "value"),
    )

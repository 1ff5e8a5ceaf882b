"""`wbczoo build`: check a composition, describe it, and save it untrained if wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wbczoo.cli.options import composition_options, json_option, print_facts
from wbczoo.cli.settings import setting
from wbczoo.tasks import DEFAULT


@click.command("build")
@composition_options(default_weights="none")
@setting("trainable")
@setting("seed", help="Of the random initial weights.")
@click.option("--out", type=click.Path(path_type=Path), help="Save an untrained run here.")
@json_option
def command(trainable: Any, out: Path | None, as_json: bool, **options: Any) -> None:
    """Check a composition and describe it.

    Example: wbczoo build --backbone mobilenetv2 --seq bilstm
    """
    from wbczoo.model.build import create_model, describe_model
    from wbczoo.training.elsewhere import save_run

    model = create_model(**{**options, "tasks": options["tasks"] or DEFAULT})
    model.open_for_training(trainable)
    document = describe_model(model)
    if out is not None:
        save_run(model, out)
    features = document["features"]
    rows = [
        ("name", document["name"]),
        ("parameters", f"{document['parameters']:,}"),
        ("trainable", f"{document['trainable_parameters']:,}"),
        ("features", f"{features['backbone']} + {features['sequence']} = {features['fused']}"),
        ("weights", document["weights"]["source"]),
        *((f"task {name}", ", ".join(classes)) for name, classes in document["tasks"].items()),
    ]
    print_facts(document, as_json, rows)
    if out is not None:
        click.echo(f"saved untrained in {out}", err=True)

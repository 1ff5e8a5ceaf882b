"""`wbczoo build`: check a composition, describe it, and save it untrained if wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from wbczoo.cli.options import composition_options, json_option, print_facts
from wbczoo.cli.settings import setting
from wbczoo.tasks import DEFAULT


@click.command("build")
@composition_options(default_weights="none")
@setting("trainable")
@setting("seed", help="Of the random initial weights.")
@click.option("--out", type=click.Path(path_type=Path), help="Save an untrained run here.")
@json_option
@click.pass_context
def command(
    ctx: click.Context, /, trainable: Any, out: Path | None, as_json: bool, **options: Any
) -> None:
    """Check a composition and describe it.

    Example: wbczoo build --backbone mobilenetv2 --seq bilstm
    """
    from wbczoo.model.build import create_model, describe_model
    from wbczoo.model.compose import explain_random
    from wbczoo.progress import tell
    from wbczoo.training.elsewhere import save_run

    model = create_model(**{**options, "tasks": options["tasks"] or DEFAULT})
    model.open_for_training(trainable)
    network = (model.config.backbone.name, options["weights"], trainable)
    sources = (ctx.get_parameter_source(name) for name in ("weights", "trainable"))
    # By the defaults alone a composition is looked at, and nobody means to train it so.
    meant = out is not None or ParameterSource.COMMANDLINE in sources
    if meant and (random := explain_random([network])):
        tell(random)
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

"""Options of the verbs that ask an exported model: which one, computed where, and flagged when."""

from __future__ import annotations

from pathlib import Path

import click

from wbczoo.cli.options import Real

_BY_DEFAULT = "wbczoo.model_by_default"


def _find_model(ctx: click.Context, parameter: click.Parameter, given: str | None) -> Path:
    """Where the model lies that was named, or the default one."""
    from wbczoo.runtime.named import resolve

    if given is None:
        ctx.meta[_BY_DEFAULT] = True
    return resolve(given)


def tell_default_model() -> None:
    """Say which model answers where nobody named one; once it is sure that it will answer."""
    from wbczoo.progress import tell
    from wbczoo.runtime.published import published

    if click.get_current_context().meta.pop(_BY_DEFAULT, False):
        known = published()
        said = known.good_for.get(known.names[0])
        tell(
            f"answered by the published model {known.names[0]}" + (f", for {said}" if said else "")
        )


class _ModelOption(click.Option):
    """Names its default, which a list of published models says, only where help is shown."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        from wbczoo.errors import WbczooError
        from wbczoo.runtime.published import published

        try:
            default = f"  [default: {published().names[0]}]"
        except WbczooError:  # none came with this installation
            default = ""
        record = super().get_help_record(ctx)
        return record and (record[0], record[1] + default)


model_option = click.option(
    "--model",
    cls=_ModelOption,
    metavar="PATH|NAME|URL",
    callback=_find_model,
    help="An export's folder, its model.onnx alone, a published model's name, or hf://OWNER/NAME "
    "on a hub.",
)

model_argument = click.argument("model", metavar="MODEL", callback=_find_model)

runtime_device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "tensorrt"]),
    default="auto",
    show_default=True,
    help="Where to compute; auto says what it got.",
)

engine_option = click.option(
    "--engine",
    type=click.Choice(["onnxruntime", "openvino", "openvino-bf16"]),
    default="onnxruntime",
    show_default=True,
    help="What computes; OpenVINO only on the CPU.",
)

time_limit_option = click.option(
    "--time-limit",
    type=Real(min=0, min_open=True),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="The longest that the model may take for a batch.",
)

cells_option = click.option(
    "--cells",
    type=click.Choice(["one", "all", "whole"]),
    help="Of a model trained with --crop cell or cell-wide: the best cell of each image, "
    "each cell, or the image as it is.  [default: one]",
)

unknown_above_option = click.option(
    "--unknown-above",
    type=Real(),
    metavar="NOVELTY",
    help="Flag answers whose novelty is above this.  [default: the model's limit]",
)

coverage_option = click.option(
    "--coverage",
    type=click.Choice(["0.8", "0.9", "0.95", "0.99"]),
    help="Also name the classes of which one is right for this share of the cells of each class, "
    "of the laboratories that trained the model, or to which it was adapted.",
)

unsure_below_option = click.option(
    "--unsure-below",
    type=Real(0, 1),
    metavar="PROBABILITY",
    help="Flag answers with a probability below this.  [default: the model's limit of each task]",
)

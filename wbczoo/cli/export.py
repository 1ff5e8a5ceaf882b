"""`wbczoo export`: a run becomes one ONNX file with its card."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from wbczoo.cli.options import Real, json_option, out_option, print_facts
from wbczoo.text import format_size


def _parse_size(
    ctx: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[int, int] | None:
    """Height and width in pixels."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{2,5})x(\d{2,5})", text)
    if found is None or min(int(found[1]), int(found[2])) < 16:
        raise click.BadParameter(
            f"{text!r} is no size such as 480x640: height, x, width, each from 16."
        )
    return int(found[1]), int(found[2])


@click.command("export")
@click.argument("run")
@out_option
@click.option(
    "--fold", type=click.IntRange(min=0), help="Of a folder of several folds' runs, which one."
)
@click.option(
    "--ensemble",
    is_flag=True,
    help="Export all runs of a folder as one model: the mean of their probabilities.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp32",
    show_default=True,
    help="Of the weights; fp16 and int8 must answer as fp32 does, on real images.",
)
@click.option(
    "--agreement",
    type=Real(0, 1, min_open=True),
    metavar="SHARE",
    help="Of answers equal to fp32's that is enough for fp16 or int8, such as .99.",
)
@click.option(
    "--embed-preprocess",
    is_flag=True,
    help="Let the graph read photographs of any size, (batch, H, W, 3), and resize them itself.",
)
@click.option(
    "--camera-size",
    "camera",
    metavar="HxW",
    callback=_parse_size,
    help="With --embed-preprocess: the one size that it reads, in a form that TensorRT takes.",
)
@click.option(
    "--layout",
    type=click.Choice(["folder", "triton", "bioimageio", "wsinfer"]),
    default="folder",
    show_default=True,
    help="What is written: an export's folder, a model in the Triton repository --out, or the "
    "package --out, a zip, of the BioImage Model Zoo; wsinfer is a folder with TorchScript for "
    "WSInfer and QuPath in it.",
)
@click.option(
    "--um-per-pixel",
    type=Real(),
    metavar="UM",
    help="With --layout wsinfer: micrometres that a pixel of what the model reads spans.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="Real images for the gates.  [default: the run's own cached ones]",
)
@click.option(
    "--statistics-from",
    type=click.Path(path_type=Path),
    help="Images of your laboratory, without labels: batch norms answer by their statistics.",
)
@click.option(
    "--trained-elsewhere",
    metavar="TEXT",
    help="Of a model that a loop of your own trained: on what, in words for its card.",
)
@click.option(
    "--maps",
    is_flag=True,
    help="Let the graph tell what each position of an image adds to a logit.",
)
@click.option("--opset", type=click.IntRange(18, 23), default=18, show_default=True)
@click.option(
    "--speed",
    type=click.Choice(["full", "short", "none"]),
    default="full",
    show_default=True,
    help="How it is measured for the card: for seconds, by one round, or not.",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier export.")
@json_option
def command(run: str, out: Path, as_json: bool, **options: Any) -> None:
    """Write a run as model.onnx with card.json, card.md and example.npz.

    RUN may be an export, or a published model's name or hf://OWNER/NAME: it is copied as it is,
    or from fp32 put into another --precision, measured on --images.

    An export that answers differently from PyTorch is not written; nor is one in fp16 or int8
    that answers differently from fp32 (exit code 3).

    Example: wbczoo export runs/a --out exports/a
    """
    from wbczoo.exporting.export import export
    from wbczoo.exporting.triton import model_name
    from wbczoo.progress import tell

    card = export(run, out, tell=tell, **options)
    parity, agreement, speed = card["parity"], card["agreement"], card["speed"]
    rows = [
        ("model", card["name"]),
        ("size", format_size(card["bytes"])),
        (
            "parity",
            f"{parity['difference']:.2g} of {parity['bound']:.2g} allowed, on "
            f"{parity['images']} {parity['source']}, batches {parity['batches']}",
        ),
    ]
    if agreement:
        tasks = ", ".join(
            f"{task} {found['equal']} of {agreement['images']}{_least(agreement, found)}, within "
            f"{found['difference']:.2g}"
            for task, found in agreement["tasks"].items()
        )
        rows.append((card["precision"], f"{agreement['layers']}"))
        rows.append(("as fp32", f"{tasks}; {agreement['speed']:.2f} times as fast"))
    if speed:
        told = f"{speed['images_per_second']:g} images/s in batches of {speed['batch']}, "
        told = "" if speed["batch"] == 1 else told
        rows.append(
            ("speed", f"{told}{speed['latency_ms']:g} ms for one, {speed['threads']} threads")
        )
    if options["layout"] == "triton":
        rows.append(("repository", f"{out}, model {model_name(card['name'])}"))
    elif options["layout"] == "bioimageio":
        rows.append(("package", str(out)))
    else:
        names = ("model.onnx", "card.md", "example.npz")
        if options["layout"] == "wsinfer":
            rows.append(("user model directory", str(out / "wsinfer")))
        rows.append(("files", ", ".join(str(out / name) for name in names)))
    print_facts(card, as_json, rows)


def _least(agreement: dict[str, Any], found: dict[str, Any]) -> str:
    """How few answers may be equal after all, where it was measured on few images."""
    from wbczoo.exporting.agreement import ENOUGH

    if agreement["images"] >= ENOUGH:
        return ""
    return f" (at least {100 * found['low']:.1f} % of all, by the 95 % interval)"

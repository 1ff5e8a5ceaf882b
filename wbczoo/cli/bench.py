"""`wbczoo bench`: speed as ratios measured in one run, and how well white cells are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wbczoo.cli.bench_fields import fields
from wbczoo.cli.bench_locate import locate
from wbczoo.cli.bench_maps import maps
from wbczoo.cli.bench_study import study
from wbczoo.cli.datasets import data_argument, dataset_from, dataset_options
from wbczoo.cli.options import (
    compose_from,
    composition_options,
    device_option,
    json_option,
    print_json,
    print_table,
)
from wbczoo.cli.results import echo
from wbczoo.cli.settings import setting


@click.group("bench")
def command() -> None:
    """Measure speed as ratios of two things done in the same run, and how well cells are found.

    Example: wbczoo bench train smears --dataset synthetic --backbone mobilenetv2
    """


command.add_command(fields)
command.add_command(locate)
command.add_command(maps)
command.add_command(study)


@command.command("train")
@data_argument
@dataset_options
@composition_options(default_weights="none")
@setting("trainable", default="all")
@click.option("--batch-size", default=32, show_default=True)
@click.option("--augment/--no-augment", default=False, show_default=True)
@click.option("--steps", type=click.IntRange(min=4), default=24, show_default=True, help="At most.")
@device_option
@json_option
def train(
    data: Path,
    trainable: Any,
    batch_size: int,
    augment: bool,
    steps: int,
    device: str,
    weights: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare a real epoch's images/s with steps on one resident batch.

    A ratio near 1 to the same step says that training never waits for its data; the ratio to a
    plain step is what training here gains over a loop that a user would write.

    Example: wbczoo bench train blood-cells.zip --dataset bccd --backbone mobilenetv2
    """
    from wbczoo.bench.training import bench_train
    from wbczoo.config import train_config
    from wbczoo.progress import tell

    config = train_config(
        dataset=dataset_from(options),
        trainable=trainable,
        batch_size=batch_size,
        augment=augment,
    )
    document = bench_train(
        compose_from(options), config, data, steps=steps, weights=weights, device=device, tell=tell
    )
    if as_json:
        print_json(document)
        return
    print_table(
        [
            ("a real epoch", f"{document['epoch_images_per_second']:.1f} images/s"),
            ("one resident batch", f"{document['resident_images_per_second']:.1f} images/s"),
            ("a plain step on it", f"{document['plain_images_per_second']:.1f} images/s"),
            ("ratio to the batch's own", f"{document['ratio']:.3f}"),
            ("ratio to the plain step", f"{document['ratio_to_plain']:.3f}"),
            (
                "measured",
                f"{document['rounds']} rounds of {document['steps']} steps of "
                f"{document['batch_size']} images, in turn, on {document['device']}",
            ),
        ],
        ("what", "value"),
    )


def _find_models(
    ctx: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> tuple[Path, ...]:
    from wbczoo.runtime.named import resolve

    return tuple(map(resolve, given))


@command.command("predict")
@click.argument("images", nargs=-1, required=True)
@click.option(
    "--model",
    "models",
    callback=_find_models,
    multiple=True,
    required=True,
    help="An export; repeat it for other precisions of the same run.",
)
@click.option(
    "--run",
    type=click.Path(exists=True, path_type=Path),
    help="The run that was exported, to compare with PyTorch.",
)
@click.option(
    "--device", type=click.Choice(["cpu", "cuda", "tensorrt"]), default="cpu", show_default=True
)
@click.option("--batch-size", type=click.IntRange(min=2), default=32, show_default=True)
@click.option(
    "--limit", type=click.IntRange(min=2), default=512, show_default=True, help="Images at most."
)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option(
    "--compile/--no-compile",
    "compiled",
    default=True,
    show_default=True,
    help="With --run: torch.compile too, which takes minutes to start.",
)
@json_option
def predict(
    images: tuple[str, ...],
    models: tuple[Path, ...],
    run: Path | None,
    device: str,
    batch_size: int,
    limit: int,
    rounds: int,
    compiled: bool,
    as_json: bool,
) -> None:
    """Compare predict with PyTorch, OpenVINO and the bound that the machine sets.

    Each is timed in a process of its own, in turn.

    Example: wbczoo bench predict smears/test --model exports/a --run runs/a
    """
    from wbczoo.bench.prediction import bench_predict
    from wbczoo.progress import tell
    from wbczoo.runtime import find_images

    document = bench_predict(
        find_images(images)[:limit],
        models,
        run=run,
        device=device,
        batch=batch_size,
        rounds=rounds,
        compiled=compiled,
        tell=tell,
    )
    if as_json:
        print_json(document)
        return
    print_table(
        [_cells(row, str(batch_size)) for row in document["rows"]],
        (
            "what",
            "files to CSV,\nimages/s (batch)",
            "times\nPyTorch",
            "of the\nbound",
            "batch 1, ms\nmedian, p95",
            f"batch {batch_size}, ms\nmedian, p95",
            "peak\nMB",
            "equal answers,\nprobability off by",
        ),
    )
    echo(
        f"\n{document['images']} images, {document['rounds']} rounds in turn, on "
        f"{document['device']}: {document['processor']}, {document['cores']} cores"
    )


def _cells(row: dict[str, Any], batch: str) -> list[str]:
    if row["error"]:
        return [row["name"], *[""] * 6, row["error"]]

    def form(value: float | None, places: int) -> str:
        return "" if value is None else f"{value:.{places}f}"

    def latency(size: str) -> str:
        found = row["latency_ms"].get(size)
        return "" if found is None else f"{found['median']:.1f}, {found['p95']:.1f}"

    agreement = row["agreement"] or {}
    return [
        row["name"],
        ", ".join(f"{value:.0f} ({size})" for size, value in row["images_per_second"].items()),
        form(row["ratio_to_pytorch"], 2),
        form(row["of_bound"], 2),
        latency("1"),
        latency(batch),
        form(row["peak_megabytes"], 0),
        "; ".join(
            f"{task} {found['equal']:.4f}, {found['probability_difference']:.2g}"
            for task, found in agreement.items()
        ),
    ]

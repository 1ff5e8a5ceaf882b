"""`wbczoo bench`: speed as ratios measured in one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wbczoo.cli.options import (
    compose_from,
    composition_options,
    data_argument,
    dataset_from,
    dataset_options,
    device_option,
    json_option,
    print_json,
    print_table,
    trainable_option,
)


@click.group("bench")
def command() -> None:
    """Measure speed as ratios of two things done in the same run.

    Example: wbczoo bench train smears --dataset synthetic --backbone mobilenetv2
    """


@command.command("train")
@data_argument
@dataset_options
@composition_options(default_weights="none")
@trainable_option(default="all")
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
    """Compare a real epoch's images/s with the same step on one resident batch.

    A ratio near 1 says that training never waits for its data.

    Example: wbczoo bench train blood-cells.zip --dataset bccd --backbone mobilenetv2
    """
    from wbczoo.bench import bench_train
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
            ("ratio", f"{document['ratio']:.3f}"),
            (
                "measured",
                f"{document['rounds']} rounds of {document['steps']} steps of "
                f"{document['batch_size']} images, in turn, on {document['device']}",
            ),
        ],
        ("what", "value"),
    )

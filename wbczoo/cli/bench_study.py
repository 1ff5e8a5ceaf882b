"""`wbczoo bench study`: how fast a study's trials train over features that are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wbczoo.cli.datasets import data_argument, dataset_from, dataset_options
from wbczoo.cli.options import device_option, json_option, print_json, print_table


@click.command("study")
@data_argument
@dataset_options
@click.option("--backbone", "backbones", multiple=True, required=True, help="Repeat it.")
@click.option("--seq", "sequence", default="bilstm", show_default=True, help="A sequence branch.")
@click.option("--weights", default="imagenet", show_default=True, help="none, imagenet, or a file.")
@click.option(
    "--protocol",
    type=click.Choice(["report", "official", "grouped"]),
    default="report",
    show_default=True,
)
@click.option("--epochs", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--steps", type=click.IntRange(min=1), default=24, show_default=True)
@device_option
@json_option
def study(
    data: Path,
    backbones: tuple[str, ...],
    sequence: str,
    weights: str,
    protocol: Any,
    epochs: int,
    batch_size: int,
    steps: int,
    device: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Time a study's trials: heads, a branch and a last block over cached features, and images.

    Example: wbczoo bench study blood-cells.zip --dataset bccd --backbone mobilenetv2
    """
    from wbczoo.bench.study import bench_study
    from wbczoo.progress import tell

    document = bench_study(
        data,
        dataset_from(options),
        backbones,
        sequence=sequence,
        weights=weights,
        protocol=protocol,
        epochs=epochs,
        batch_size=batch_size,
        steps=steps,
        device=device,
        tell=tell,
    )
    if as_json:
        print_json(document)
        return
    branch, images = document["branch"], document["images"]
    rows = [
        (
            f"{one['trials']} trials of {one['name']}, features included",
            f"{one['seconds']:.1f} s: {document['epochs']} epochs of "
            f"{one['training_images']} images each, {one['images_per_second']:.0f} images/s",
        )
        for one in document["trials"]
    ]
    print_table(
        [
            *rows,
            (f"a trial of {branch['name']}", f"{branch['images_per_second']:.1f} images/s"),
            ("the bare branch's step", f"{branch['bare_images_per_second']:.1f} images/s"),
            ("ratio", f"{branch['ratio']:.3f}"),
            (f"{images['name']} from images", f"{images['images_per_second']:.1f} images/s"),
            ("ratio of the cached trials to it", f"{images['ratio']:.1f}"),
            *(
                (
                    f"{one['name']}, last block open",
                    f"{one['cached_images_per_second']:.1f} images/s over its trunk's features, "
                    f"{one['images_per_second']:.1f} from images: {one['ratio']:.1f} times",
                )
                for one in document["last_block"]
            ),
            (
                "measured",
                f"{document['protocol']}, {document['rounds']} rounds of {document['steps']} steps "
                f"of {document['batch_size']} images, in turn, on {document['device']}",
            ),
        ],
        ("what", "value"),
    )

"""How well white cells are found, on the sets with boxes, under other lamps and magnifications.

    python tools/measure_finder.py ../shared/data
    python tools/measure_finder.py ../shared/data --network without-raabin.onnx --set raabin

prints a table of recall and precision with intervals by group, then the share of found cells that
are found again in a changed image, then how many pictures without a white cell stay without one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import cv2
import numpy as np
from finder.boxed import Boxed, Pixels, read_platelets, read_sets
from finder.drawn import draw_field, draw_other
from tabulate import tabulate

from wbczoo.bench.locating import Located, measure_locating
from wbczoo.cells import find, network
from wbczoo.cells.overlap import overlap

Back = Callable[[np.ndarray], np.ndarray]


def measure(name: str, images: list[Boxed]) -> list[str]:
    """A row of the table: recall / precision with lower limits, and mean overlap."""
    located = [
        Located(image.boxes, [cell.box for cell in find(image.read())], image.group, image.label)
        for image in images
    ]
    figures = measure_locating(located, resamples=1000)

    def both(rule: str) -> str:
        shown = (figures[rule]["recall"], figures[rule]["precision"])
        return " / ".join(
            f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]" for one in shown
        )

    counts = f"{figures['images']} / {figures['groups']} / {figures['cells']}"
    share = f"{figures['overlap']['value']:.3f}"
    return [name, counts, both("centre"), both("iou 0.5"), both("iou 0.7"), share]


def changes(image: Pixels, rng: np.random.Generator) -> Iterator[tuple[str, Pixels, Back]]:
    """Changed images, and how boxes in them come back to the image."""
    height, width = image.shape[:2]
    for scale in (0.25, 0.35, 0.5, 0.7, 1.4, 2, 3):
        size = (round(width * scale), round(height * scale))
        kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        ratio = np.array([width / size[0], height / size[1]] * 2)
        yield (
            f"scaled by {scale}",
            cv2.resize(image, size, interpolation=kind),
            lambda b, r=ratio: b * r,
        )
    field = np.empty((2 * height, 2 * width, 3), np.uint8)
    field[:] = np.percentile(image.reshape(-1, 3), 90, axis=0).astype(np.uint8)
    x, y = int(rng.integers(width)), int(rng.integers(height))
    field[y : y + height, x : x + width] = image
    yield "in a field of 4 times the area", field, lambda b: b - np.array([x, y, x, y])
    lit = (image * rng.uniform(0.8, 1.2, 3)).clip(0, 255).astype(np.uint8)
    yield "another lamp", lit, lambda b: b
    turned = np.ascontiguousarray(np.rot90(image))
    yield (
        "a quarter turn",
        turned,
        lambda b: np.stack([width - b[:, 3], b[:, 0], width - b[:, 1], b[:, 2]], 1),
    )


def stability(images: list[Boxed], every: int) -> dict[str, str]:
    """The share of cells that are found again at IoU .7, for each change."""
    rng = np.random.default_rng(0)
    again: dict[str, list[int]] = {}
    for image in (one.read() for one in images[::every]):
        first = _boxes(image)
        for name, changed, back in changes(image, rng):
            shares = overlap(first, back(_boxes(changed)))
            again.setdefault(name, []).extend((shares.max(axis=1, initial=0) >= 0.7).tolist())
    return {name: f"{np.mean(hits):.3f} of {len(hits)}" for name, hits in again.items()}


def without_cells(data: Path, every: int) -> dict[str, list[bool]]:
    """For each kind of picture without a white cell, whether one was found in each."""
    rng = np.random.default_rng(3)
    answers = {
        "drawn red cells": [
            bool(find(draw_field(np.random.default_rng(777 + i), 0)[0])) for i in range(100)
        ],
        "other pictures": [
            bool(find(draw_other(np.random.default_rng(5000 + i)))) for i in range(90)
        ],
        "platelets (PBC)": [bool(find(one.read())) for one in read_platelets(data)[::every]],
        "plain": [bool(find(np.full((300, 400, 3), v, np.uint8))) for v in (0, 30, 200, 255)],
    }
    for name in ("bccd", "bionet"):
        answers[f"outside the boxes ({name})"] = [
            bool(find(part))
            for one in read_sets(data)[name][::3]
            if one.boxes and (part := _outside(one, rng)) is not None
        ]
    return answers


def _outside(image: Boxed, rng: np.random.Generator) -> Pixels | None:
    pixels = image.read()
    height, width = pixels.shape[:2]
    for _ in range(30):
        w, h = int(rng.integers(160, 420)), int(rng.integers(120, 320))
        x, y = int(rng.integers(width - w)), int(rng.integers(height - h))
        if all(b[2] <= x or b[0] >= x + w or b[3] <= y or b[1] >= y + h for b in image.boxes):
            return np.ascontiguousarray(pixels[y : y + h, x : x + w])
    return None


def _boxes(image: Pixels) -> np.ndarray:
    return np.array([cell.box for cell in find(image)], float).reshape(-1, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--network", type=Path, default=network.NETWORK)
    parser.add_argument("--set", action="append", choices=["bccd", "raabin", "pbc", "bionet"])
    parser.add_argument("--boxes-only", action="store_true")
    parser.add_argument("--every", type=int, default=5, help="of the images that are changed")
    options = parser.parse_args()
    network.NETWORK = options.network
    sets = {
        name: s for name, s in read_sets(options.data).items() if name in (options.set or [name])
    }
    head = ["set", "images / groups / cells", "centre R / P", "IoU .5 R / P", "IoU .7 R / P", "IoU"]
    click.echo(tabulate([measure(name, images) for name, images in sets.items()], head, "pipe"))
    if options.boxes_only:
        return
    rows = {name: stability(images, options.every) for name, images in sets.items()}
    kinds = next(iter(rows.values()))
    click.echo(
        tabulate([[k, *(rows[n][k] for n in rows)] for k in kinds], ["change", *rows], "pipe")
    )
    quiet = [[k, len(v), sum(v)] for k, v in without_cells(options.data, options.every).items()]
    click.echo(tabulate(quiet, ["without a white cell", "pictures", "answered"], "pipe"))


if __name__ == "__main__":
    main()

"""Is a cell shown better at its own width, or at that of the field's red cells?

    python tools/compare_scales.py mobilenetv2.safetensors crops.npz bccd=cells.zip pbc=pbc.zip

crops the best cell of photographs both ways (kept in crops.npz, and read from there if it exists)
and prints the macro-F1 of a logistic regression on a frozen backbone's features: with each
laboratory held out, and grouped within each. `numbers` are the widths of cell and nucleus in red
cells and the nucleus's in cells, alone and beside the features of either crop. Differences have
95 % intervals by group.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tabulate import tabulate

import wbczoo
from wbczoo import images
from wbczoo.cells import find
from wbczoo.cells.crop import best_cell, crop_cell, own_scale
from wbczoo.data.samples import read_rows
from wbczoo.registry import datasets
from wbczoo.tasks import CELL

SIDE = 160  # pixels of a crop
EACH = 90  # photographs of a class and laboratory, evenly drawn
WIDE = 2.25  # red cells' widths: the side that a cell of this width has at its own scale

Array = NDArray[Any]


def crop_both(name: str, root: Path) -> Iterator[tuple[object, ...]]:
    """Laboratory, group, class, own crop, ruled crop and three numbers of each photograph."""
    rows = read_rows(datasets.spec(name), root)
    of_class: dict[str, list[int]] = {label: [] for label in CELL.classes}
    for row, sample in enumerate(rows.samples):
        label = rows.class_of(CELL, row)
        if label and sample.part == "photographs":
            of_class[label].append(row)
    for label, among in of_class.items():
        for row in among[:: max(1, -(-len(among) // EACH))]:
            image = images.decode(rows.source.read(rows.samples[row].path))
            found = find(image) or find(image, threshold=0.1)
            if not found:
                continue
            cell = best_cell(found)
            own, red = own_scale(cell), cell.red_cell or own_scale(cell) / 2
            crops = [
                np.asarray(Image.fromarray(crop_cell(image, cell, scale=scale)).resize((SIDE,) * 2))
                for scale in (own, WIDE * red)
            ]
            numbers = (own / red, cell.nucleus.diameter / red, cell.nucleus.diameter / own)
            yield name, f"{name} {rows.groups[row]}", CELL.classes.index(label), *crops, numbers


def compute_features(weights: Path, crops: Array) -> Array:
    """(N, C) of crops (N, SIDE, SIDE, 3)."""
    model = wbczoo.create_model(
        "mobilenetv2", weights=str(weights), image_size=SIDE, tasks=(CELL,)
    ).eval()
    with torch.inference_mode():
        parts = [
            model.fuse(torch.from_numpy(some.transpose(0, 3, 1, 2).copy()))
            for some in np.array_split(crops, -(-len(crops) // 16))
        ]
    return np.asarray(torch.cat(parts))


def main() -> None:
    weights, kept = Path(sys.argv[1]), Path(sys.argv[2])
    if not kept.exists():
        columns = zip(
            *(row for one in sys.argv[3:] for row in crop_both(*_named(one))), strict=True
        )
        names = ("laboratory", "group", "label", "own", "ruled", "numbers")
        arrays = {name: np.array(some) for name, some in zip(names, columns, strict=True)}
        for kind in ("own", "ruled"):
            arrays[f"{kind} features"] = compute_features(weights, arrays[kind])
        np.savez(kept, **arrays)  # type: ignore[arg-type]
    held = dict(np.load(kept))
    numbers = np.log(held["numbers"].clip(0.05))
    kinds = {
        "own": held["own features"],
        "ruled": held["ruled features"],
        "own, numbers": np.hstack([held["own features"], numbers]),
        "ruled, numbers": np.hstack([held["ruled features"], numbers]),
        "numbers": numbers,
    }
    laboratories, groups, labels = (held[name] for name in ("laboratory", "group", "label"))
    said = {
        kind: _answer(features, laboratories, groups, labels) for kind, features in kinds.items()
    }
    table, gaps = [], []
    for name in dict.fromkeys(laboratories.tolist()):
        here = laboratories == name
        drawn = [np.arange(here.sum()), *_draw(groups[here])]
        scores = {
            kind: np.array([[_f1(labels[here][d], a[here][d]) for d in drawn] for a in answers])
            for kind, answers in said.items()
        }
        table += [
            (name, kind, here.sum(), *map("{:.3f}".format, score[:, 0]))
            for kind, score in scores.items()
        ]
        gaps.append(scores["ruled"] - scores["own"])
        table.append((name, "ruled less own", here.sum(), *_interval(gaps[-1])))
    for kind in kinds:
        mean = np.mean([np.array(row[3:], float) for row in table if row[1] == kind], axis=0)
        table.append(("mean", kind, len(labels), *map("{:.3f}".format, mean)))
    table.append(("mean", "ruled less own", len(labels), *_interval(np.mean(gaps, axis=0))))
    columns_of = ("laboratory", "crop", "photographs", "held out", "grouped")
    click.echo(tabulate(table, columns_of, "pipe", disable_numparse=True))


def _named(argument: str) -> tuple[str, Path]:
    name, _, path = argument.partition("=")
    return name, Path(path)


def _answer(
    features: Array, laboratories: Array, groups: Array, labels: Array
) -> tuple[Array, Array]:
    """Classes (N,) with each one's laboratory held out, and grouped within its laboratory."""
    away, grouped = np.empty_like(labels), np.empty_like(labels)
    strength = 0.003 if features.shape[1] > 3 else 1.0
    alike = make_pipeline(
        StandardScaler(), LogisticRegression(C=strength, class_weight="balanced", max_iter=300)
    )
    for name in set(laboratories.tolist()):
        here = laboratories == name
        grouped[here] = cross_val_predict(
            alike, features[here], labels[here], groups=groups[here], cv=GroupKFold(5)
        )
        away[here] = alike.fit(features[~here], labels[~here]).predict(features[here])
    return away, grouped


def _draw(groups: Array) -> Iterator[NDArray[np.intp]]:
    """Rows of groups that are drawn with replacement, 1000 times."""
    generator = np.random.default_rng(0)
    names, places = np.unique(groups, return_inverse=True)
    rows = [np.flatnonzero(places == place) for place in range(len(names))]
    for _ in range(1000):
        yield np.concatenate([rows[g] for g in generator.integers(len(rows), size=len(rows))])


def _f1(truth: Array, answers: Array) -> float:
    """Macro-F1 over the classes that are there."""
    size = len(CELL.classes)
    table = np.bincount(truth * size + answers, minlength=size**2).reshape(size, size)
    there = table.sum(1) > 0
    return float((2 * table.diagonal() / (table.sum(0) + table.sum(1)).clip(1))[there].mean())


def _interval(gaps: Array) -> list[str]:
    low, high = np.percentile(gaps, (2.5, 97.5), axis=1)
    return [f"{a:+.3f} [{b:+.3f}, {c:+.3f}]" for a, b, c in zip(gaps[:, 0], low, high, strict=True)]


if __name__ == "__main__":
    main()

"""Drawn fields with none, one and several white cells, and a small model that was trained on such.

Each file is known by what it shows: what is found in it stands in no test.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import tiny_export
from numpy.typing import NDArray
from PIL import Image

from wbczoo.specs import Preprocessing
from wbczoo_datasets.smear import render_photograph

Pixels = NDArray[np.uint8]
CROPPED = Preprocessing(crop="cell", size=tiny_export.SIZE)

# Files in their order, and how many white cells each shows; None is no image.
FIELDS = {
    "00-two.png": 2,
    "01-none.png": 0,
    "02-damaged.png": None,
    "03-four.png": 4,
    "04-one.png": 1,
    "05-edge.png": 1,
}


@cache
def smear(cell_class: str, seed: int) -> Pixels:
    """160x120 with one white cell."""
    drawn = render_photograph(cell_class, np.random.default_rng(seed)).image
    return np.asarray(drawn.reduce(2))


@cache
def fields() -> dict[str, Pixels | None]:
    """What the files of `FIELDS` show."""
    upper = np.hstack([smear("neutrophil", 1), smear("lymphocyte", 0)])
    lower = np.hstack([smear("monocyte", 1), smear("eosinophil", 1)])
    shown = (
        upper,
        np.full((90, 120, 3), 220, np.uint8),
        None,
        np.vstack([upper, lower]),
        smear("neutrophil", 0),
        smear("neutrophil", 1)[:, 107:],  # its cell begins at 92
    )
    return dict(zip(FIELDS, shown, strict=True))


def write_fields(folder: Path) -> list[Path]:
    """The files of `FIELDS` in a folder, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in fields().items():
        if image is None:
            (folder / name).write_bytes(b"x")
        else:
            Image.fromarray(image).save(folder / name)
    return sorted(folder.iterdir())


def write_model(path: Path, *, company: bool = False) -> Path:
    """A small model with the crop `cell`; see `tiny_export.write_model`."""
    stored = {"wbczoo.preprocessing": json.dumps(asdict(CROPPED))}
    return tiny_export.write_model(path, stored, company=company)

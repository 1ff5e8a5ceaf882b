"""Images for parity and the frozen example: real ones from the cache, drawn ones to ship."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wbczoo import images
from wbczoo.checkpoint import SPLIT
from wbczoo.data.cache import PixelCache
from wbczoo.data.source import Source
from wbczoo.errors import ImageRefused, UsageError, WbczooError
from wbczoo.registry import datasets
from wbczoo.runtime.predict import find_images
from wbczoo.specs import Preprocessing

Pixels = NDArray[np.uint8]


def cached_images(run: Path, preprocessing: Preprocessing, wanted: int) -> Pixels:
    """Up to `wanted` of the run's training images, (N, 3, H, W), from the pixel cache.

    Empty where the run was never trained or its cache is gone.
    """
    none = np.zeros((0, 3, *preprocessing.size), np.uint8)
    try:
        with (run / SPLIT).open(newline="", encoding="utf-8") as stream:
            hashes = [row["sha256"] for row in csv.DictReader(stream) if row["role"] == "train"]
        cache = PixelCache(preprocessing)
        held = cache.held(hashes)
        if not held:
            return none
        places = np.linspace(0, len(held) - 1, min(wanted, len(held))).astype(int)
        return _channels_first(cache.pixels()[cache.rows([held[at] for at in places])])
    except (OSError, ValueError, KeyError, WbczooError):
        return none  # damaged or gone; the gate then says that its images are drawn


def given_images(path: Path, preprocessing: Preprocessing, wanted: int) -> Pixels:
    """Up to `wanted` good images from a file, folder or glob; UsageError if there is none."""
    kept = []
    for name in find_images([str(path)]):
        try:
            kept.append(images.pixels(name, preprocessing))
        except ImageRefused:
            continue
        if len(kept) == wanted:
            break
    if not kept:
        raise UsageError(f"{path} holds no image that can be used.")
    return _channels_first(np.stack(kept))


def synthetic_images(preprocessing: Preprocessing, photographs: int = 8) -> Pixels:
    """Drawn images, one of each photograph, which may be shipped: (N, 3, H, W)."""
    spec = datasets.spec("synthetic")
    assert spec.prepare is not None
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "synthetic"
        spec.prepare(root, photographs=photographs, views=1, seed=0)
        source = Source(root)
        drawn = [
            images.pixels(source.read(sample.path), preprocessing) for sample in spec.samples(root)
        ]
    return _channels_first(np.stack(drawn))


def _channels_first(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))

"""Drawn images, which may be shipped: the frozen example's, and what speed is measured on."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from wbczoo import images
from wbczoo.images import Pixels
from wbczoo.images.tree import Tree
from wbczoo.registry import datasets
from wbczoo.specs import Preprocessing

LARGE = 1_000_000  # pixels of an image, of which eight would take a minute and a gigabyte


def drawn_photographs(photographs: int = 8) -> Pixels:
    """Drawn photographs as a camera gives them, uint8 (N, H, W, 3)."""
    spec = datasets.spec("synthetic")
    assert spec.prepare is not None
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "synthetic"
        spec.prepare(root, photographs=photographs, views=1, seed=0)
        source = Tree(root)
        return np.stack([images.decode(source.read(s.path)) for s in spec.samples(root)])


def read_by_model(photographs: Pixels, preprocessing: Preprocessing) -> Pixels:
    """What a model reads of photographs (N, H, W, 3): uint8 (N, 3, h, w)."""
    read = np.stack([images.preprocess(each, preprocessing) for each in photographs])
    return np.ascontiguousarray(read.transpose(0, 3, 1, 2))


def of_camera(photographs: Pixels, camera: tuple[int, int]) -> Pixels:
    """Photographs (N, H, W, 3) of the size that a camera has; above a megapixel two of them."""
    if camera[0] * camera[1] > LARGE:
        photographs = photographs[:2]
    sized = replace(Preprocessing(), size=camera)
    return np.stack([images.preprocess(each, sized) for each in photographs])

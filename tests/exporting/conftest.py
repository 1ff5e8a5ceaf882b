"""What the tests of exports share: a network of convolutions and LSTMs, and 504 photographs."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import call, made_once
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from wbczoo.data.cache import PixelCache
from wbczoo.training.checkpoint import load_model

Array = NDArray[Any]


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained run with convolutions of every kind and with LSTMs."""
    parts = ("--backbone", "squeezenet1_1", "--seq", "bilstm", "--hidden", "8")

    def build(out: Path) -> None:
        size = ("--image-size", "64", "--weights", "none")
        assert call(["build", *parts, *size, "--out", out]) == 0

    return made_once(tmp_path_factory, "network", build)


@pytest.fixture(scope="session")
def network_export(network: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That run, exported in fp32."""

    def export(out: Path) -> None:
        assert call(["export", network, "--out", out]) == 0

    return made_once(tmp_path_factory, "network-export", export)


@pytest.fixture(scope="session")
def photographs(smears: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn smears, turned and mirrored: 504 images, enough to measure a precision on."""

    def turn_each(root: Path) -> None:
        root.mkdir()
        for number, path in enumerate(sorted(smears.rglob("*.jpg"))):
            with Image.open(path) as image:
                small = image.resize((80, 60))
            for turn in Image.Transpose:
                small.transpose(turn).save(root / f"{number}_{turn.name}.png")

    return made_once(tmp_path_factory, "photographs", turn_each)


@pytest.fixture(scope="session")
def sure_run(small_run: Path, smears: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run with heads that prefer one class: none of its answers is a near tie.

    Its images are in the pixel cache, whichever of the tests' processes trained it.
    """
    config, _ = load_model(small_run)
    files = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in smears.rglob("*.jpg")}
    PixelCache(config.model.preprocessing).fill({k: p.read_bytes for k, p in files.items()})
    return change_heads(
        small_run,
        tmp_path_factory.mktemp("runs") / "sure",
        lambda name, values: (
            values + 3 * np.eye(len(values), dtype=np.float32)[0]
            if name.endswith("bias")
            else values
        ),
    )


@pytest.fixture(scope="session")
def steep_run(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run with heads of 3000 times the weight: every rounding changes a probability."""
    copy = tmp_path_factory.mktemp("runs") / "steep"
    return change_heads(small_run, copy, lambda _, values: values * np.float32(3000))


def change_heads(run: Path, copy: Path, change: Callable[[str, Array], Array]) -> Path:
    """A copy of a run whose heads have other weights."""
    shutil.copytree(run, copy)
    weights = copy / "model.safetensors"
    with safe_open(weights, "np") as opened:
        metadata = opened.metadata()
    tensors = load_file(weights)
    for name in tensors:
        if "_head." in name:
            tensors[name] = change(name, tensors[name])
    save_file(tensors, weights, metadata)
    return copy

"""The novelty in an export: it is PyTorch's, its limits go with it, and old runs stay old."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from commands import call
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from wbczoo.exporting import parity
from wbczoo.images import Pixels
from wbczoo.model.fused import FusedClassifier
from wbczoo.runtime import Session
from wbczoo.training.checkpoint import load_model


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (9, 3, 64, 64), dtype=np.uint8)


@pytest.fixture
def trained(small_run: Path) -> FusedClassifier:
    return load_model(small_run)[1]


@pytest.fixture(scope="module")
def old_export(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run as an older version left it, exported."""
    folder = tmp_path_factory.mktemp("old")
    run = Path(shutil.copytree(small_run, folder / "run"))
    with safe_open(run / "model.safetensors", "np") as opened:
        metadata = opened.metadata()
    tensors = load_file(run / "model.safetensors")
    kept = {name: values for name, values in tensors.items() if not name.startswith("novelty.")}
    assert len(kept) < len(tensors)
    save_file(kept, run / "model.safetensors", metadata)
    summary = json.loads((run / "summary.json").read_text())
    del summary["limits"]
    (run / "summary.json").write_text(json.dumps(summary))
    assert call(["export", run, "--out", folder / "export"]) == 0
    return folder / "export"


def test_the_graph_tells_the_novelty_of_pytorch(
    small_export: Path, trained: FusedClassifier, pixels: Pixels
) -> None:
    session = Session(small_export, device="cpu")
    assert session.file.has_novelty
    found = session.run(pixels)["novelty"]
    with torch.inference_mode():
        expected = trained.outputs(torch.from_numpy(pixels))["novelty"].numpy()
    assert found.dtype == np.float32
    assert found.shape == (9,)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert session.run(pixels[:0])["novelty"].shape == (0,)
    fixed = Session(small_export, device="cpu", fixed_batch=4)
    np.testing.assert_allclose(fixed.run(pixels)["novelty"], found, rtol=1e-5, atol=1e-5)


def test_the_limits_go_with_the_file_and_stand_on_the_card(
    small_run: Path, small_export: Path
) -> None:
    summary = json.loads((small_run / "summary.json").read_text())["limits"]
    limits = Session(small_export, device="cpu").file.limits
    assert limits is not None
    assert (limits.unknown_above, limits.unsure_below) == (1.0, summary["unsure_below"])
    card = json.loads((small_export / "card.json").read_text())
    assert card["limits"] == summary
    assert card["limits"]["groups"] == 4
    assert card["parity"]["novelty"] <= 1
    text = (small_export / "card.md").read_text()
    assert "`novelty`" in text
    assert "a novelty above 1" in text


def test_an_old_run_is_exported_as_it_was(
    small_export: Path, old_export: Path, pixels: Pixels
) -> None:
    old, new = (Session(path, device="cpu") for path in (old_export, small_export))
    assert old.file.limits is None
    assert [*old.file.outputs] == [name for name in new.file.outputs if name != "novelty"]
    told = {entry.key for entry in onnx.load(old_export / "model.onnx").metadata_props}
    assert "wbczoo.limits" not in told
    answers, others = old.run(pixels), new.run(pixels)
    for name, values in answers.items():
        np.testing.assert_array_equal(values, others[name])
    assert "no novelty was fitted" in (old_export / "card.md").read_text()
    assert "no novelty was fitted" not in (small_export / "card.md").read_text()


@pytest.mark.parametrize("off", [0.01, math.nan])
def test_a_novelty_that_differs_fails_the_gate(
    small_export: Path, trained: FusedClassifier, pixels: Pixels, off: float
) -> None:
    graph = small_export / "model.onnx"
    assert parity.compare(trained, graph, pixels, "noise").holds
    assert trained.novelty is not None
    trained.novelty.scales[-1] += off
    found = parity.compare(trained, graph, pixels, "noise")
    assert found.difference <= found.bound
    assert not found.holds


def test_limits_of_another_training_are_refused(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    summary = json.loads((run / "summary.json").read_text())
    del summary["limits"]
    (run / "summary.json").write_text(json.dumps(summary))
    assert call(["export", run, "--out", tmp_path / "export"]) == 1
    assert "lacks the limits" in capsys.readouterr().err
    assert not (tmp_path / "export").exists()

"""A model that is trained on found cells takes its crop and its finder along, wherever it goes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from commands import call

from wbczoo import images
from wbczoo.cells.crop import finder_sha256
from wbczoo.config import ModelConfig
from wbczoo.runtime import Session

CROPPED = ("--seq", "gru", "--image-size", "32", "--hidden", "4", "--crop", "cell")


@pytest.fixture(scope="module")
def run(smears: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cropped") / "run"
    training = ("--weights", "none", "--limit-photographs", "8", "--epochs", "1", "--device", "cpu")
    assert call(["train", smears, "--dataset", "synthetic", *CROPPED, *training, "--out", out]) == 0
    return out


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In the layout of a Triton repository, which holds the same files as any other."""
    out = tmp_path_factory.mktemp("exported") / "models"
    assert call(["export", run, "--out", out, "--layout", "triton"]) == 0
    return out / "gru"


def test_the_export_answers_as_trained_and_its_card_names_crop_and_finder(
    run: Path, exported: Path, smears: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = json.loads((exported / "card.json").read_text())
    assert (card["preprocessing"]["crop"], card["finder_sha256"]) == ("cell", finder_sha256())
    told = (exported / "card.md").read_text()
    assert "the crop `cell`" in told
    assert finder_sha256() in told
    assert json.loads((run / "config.json").read_text())["model"]["finder_sha256"]
    capsys.readouterr()
    assert call(["verify", exported, "--device", "cpu"]) == 0
    assert "another finder" not in capsys.readouterr().err
    session = Session(exported, device="cpu")
    path = min(smears.rglob("*.jpg"))
    (answer,) = session.predict(path)
    pixels = images.pixels(path, session.preprocessing).transpose(2, 0, 1)[None]
    expected = session.run(np.ascontiguousarray(pixels))["cell_probabilities"][0]
    found = list(answer["tasks"]["cell"]["probabilities"].values())
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert answer["box"]


def test_another_finder_is_told_and_nothing_refused(
    exported: Path, smears: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = min(smears.rglob("*.jpg"))
    usual = Session(exported, device="cpu").predict(path)
    proto = onnx.load(exported / "1" / "model.onnx")
    stored = {each.key: each.value for each in proto.metadata_props}
    config = json.loads(stored["wbczoo.config"])
    config["model"]["finder_sha256"] = "5" * 64
    onnx.helper.set_model_props(proto, {**stored, "wbczoo.config": json.dumps(config)})
    onnx.save(proto, tmp_path / "model.onnx")
    capsys.readouterr()
    assert Session(tmp_path / "model.onnx", device="cpu").predict(path) == usual
    assert "another finder (SHA-256 555555555555, and here" in capsys.readouterr().err


def test_a_run_of_another_finder_is_not_measured_in_silence(
    run: Path, smears: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = Path(shutil.copytree(run, tmp_path / "run"))
    config = json.loads((copied / "config.json").read_text())
    config["model"]["finder_sha256"] = "5" * 64
    (copied / "config.json").write_text(json.dumps(config))
    capsys.readouterr()
    assert call(["evaluate", copied, smears, "--dataset", "synthetic"]) == 0
    assert "trained on cells of another finder" in capsys.readouterr().err


def test_a_graph_that_resizes_by_itself_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert call(["export", run, "--out", tmp_path / "whole", "--embed-preprocess"]) == 2
    assert "are cropped (cell)" in capsys.readouterr().err


def test_a_config_without_the_crop_names_no_finder() -> None:
    assert "finder" not in ModelConfig().model_dump_json()
    recorded = ModelConfig(finder_sha256="5" * 64)
    assert ModelConfig.model_validate_json(recorded.model_dump_json()) == recorded

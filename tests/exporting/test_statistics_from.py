"""An export for one's own laboratory: its batch norms answer by the images that are given."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import Completed, call

from wbczoo.runtime import Session, verify


@pytest.fixture(scope="module")
def normed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained run with batch norms."""
    out = tmp_path_factory.mktemp("normed") / "run"
    size = ("--image-size", "32", "--weights", "none", "--out", out)
    assert call(["build", "--backbone", "timm/resnet10t", *size]) == 0
    return out


def test_an_export_answers_by_the_statistics_of_unlabelled_images(
    wbczoo: Callable[..., Completed], normed: Path, smears: Path, tmp_path: Path
) -> None:
    plain, own = tmp_path / "plain", tmp_path / "own"
    wbczoo("export", normed, "--out", plain)
    wbczoo("export", normed, "--out", own, "--statistics-from", smears)
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), np.uint8)
    answers = [Session(folder, device="cpu").run(images)["cell_logits"] for folder in (plain, own)]
    assert np.abs(answers[0] - answers[1]).max() > 1e-3
    assert verify(own).ok
    card = json.loads((own / "card.json").read_text())
    assert card["statistics"]["images"] >= 50
    assert "without labels" in (own / "card.md").read_text()
    assert "statistics" not in json.loads((plain / "card.json").read_text())


def test_too_few_images_and_a_model_without_batch_norms_are_refused(
    wbczoo: Callable[..., Completed], normed: Path, network: Path, smears: Path, tmp_path: Path
) -> None:
    one = next(smears.rglob("*.jpg"))
    few = wbczoo("export", normed, "--out", tmp_path / "a", "--statistics-from", one, expect=2)
    assert "at least 50 different images" in few.stderr
    none = wbczoo("export", network, "--out", tmp_path / "b", "--statistics-from", smears, expect=2)
    assert "has no batch norm" in none.stderr
    assert not list(tmp_path.iterdir())

"""A model of an own loop becomes a run, and its card says no more than is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Completed

import wbczoo
from wbczoo.config import RunConfig
from wbczoo.errors import UsageError
from wbczoo.model.fused import FusedClassifier
from wbczoo.runtime import Session

Run = Callable[..., Completed]


def trained_in_a_loop() -> FusedClassifier:
    model = wbczoo.create_model("none", "gru", hidden=4, image_size=32, tasks=["cell"])
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    model(images)["cell"].square().sum().backward()
    torch.optim.SGD(model.parameters(), 0.1).step()
    return model


def test_a_model_of_an_own_loop_is_exported_with_what_was_told(tmp_path: Path) -> None:
    model = trained_in_a_loop()
    told = "720 cells\n# of our | laboratory"
    run = wbczoo.save_run(model, tmp_path / "run", trained_on=told)
    card = wbczoo.export(run, tmp_path / "export")
    assert (card["trained"], card["trained_on"], card["training"]) == (True, told, None)
    page = (tmp_path / "export" / "card.md").read_text()
    assert "> 720 cells # of our | laboratory" in page
    assert "None of that was measured here" in page
    assert "untrained" not in page
    assert "initial ones" not in page
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), np.uint8)
    session = Session(tmp_path / "export", device="cpu")
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(images))["cell"].numpy()
    np.testing.assert_allclose(session.run(images)["cell_logits"], expected, atol=1e-5)
    assert session.config.trained_on == told


def test_weights_that_changed_are_never_called_untrained(
    wbczoo: Run, small_run: Path, tmp_path: Path
) -> None:
    import wbczoo as face

    run, out = face.save_run(trained_in_a_loop(), tmp_path / "run"), tmp_path / "export"
    wbczoo("export", run, "--out", out)
    page = (out / "card.md").read_text()
    assert "> nothing" in page
    assert "untrained" not in page
    wbczoo("export", run, "--out", out, "--overwrite", "--trained-elsewhere", "smears of 2019")
    assert json.loads((out / "card.json").read_text())["trained_on"] == "smears of 2019"
    command = ("export", small_run, "--out", tmp_path / "x", "--trained-elsewhere", "more")
    assert "was trained by wbczoo" in wbczoo(*command, expect=2).stderr


def test_what_was_not_trained_is_saved_as_untrained_and_is_not_called_more(tmp_path: Path) -> None:
    model = wbczoo.create_model("none", "gru", hidden=4, image_size=32)
    with pytest.raises(UsageError, match="the very weights that it was made with"):
        wbczoo.save_run(model, tmp_path / "run", trained_on="nothing")
    run = wbczoo.save_run(model, tmp_path / "run")
    assert "trained_on" not in (run / "config.json").read_text()
    assert RunConfig.read(run / "config.json").trained_on is None


def test_a_measured_run_of_an_own_loop_warns_of_what_it_may_have_seen(
    wbczoo: Run, smears: Path, tmp_path: Path
) -> None:
    import wbczoo as face

    run = face.save_run(trained_in_a_loop(), tmp_path / "run", trained_on="smears")
    found = wbczoo("evaluate", run, smears, "--dataset", "synthetic")
    assert "nobody knows which of these photographs it has seen" in found.stderr


@pytest.mark.parametrize(
    "images",
    [torch.rand(2, 3, 32, 32), torch.zeros(2, 32, 32, 3, dtype=torch.uint8), torch.zeros(3, 32)],
)
def test_images_of_another_type_or_layout_are_told_how_to_be_made(images: torch.Tensor) -> None:
    model = wbczoo.create_model("none", "gru", hidden=4, image_size=32)
    with pytest.raises(TypeError, match="by PILToTensor instead of ToTensor"):
        model(images)

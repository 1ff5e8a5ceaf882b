"""A training whose passes are recorded as a CUDA graph is the training without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import call

from wbczoo.model.build import build
from wbczoo.model.compose import compose
from wbczoo.study.run.cached import Inputs
from wbczoo.tasks import DEFAULT
from wbczoo.training.captured import Passes, worth_capturing

SMALL: dict[str, Any] = {"tasks": DEFAULT, "hidden": 4, "image_size": (64, 64)}


def test_a_model_is_a_function_of_the_tensors_that_it_is_shown() -> None:
    model = build(compose("squeezenet1_1", "bilstm", **SMALL)).eval()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    passes = Passes(model, images, bf16=False)
    found, expected = passes(*passes.tensors(images)), model(images)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_what_a_branch_is_not_shown_is_left_out() -> None:
    shown = Inputs(None, torch.ones(2, 3))
    passes = Passes(torch.nn.Identity(), shown, bf16=False)  # type: ignore[arg-type]
    assert len(passes.tensors(shown)) == 1
    assert passes(*passes.tensors(shown)) == shown  # type: ignore[comparison-overlap]


def test_many_small_steps_are_worth_it_and_it_can_be_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("WBCZOO_CUDA_GRAPHS", raising=False)
    assert worth_capturing(8, 10_000)
    assert not worth_capturing(8, 5)
    assert not worth_capturing(512, 10_000)
    monkeypatch.setenv("WBCZOO_CUDA_GRAPHS", "0")
    assert not worth_capturing(8, 10_000)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize(
    "model",
    [
        ("--backbone", "resnet18", "--trainable", "last-block"),
        ("--backbone", "mobilenetv2", "--trainable", "all", "--precision", "bf16"),
        ("--backbone", "resnet18", "--seq", "bilstm", "--trainable", "last-block"),
        ("--seq", "gru"),
    ],
    ids=["last-block", "all-bf16", "last-block-bilstm", "gru"],
)
def test_its_curves_are_those_of_the_bare_steps(
    model: tuple[str, ...], smears: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    precision = () if "--precision" in model else ("--precision", "fp32")
    curves = []
    for graphs in ("1", "0"):
        monkeypatch.setenv("WBCZOO_CUDA_GRAPHS", graphs)
        out = tmp_path / graphs
        options = [
            *model, *precision, "--hidden", "8", "--image-size", "64", "--weights", "none",
            "--epochs", "2", "--batch-size", "8", "--lr", "1e-3", "--device", "cuda",
        ]  # fmt: skip
        assert call(["train", smears, "--dataset", "synthetic", *options, "--out", out]) == 0
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        curves.append([row["train_loss"] for row in rows])
    assert "no CUDA graph" not in capsys.readouterr().err
    np.testing.assert_allclose(*curves, rtol=0.05 if "bf16" in model else 0.01)

"""Logits become probabilities by each task's own temperature."""

from __future__ import annotations

import pytest
import torch

from wbczoo.config import ModelConfig
from wbczoo.model.fused import FusedClassifier
from wbczoo.tasks import Task

TWO = (Task("first", ("a", "b")), Task("second", ("a", "b", "c")))


def test_each_task_has_a_temperature_of_its_own() -> None:
    branch = torch.nn.Flatten()
    branch.num_features = 1  # type: ignore[assignment]
    model = FusedClassifier(ModelConfig(tasks=TWO), None, branch, "pixels")
    model.temperatures[:] = torch.tensor([1.0, 3.0])
    # exp(0.6931...) is 2, and so is exp(2.0794... / 3).
    logits = {
        "first": torch.log(torch.tensor([[1.0, 2.0], [4.0, 1.0]])),
        "second": torch.log(torch.tensor([[1.0, 8.0, 1.0], [27.0, 1.0, 8.0]])),
    }
    found = model.probabilities(logits)
    assert found["first"].flatten().tolist() == pytest.approx([1 / 3, 2 / 3, 4 / 5, 1 / 5])
    assert found["second"].flatten().tolist() == pytest.approx(
        [1 / 4, 2 / 4, 1 / 4, 3 / 6, 1 / 6, 2 / 6]
    )

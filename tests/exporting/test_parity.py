"""The gate of every export: any logit's largest gap counts, and NaN is never within a bound."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_export import SIZE, TASKS, expected_logits, weights, write_model
from torch import Tensor, nn

from wbczoo.exporting.parity import TOLERANCE, Parity, compare
from wbczoo.images import Pixels


class Linear(nn.Module):
    """What `tiny_export` writes as ONNX, in PyTorch, with `off` added to one task's weight."""

    def __init__(self, task: str, off: float) -> None:
        super().__init__()
        self.weights = {each.name: torch.from_numpy(weights(each.name)) for each in TASKS}
        self.weights[task][0, 1] += off

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """uint8 (N, 3, H, W) -> each task's logits (N, classes)."""
        means = images.float().mean((2, 3))
        return {f"{name}_logits": means @ matrix for name, matrix in self.weights.items()}


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("parity") / "model.onnx")


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    return np.random.default_rng(0).integers(1, 256, (5, 3, *SIZE), dtype=np.uint8)


def parity_of(graph: Path, pixels: Pixels, task: str, off: float) -> Parity:
    return compare(Linear(task, off), graph, pixels, "noise", (1, 3))  # type: ignore[arg-type]


@pytest.mark.parametrize("task", [task.name for task in TASKS])
def test_a_weight_that_differs_is_found_in_any_task(graph: Path, pixels: Pixels, task: str) -> None:
    assert parity_of(graph, pixels, task, 0.0).holds
    red = float(pixels[:3, 0].mean((1, 2)).max())  # of the three images that were asked
    found = parity_of(graph, pixels, task, 0.01)
    assert found.difference == pytest.approx(0.01 * red, rel=1e-3)
    assert not found.holds


@pytest.mark.parametrize("task", [task.name for task in TASKS])
@pytest.mark.parametrize("off", [math.nan, math.inf])
def test_one_weight_that_is_no_number_fails_the_gate(
    graph: Path, pixels: Pixels, task: str, off: float
) -> None:
    found = parity_of(graph, pixels, task, off)
    assert math.isnan(found.difference)
    assert not found.holds


def test_a_graph_that_answers_no_number_fails_the_gate(tmp_path: Path, pixels: Pixels) -> None:
    found = parity_of(write_model(tmp_path / "model.onnx", scale=math.nan), pixels, "cell", 0.0)
    assert math.isnan(found.difference)
    assert not found.holds


@pytest.mark.parametrize(
    ("difference", "holds"), [(0.0, True), (1e-4, True), (1.01e-4, False), (math.nan, False)]
)
def test_the_bound_itself_is_allowed_and_no_number_is_not(difference: float, holds: bool) -> None:
    assert Parity(difference, TOLERANCE, (1,), 1, "noise").holds is holds


@pytest.mark.parametrize(("level", "grows"), [(250, True), (1, False)])
def test_the_bound_grows_with_the_largest_logit_of_any_task(
    graph: Path, level: int, grows: bool
) -> None:
    pixels = np.full((5, 3, *SIZE), level, np.uint8)
    found = parity_of(graph, pixels, "cell", 0.0)
    largest = max(float(np.abs(each).max()) for each in expected_logits(pixels).values())
    assert (largest > 2) is grows
    assert (largest < 1) is not grows
    assert found.bound == pytest.approx(1e-4 * (largest if grows else 1), rel=1e-5)
    assert (found.batches, found.images, found.source) == ((1, 3), 5, "noise")

"""Agreement by hand: equal answers are counted by image, and the largest difference of any task."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_export import SIZE, TASKS, expected_logits, write_model

from wbczoo.exporting import agreement
from wbczoo.exporting.agreement import Agreement, Bound, TaskAgreement, compare_answers
from wbczoo.runtime.session import Session


def images_of(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 3, *SIZE), dtype=np.uint8)


def test_each_task_is_counted_by_itself() -> None:
    one = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], np.float32)
    found = compare_answers(
        {"cell": one, "nucleus": one},
        {"cell": one + np.float32(0.25), "nucleus": one[:, ::-1]},
        "three images",
    )
    assert (found.images, found.source) == (3, "three images")
    assert found.tasks["cell"] == TaskAgreement(3, 0.25)
    assert found.tasks["nucleus"].equal == 0
    assert found.tasks["nucleus"].difference == pytest.approx(0.8)  # .9 against .1


@pytest.mark.parametrize(
    ("equal", "difference", "holds"),
    [(9, 0.25, True), (8, 0.25, False), (9, 0.26, False), (10, 0.0, True), (10, math.nan, False)],
)
def test_a_bound_is_met_by_both_or_not(equal: int, difference: float, holds: bool) -> None:
    fine = TaskAgreement(10, 0.0)
    for tasks in (
        {"cell": TaskAgreement(equal, difference), "nucleus": fine},
        {"cell": fine, "nucleus": TaskAgreement(equal, difference)},
    ):
        assert Agreement(10, "images", tasks).holds(Bound(0.9, 0.25)) is holds


def test_what_is_told_of_it() -> None:
    tasks = {"cell": TaskAgreement(9, 0.1234), "nucleus": TaskAgreement(10, math.inf)}
    found = Agreement(10, "images", tasks)
    assert found.describe() == (
        "cell 9 of 10 equal, probabilities within 0.12; "
        "nucleus 10 of 10 equal, probabilities within inf; "
        "by the 95 % interval at least 55.5 % are equal"
    )
    document = found.as_json()
    assert json.loads(json.dumps(document)) == {
        "images": 10,
        "source": "images",
        "tasks": {
            "cell": {"equal": 9, "difference": 0.1234, "low": 0.555},
            "nucleus": {"equal": 10, "difference": None, "low": 0.6915},
        },
    }


@pytest.mark.parametrize("count", [1, 16, 37])
def test_all_images_are_asked_in_their_order(tmp_path: Path, count: int) -> None:
    images = images_of(count)
    found = agreement.ask(Session(write_model(tmp_path / "model.onnx"), device="cpu"), images)
    for task in TASKS:
        logits = np.exp(expected_logits(images)[task.name])
        np.testing.assert_allclose(
            found[task.name], logits / logits.sum(1, keepdims=True), atol=1e-5
        )


def test_speeds_are_times_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that says 4 s for the first graph and 2 s for the other; what runs first is slow."""
    graphs = {name: write_model(tmp_path / f"{name}.onnx") for name in ("fp32", "int8")}
    asked: list[int] = []
    monkeypatch.setattr(agreement.Session, "run", lambda _, batch: asked.append(len(batch)))
    times, now = [], 0.0
    for turn in range(10):
        for seconds in (0.5, 0.5) if turn == 0 else (4.0 + turn % 3, 2.0 + turn % 3):
            times += [now, now + seconds]
            now += seconds + 100
    monkeypatch.setattr(agreement.time, "perf_counter", iter(times).__next__)
    assert agreement.relative_speeds(graphs, images_of(3)) == {"fp32": 1.0, "int8": 2.0}
    assert asked == [16] * 20

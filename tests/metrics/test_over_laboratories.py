"""The mean over laboratories and the worst of them, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from wbczoo.metrics.laboratories import over_laboratories


def test_a_laboratory_counts_once_and_the_worst_is_named() -> None:
    """Of a, 4 of 4 cells are right; of b, 1 of 2; of c, 6 of 8."""
    truth = np.array([0, 0, 1, 1, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1])
    answers = np.array([0, 0, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0])
    names = ["a"] * 4 + ["b"] * 2 + ["c"] * 8
    groups = [str(row) for row in range(14)]
    strata = [f"{name}: {label}" for name, label in zip(names, truth, strict=True)]
    found = over_laboratories(truth, answers, names, groups, strata, classes=2, resamples=100)
    accuracy = found["accuracy"]
    assert accuracy["mean"]["value"] == pytest.approx((1 + 0.5 + 0.75) / 3)
    assert (accuracy["worst"]["value"], accuracy["worst_of"]) == (0.5, "b")
    for how in ("mean", "worst"):
        assert accuracy[how]["low"] < accuracy[how]["value"] < accuracy[how]["high"]
    assert found["macro_f1"]["worst"]["value"] == pytest.approx(1 / 3)
    # Two cells say next to nothing of the worst.
    assert accuracy["worst"]["high"] > 0.9


def test_equal_arguments_give_equal_intervals() -> None:
    draw = np.random.default_rng(0)
    truth, answers = draw.integers(0, 3, 60), draw.integers(0, 3, 60)
    names = ["a"] * 30 + ["b"] * 30
    groups = [f"{name}/{row % 7}" for row, name in enumerate(names)]
    settings = {"classes": 3, "resamples": 50, "seed": 1}
    first, second = (over_laboratories(truth, answers, names, groups, names, **settings)
                     for _ in range(2))  # fmt: skip
    assert first == second


def test_the_interval_of_the_worst_is_that_of_the_laboratory_that_always_is() -> None:
    truth = np.zeros(400, int)
    answers = np.where(np.arange(400) < 200, 0, np.arange(400) % 2)
    names = ["a"] * 200 + ["b"] * 200
    groups = [str(row) for row in range(400)]
    found = over_laboratories(truth, answers, names, groups, names, classes=2, resamples=400)
    worst = found["accuracy"]["worst"]
    # Half of 200 cells are right: 1.96 standard deviations are .07.
    assert worst["low"] == pytest.approx(0.43, abs=0.02)
    assert worst["high"] == pytest.approx(0.57, abs=0.02)

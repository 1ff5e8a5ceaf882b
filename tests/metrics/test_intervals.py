"""The parts of an interval by hand: groups drawn again, percentiles, and what widens them."""

from __future__ import annotations

import numpy as np
import pytest

from wbczoo.metrics import fit_temperature, measure, measure_contradictions
from wbczoo.metrics.intervals import (
    METHOD,
    draw,
    effective_groups,
    gap_interval,
    interval,
    percentiles,
    replicate,
)
from wbczoo.tasks import NUCLEUS

NOTHING = {"value": None, "low": None, "high": None}


def test_percentiles_leave_out_a_fortieth_on_either_side_and_pass_over_nan() -> None:
    steps = np.arange(41.0) / 40
    assert percentiles(steps) == pytest.approx((0.025, 0.975))
    assert percentiles(np.append(steps, [np.nan] * 7)) == pytest.approx((0.025, 0.975))


@pytest.mark.parametrize(
    ("value", "replicates", "groups", "low", "high"),
    [
        (0.5, np.arange(41) / 40, 1000.0, 0.025, 0.975),  # the percentiles are the wider
        (0.5, np.full(9, 0.5), 4.0, 0.5 * 0.025**0.25, 1 - 0.5 * 0.025**0.25),
        (1.0, np.full(9, 1.0), 2.0, 0.025**0.5, 1.0),
        (0.0, np.full(9, 0.0), 2.0, 0.0, 1 - 0.025**0.5),
        (0.8, np.full(9, np.nan), 2.0, 0.8 * 0.025**0.5, 1 - 0.2 * 0.025**0.5),
        (0.8, np.array([0.8, np.nan]), 1e9, 0.8, 0.8),
    ],
)
def test_an_interval_holds_what_its_groups_cannot_exclude(
    value: float, replicates: np.ndarray, groups: float, low: float, high: float
) -> None:
    found = interval(value, replicates, groups)
    assert found == {"value": value, "low": pytest.approx(low), "high": pytest.approx(high)}


def test_an_undefined_figure_has_no_interval() -> None:
    assert interval(np.nan, np.zeros(3), 2.0) == NOTHING
    assert gap_interval(0.1, np.zeros(3), dict(NOTHING), np.zeros(3)) == NOTHING


@pytest.mark.parametrize(
    ("value", "accuracy_low", "low", "high"),
    [
        (0.2, 0.5, 0.025, 0.975),  # the accuracy's limit was not lowered
        (0.2, 0.375, 0.025, 1.0),
        (0.01, 0.5, 0.01, 0.975),
        (0.99, 0.5, 0.025, 0.99),
        (0.2, 0.49, 0.025, 0.985),
    ],
)
def test_a_gap_grows_by_what_the_accuracy_lost(
    value: float, accuracy_low: float, low: float, high: float
) -> None:
    accuracy = {"value": 0.9, "low": accuracy_low, "high": 1.0}
    found = gap_interval(value, np.arange(41) / 40, accuracy, np.full(5, 0.5))
    assert found == {"value": value, "low": pytest.approx(low), "high": pytest.approx(high)}


def test_effective_groups_by_hand() -> None:
    drawn = draw(list("aaab"), ["x"] * 4, 1, 0)
    assert effective_groups(np.ones(4), drawn) == pytest.approx(16 / 10)
    assert effective_groups(np.array([1, 0, 0, 1]), drawn) == 2
    assert effective_groups(np.array([True, False, False, False]), drawn) == 1
    assert effective_groups(np.zeros(4), drawn) == 0


def test_groups_are_drawn_as_often_as_there_are_and_alike_for_one_seed() -> None:
    groups = ["a", "b", "a", "c", "d", "e"]
    drawn = draw(groups, ["X", "X", "X", "X", "Y", "Z"], 500, 3)
    assert drawn.group_of_row.tolist() == [0, 1, 0, 2, 3, 4]
    assert dict(drawn.strata) == {"X": 3, "Y": 1, "Z": 1}
    assert (drawn.groups, drawn.single_group_strata) == (5, 2)
    assert drawn.counts.shape == (500, 5)
    assert set(drawn.counts[:, :3].sum(1)) == {3}
    assert (drawn.counts[:, 3:] == 1).all()
    assert drawn.counts[:, :3].mean(0) == pytest.approx(1, abs=0.1)
    assert drawn.counts.max() == 3
    again = draw(groups, ["X", "X", "X", "X", "Y", "Z"], 500, 3)
    assert (again.counts == drawn.counts).all()
    other = draw(groups, ["X", "X", "X", "X", "Y", "Z"], 500, 4)
    assert (other.counts != drawn.counts).any()
    # Kept intervals are made again from their seed.
    kept = draw(list("abcde"), ["X"] * 5, 2, 0).counts.tolist()
    assert kept == [[0, 2, 1, 1, 1], [4, 0, 0, 0, 1]]
    assert draw(["a"], ["X"], 1, 0).counts.tolist() == [[1]]


def test_a_resample_is_its_rows_weighed_by_how_often_their_group_was_drawn() -> None:
    drawn = draw(["a", "b", "a"], ["X"] * 3, 20, 0)
    point, again = replicate(drawn, lambda weights: {"rows": weights, "sum": weights.sum(1)})
    assert point["rows"].tolist() == [1, 1, 1]
    assert point["sum"] == 3
    assert (again["rows"] == drawn.counts[:, [0, 1, 0]]).all()
    assert (again["sum"] == 2 * drawn.counts[:, 0] + drawn.counts[:, 1]).all()


def test_notes_say_how_the_intervals_were_made() -> None:
    likely = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    groups, strata = list("aab"), ["X", "X", "Y"]
    found = measure(NUCLEUS, np.array([0, 1, 1]), likely, groups, strata)
    assert found["notes"] == {
        "interval": METHOD,
        "resamples": 2000,
        "seed": 0,
        "effective_groups": pytest.approx(9 / 5),
        "strata": {"X": 1, "Y": 1},
        "single_group_strata": 2,
    }
    assert (found["classes"], found["files"], found["groups"]) == (list(NUCLEUS.classes), 3, 2)
    assert found["confusion"] == [[1, 0], [1, 1]]
    assert [each["coverage"] for each in found["coverage"]] == [1, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5]
    assert found["coverage"][0]["error"]["value"] == pytest.approx(1 / 3)
    one = found["per_class"]["mononuclear"]
    assert (one["files"], one["groups"]) == (1, 1)
    assert (one["precision"]["value"], one["recall"]["value"], one["auroc"]["value"]) == (0.5, 1, 1)


def test_contradictions_are_drawn_2000_times_from_seed_0() -> None:
    likely = np.eye(2)[[0, 1, 0, 1, 0]]
    other = np.eye(2)[[0, 1, 0, 0, 1]]
    given = (NUCLEUS, NUCLEUS, {name: name for name in NUCLEUS.classes}, likely, other)
    strata = ["X"] * 5
    found = measure_contradictions(*given, list("abcde"), strata)
    written = measure_contradictions(*given, list("abcde"), strata, resamples=2000, seed=0)
    assert found == written
    assert found["value"] == pytest.approx(2 / 5)


def test_the_first_class_counts_for_the_temperature() -> None:
    logits = np.array([[1.0, 0.0]] * 4)
    # softmax((1, 0) / T) is likeliest at 3 of 4 where 1 / T = ln 3.
    assert fit_temperature(logits, np.array([0, 0, 0, 1])) == pytest.approx(1 / np.log(3), rel=1e-3)

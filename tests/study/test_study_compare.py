"""Paired comparisons find a difference that is there, none that is not, and know how sure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_results import gain, made_row
from scipy import stats
from small_study import trial

from wbczoo.study.plan.trial import BaselineTrial
from wbczoo.study.report.compare import Comparison, compare, correct
from wbczoo.study.report.series import Series
from wbczoo.study.report.tally import measure_seeds


def series(points: float, seeds: int = 5, *, spread: float = 0.02, **changes: object) -> Series:
    """A made model; `photographs` and `study` say of what photographs."""
    made = {name: changes.pop(name) for name in ("photographs", "files") if name in changes}
    study = int(str(changes.pop("study", 0)))
    trials = {seed: trial(seed=seed, **changes) for seed in range(seeds)}
    rows = {
        seed: made_row(one, gain(points, spread), seed=study, **made)  # type: ignore[arg-type]
        for seed, one in trials.items()
    }
    return Series(str(changes.get("protocol", "official")), trials, rows)


def compared(first: Series, second: Series, **settings: int) -> Comparison:
    """Two models in the task `cell`."""
    found = compare(first, second, "cell", "branch", **settings)
    assert found is not None
    return found


def test_a_difference_that_is_there_is_found_and_none_that_is_not() -> None:
    better = compared(series(0.15, sequence="gru"), series(0.0))
    assert better.p is not None
    assert better.p < 0.001
    low, high = (better.figures["accuracy"][k] for k in ("low", "high"))
    assert low is not None
    assert high is not None
    assert 0.05 < low < 0.15 < high < 0.25
    equal = compared(series(0.0, sequence="gru"), series(0.0))
    assert equal.p is not None
    assert equal.p > 0.05
    for figure in equal.figures.values():
        assert figure["low"] is not None
        assert figure["high"] is not None
        assert figure["low"] < 0 < figure["high"]


def test_intervals_cover_and_the_test_rejects_as_rarely_as_it_says() -> None:
    """80 studies of 40 photographs, whose models differ by 4 points or not at all."""
    covered, rejected = 0, 0
    names = [str(n) for n in range(40)]
    for study in range(80):
        points = 0.04 * (study % 2)
        first = series(points, sequence="gru", study=study, photographs=names)
        found = compared(first, series(0.0, study=study, photographs=names), resamples=300)
        low, high = (found.figures["accuracy"][k] for k in ("low", "high"))
        assert low is not None
        assert high is not None
        assert found.p is not None
        covered += low <= points <= high
        rejected += points == 0 and found.p < 0.05
    # Binomial limits at about 1 in 1000: a share of .95 of 80, and of .05 of 40.
    assert covered >= 69
    assert rejected <= 7


def test_pairing_is_by_photograph_so_hard_photographs_cancel() -> None:
    steady = {"spread": 0.0, "files": 60}
    first, second = series(0.05, sequence="gru", **steady), series(0.0, **steady)
    paired = compared(first, second).figures["accuracy"]
    alone = measure_seeds(list(first.rows.values()), "cell")["accuracy"]
    widths = [one["high"] - one["low"] for one in (paired, alone)]  # type: ignore[operator]
    assert widths[0] < widths[1] / 2


def test_seeds_that_disagree_widen_the_interval() -> None:
    """Resampling photographs alone would be blind to what another training gives."""
    steady = compared(series(0.0, sequence="gru", spread=0.0), series(0.0, spread=0.0))
    shaky = compared(series(0.0, sequence="gru", spread=0.15), series(0.0, spread=0.0))
    widths = [
        one.figures["accuracy"]["high"] - one.figures["accuracy"]["low"]  # type: ignore[operator]
        for one in (steady, shaky)
    ]
    assert widths[1] > 1.5 * widths[0]


def test_few_seeds_and_leaking_protocols_are_not_tested() -> None:
    few = compared(series(0.3, 4, sequence="gru"), series(0.0))
    assert (few.seeds, few.p) == (4, None)
    leaky = compared(series(0.3, sequence="gru", protocol="report"), series(0, protocol="report"))
    assert (leaky.seeds, leaky.p) == (5, None)


def test_a_baseline_of_one_seed_stands_against_each_seed_of_a_network() -> None:
    one = trial(seed=0)
    bar = BaselineTrial(train=one.train, tasks=one.tasks, baseline="majority")
    row = made_row(bar, gain(-0.2))
    found = compared(series(0.0), Series("official", {0: bar}, {0: row}))
    assert found.seeds == 5
    assert found.p is not None
    assert found.p < 0.01


def test_only_photographs_that_both_answered_count() -> None:
    first = series(0.0, sequence="gru", photographs=[str(n) for n in range(30)])
    second = series(0.0, photographs=[str(n) for n in range(8, 38)])
    for row in first.rows.values():
        row["answers"][0][1] = "8"  # of the group of one that both answered
    found = compared(first, second)
    assert found.groups == found.photographs == 22
    assert found.files == 110


def test_the_p_values_are_corrected_as_one_family_without_those_that_are_none() -> None:
    first = compared(series(0.1, sequence="gru"), series(0.0))
    family = [replace(first, p=p) for p in (0.001, None, 0.02, 0.6)]
    found = [one.corrected for one in correct(family)]
    harmonic = 1 + 1 / 2 + 1 / 3
    assert found == [
        pytest.approx(0.001 * 3 * harmonic), None, pytest.approx(0.02 * 3 / 2 * harmonic), 1.0,
    ]  # fmt: skip


def test_the_p_value_is_that_of_all_flips_where_they_are_few() -> None:
    names = [str(n) for n in range(8)]
    first = series(0.6, sequence="gru", photographs=names)
    found = compared(first, series(-0.2, photographs=names))
    assert found.p == pytest.approx(2 / 2**8)


def test_the_bootstrap_agrees_with_a_paired_normal_interval() -> None:
    """Many equal photographs, one stratum's shares apart: the textbook's interval of a mean."""
    names = [str(n) for n in range(400)]
    first, second = (
        made_row(trial(sequence=branch), gain(points), photographs=names)
        for branch, points in (("gru", 0.1), ("none", 0.0))
    )
    found = compared(
        Series("official", {0: trial(sequence="gru")}, {0: first}),
        Series("official", {0: trial()}, {0: second}),
    ).figures["accuracy"]
    rights = [
        np.array([line[3][place % 4] / 5 for place, line in enumerate(row["answers"])])
        for row in (first, second)
    ]
    gains = rights[0] - rights[1]
    half = 1.96 * stats.sem(gains)
    assert found["value"] == pytest.approx(gains.mean())
    assert found["low"] == pytest.approx(gains.mean() - half, abs=0.008)
    assert found["high"] == pytest.approx(gains.mean() + half, abs=0.008)

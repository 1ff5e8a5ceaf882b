"""Shares of counted cells: Goodman's intervals against others' numbers, corrections that invert."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from wbczoo.runtime.differential.shares import correct, correct_shares, multinomial_intervals

CONFUSION = np.array([[90, 4, 1, 5], [2, 80, 8, 10], [3, 12, 80, 5], [1, 2, 2, 95]])


@pytest.mark.parametrize("counts", [[20, 30, 50], [0, 7, 93], [1, 0, 0, 0], [500, 400, 90, 10]])
def test_intervals_are_goodmans(counts: list[int]) -> None:
    """Each limit solves (p - x/n)^2 = A p (1 - p) / n, A the chi-squared quantile of alpha / K."""
    found = multinomial_intervals(np.array(counts))
    total = sum(counts)
    quantile = stats.chi2.ppf(1 - 0.05 / len(counts), 1)
    for count, (low, high) in zip(counts, found, strict=True):
        for limit in (low, high):
            gap = (limit - count / total) ** 2 - quantile * limit * (1 - limit) / total
            assert abs(gap) < 1e-9
        assert 0 <= low <= count / total <= high <= 1
    assert found[np.array(counts) == 0, 0].tolist() == [0.0] * counts.count(0)


def test_intervals_hold_all_shares_at_once_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    truth = np.array([0.6, 0.3, 0.07, 0.03])
    drawn = generator.multinomial(200, truth, 2000)
    held = [
        bool(((low <= truth) & (truth <= high)).all())
        for low, high in (multinomial_intervals(counts).T for counts in drawn)
    ]
    assert 0.94 <= np.mean(held) <= 0.99


def test_nothing_counted_says_nothing() -> None:
    assert multinomial_intervals(np.zeros(3, np.int64)).tolist() == [[0.0, 1.0]] * 3


def test_a_correction_finds_the_shares_behind_the_errors() -> None:
    rows = CONFUSION / CONFUSION.sum(1, keepdims=True)
    truth = np.array([0.5, 0.3, 0.15, 0.05])
    found = correct_shares(1000 * truth @ rows, rows)
    np.testing.assert_allclose(found, truth, atol=1e-4)


def test_a_correction_stays_within_shares_where_an_inverse_does_not() -> None:
    rows = CONFUSION / CONFUSION.sum(1, keepdims=True)
    counts = np.array([100.0, 0, 0, 0])
    assert (counts @ np.linalg.inv(rows)).min() < 0
    found = correct_shares(counts, rows)
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1)


def test_a_correction_is_less_sure_the_fewer_photographs_it_rests_on() -> None:
    counts = np.array([50, 30, 15, 5])
    wide = correct(counts, CONFUSION, np.full(4, 5))
    narrow = correct(counts, CONFUSION, np.full(4, 500))
    for found in (wide, narrow):
        assert (found[:, 1] <= found[:, 0]).all()
        assert (found[:, 0] <= found[:, 2]).all()
        assert found[:, 0].sum() == pytest.approx(1)
    assert ((wide[:, 2] - wide[:, 1]) > (narrow[:, 2] - narrow[:, 1])).all()
    np.testing.assert_array_equal(wide, correct(counts, CONFUSION, np.full(4, 5)))

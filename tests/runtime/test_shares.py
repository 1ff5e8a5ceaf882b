"""Shares of counted cells: Goodman's intervals against others' numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from wbczoo.runtime.differential.shares import multinomial_intervals


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
        assert low < high
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

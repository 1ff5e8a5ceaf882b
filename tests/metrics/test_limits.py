"""Limits of flags by hand: groups and laboratories count alike, and shares that are met are met."""

from __future__ import annotations

import numpy as np
import pytest

from wbczoo.metrics.limits import least_probability, quantile, weigh


def test_groups_count_alike_and_so_do_laboratories() -> None:
    np.testing.assert_allclose(weigh(["a", "a", "b"]), [1 / 4, 1 / 4, 1 / 2])
    # The first laboratory has two groups, the second one of two files.
    weights = weigh(["a", "b", "c", "c"], ["one", "one", "two", "two"])
    np.testing.assert_allclose(weights, [1 / 4] * 4)
    # Equal names of groups in two laboratories are two groups.
    np.testing.assert_allclose(weigh(["a", "a", "a"], ["one", "one", "two"]), [0.25, 0.25, 0.5])


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 2.0), (0.51, 3.0), (0.75, 3.0), (0.95, 4.0), (1.0, 4.0)]
)
def test_a_share_that_is_met_exactly_is_met(share: float, expected: float) -> None:
    assert quantile(np.array([3.0, 1.0, 4.0, 2.0]), np.ones(4), share) == expected


def test_one_heavy_group_moves_the_quantile() -> None:
    weights = weigh(["a", "b", "b", "b"])
    assert quantile(np.array([9.0, 1.0, 2.0, 3.0]), weights, 0.6) == 9.0


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ([0, 0, 0, 0], 0.0),  # every answer may be kept
        ([0, 0, 0, 1], 0.6),  # the last is left, for a quarter would be wrong
        ([0, 1, 0, 0], 0.9),
        ([1, 0, 0, 0], 1.0),  # not even the surest holds
    ],
)
def test_the_least_probability_keeps_the_error(wrong: list[int], expected: float) -> None:
    confidences = np.array([0.9, 0.8, 0.6, 0.5])
    assert least_probability(confidences, np.array(wrong, bool), np.ones(4), 0.2) == expected


def test_equal_confidences_are_kept_together_and_later_ones_may_mend() -> None:
    confidences = np.array([0.9, 0.8, 0.8, 0.5])
    wrong = np.array([False, True, False, False])
    assert least_probability(confidences, wrong, np.ones(4), 0.3) == 0.0  # 1 of 4
    assert least_probability(confidences, wrong, np.ones(4), 0.2) == 0.9  # 1 of 3, then 1 of 4
    heavy = np.array([1.0, 8.0, 1.0, 1.0])
    assert least_probability(confidences, wrong, heavy, 0.3) == 0.9

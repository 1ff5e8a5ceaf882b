"""Corrected shares hold the truth as often as they say, and say where the answers tell nothing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from wbczoo.runtime.differential.correction import correct, draw_posterior, find_limits, lead_chains

CONFUSION = np.array([[90, 4, 1, 5], [2, 80, 8, 10], [3, 12, 80, 5], [1, 2, 2, 95.0]])
PAIRS, CHAINS, CLASSES = 500, 16, 4


def draw_pair(
    generator: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """True shares, counted answers and errors; a third of the models know next to nothing."""
    skill = generator.choice([generator.uniform(0, 0.1), generator.uniform(0.1, 1), 0.95])
    guess = generator.dirichlet(np.ones(CLASSES), 1 if generator.random() < 0.5 else CLASSES)
    rows = skill * np.eye(CLASSES) + (1 - skill) * guess
    shares = generator.dirichlet(np.full(CLASSES, generator.choice([0.5, 1.0])))
    answers = generator.multinomial(generator.choice([50, 200, 1000]), shares @ rows)
    errors = [generator.multinomial(generator.choice([3, 10, 100]), row) for row in rows]
    return shares, answers, np.array(errors)


def test_the_interval_holds_the_true_share_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    pairs = [draw_pair(generator) for _ in range(PAIRS)]
    truth, answers, errors = (np.array(part) for part in zip(*pairs, strict=True))
    given = answers.repeat(CHAINS, 0), errors.repeat(CHAINS, 0).astype(float)
    states = draw_posterior(*given, lead_chains(*given, generator), generator)
    drawn = np.concatenate([s.reshape(PAIRS, CHAINS, CLASSES) for s, _ in states], 1)
    limits = np.array([find_limits(each) for each in drawn])
    held = (limits[..., 0] <= truth) & (truth <= limits[..., 1])
    # So few chains make limits a little narrower than `correct` does with its 500.
    assert held.mean() >= 0.93
    assert (limits[..., 0] < limits[..., 1]).all()
    # An interval that is always everything would hold the truth too.
    good = errors.diagonal(axis1=1, axis2=2).min(1) >= 90
    assert (limits[good, :, 1] - limits[good, :, 0]).mean() < 0.2


def test_a_correction_finds_the_shares_behind_the_errors() -> None:
    truth = np.array([0.5, 0.3, 0.15, 0.05])
    answers = np.round(100_000 * truth @ CONFUSION / 100).astype(np.int64)
    found = correct(answers, 1000 * CONFUSION)
    np.testing.assert_allclose(found.shares, truth, atol=0.004)
    assert found.shares.sum() == pytest.approx(1)
    assert found.fits
    assert found.alike == ()


def test_a_correction_stays_within_shares_where_an_inverse_does_not() -> None:
    answers = np.array([100, 0, 0, 0])
    assert (answers @ np.linalg.inv(CONFUSION / 100)).min() < 0
    found = correct(answers, CONFUSION)
    assert (found.limits >= 0).all()
    assert (found.limits <= 1).all()
    assert found.limits[0, 0] > 0.9
    assert (found.limits[:, 1] > found.limits[:, 0]).all()


def test_a_correction_is_less_sure_the_fewer_photographs_it_rests_on() -> None:
    answers = np.array([50, 30, 15, 5])
    wide = correct(answers, CONFUSION / 20)
    narrow = correct(answers, CONFUSION * 5)
    assert (np.ptp(wide.limits, 1) > np.ptp(narrow.limits, 1)).all()
    again = correct(answers, CONFUSION / 20)
    np.testing.assert_array_equal(wide.limits, again.limits)
    np.testing.assert_array_equal(wide.shares, again.shares)


def test_no_answer_and_no_counted_error_leave_everything_open() -> None:
    for answers, errors in (
        (np.zeros(3, np.int64), np.eye(3) * 50),
        (np.full(3, 40), np.zeros((3, 3))),
    ):
        limits = correct(answers, errors).limits
        assert (limits[:, 0] == 0).all()
        assert (limits[:, 1] > 0.95).all()


def test_classes_that_get_the_same_answers_are_named() -> None:
    twins = np.array([[50, 50, 0], [50, 50, 0], [0, 0, 100.0]])
    found = correct(np.array([40, 40, 20]), twins)
    assert found.alike == ((0, 1),)
    assert found.limits[0].tolist() == [0.0, pytest.approx(0.86, abs=0.04)]
    assert found.limits[2, 1] < 0.35
    assert correct(np.full(4, 30), np.full((4, 4), 25.0)).alike == ((0, 1, 2, 3),)
    # Few cells say little of any class; that is not the errors' fault.
    assert correct(np.array([2, 1, 0, 0]), CONFUSION).alike == ()


def test_answers_that_such_a_model_never_gives_do_not_fit() -> None:
    # A fifth of these answers is monocyte, which this model says of one cell in twenty at most.
    never = np.array([[98, 0, 0, 2], [22, 76, 1, 1], [79, 6, 5, 10], [12, 0, 0, 88.0]]) * 5
    assert not correct(np.array([90, 40, 80, 190]), never).fits
    assert correct(np.array([90, 40, 4, 190]), never).fits


def test_limits_of_all_classes_leave_out_a_twentieth_together() -> None:
    """Of two classes each leaves out an eightieth on either side, rounded outwards."""
    steps = np.arange(8001) / 8000
    draws = np.stack([steps, 1 - steps / 2], 1)
    assert find_limits(draws).tolist() == [[0.012, 0.988], [0.506, 0.994]]

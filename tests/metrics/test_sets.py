"""Sets of classes: against another implementation, and as often right as promised, by group."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from crepes import ConformalClassifier

from wbczoo.metrics.sets import class_floors, count_groups, fewest_groups, in_set

Cells = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], list[int]]


def drawn(generator: np.random.Generator, groups: int, classes: int = 3, most: int = 1) -> Cells:
    """Probabilities, classes and groups; the images of a group are wrong together."""
    sizes = generator.integers(1, most + 1, groups)
    kinds = generator.integers(0, classes, groups)
    hard = generator.normal(0, 2, (groups, classes))
    of = np.repeat(np.arange(groups), sizes)
    logits = hard[of] + generator.normal(0, 0.3, (len(of), classes))
    logits[np.arange(len(of)), kinds[of]] += 2
    likely = np.exp(logits)
    return likely / likely.sum(1, keepdims=True), kinds[of], of.tolist()


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95, 0.99])
def test_of_single_images_the_sets_are_those_of_crepes(coverage: float) -> None:
    generator = np.random.default_rng(5)
    likely, truth, groups = drawn(generator, 400)
    new, _, _ = drawn(generator, 200)
    ours = in_set(new, class_floors(likely, truth, groups, coverage))
    theirs = np.zeros_like(ours)
    for place in range(3):
        fitted = ConformalClassifier().fit(1 - likely[truth == place, place])
        told = np.array(fitted.predict_p(1 - new[:, [place]], smoothing=False))
        theirs[:, place] = told[:, 0] > 1 - coverage + 1e-12
    theirs[np.arange(len(new)), new.argmax(1)] = True  # the answer is always in
    np.testing.assert_array_equal(ours, theirs)
    assert ours.sum(1).min() >= 1


def test_a_new_groups_cells_are_covered_class_by_class_though_views_are_many() -> None:
    generator = np.random.default_rng(0)
    covered = []
    for _ in range(400):
        likely, truth, groups = drawn(generator, 60, most=30)
        floors = class_floors(likely, truth, groups, 0.8)
        new, true, of = drawn(generator, 60, most=30)
        inside = in_set(new, floors)[np.arange(len(new)), true]
        # One image of each new group, as the promise speaks of.
        first = np.unique(of, return_index=True)[1]
        covered.append([inside[first][true[first] == place].mean() for place in range(3)])
    by_class = np.mean(covered, 0)
    assert by_class.min() > 0.79  # its error is about .005
    assert by_class.max() < 0.9  # and not by leaving all classes open


def test_too_few_groups_promise_nothing_and_none_at_all_even_less() -> None:
    likely = np.array([[0.9, 0.05, 0.05]] * 8 + [[0.1, 0.8, 0.1]] * 30)
    truth = np.array([0] * 8 + [1] * 30)
    one_each, one_slide = [*range(38)], [0] * 8 + [1] * 30
    floors = class_floors(likely, truth, one_each, 0.9)
    assert floors[0] == 0.0  # eight groups, and nine are needed
    assert floors[1] == 0.8
    assert math.isnan(floors[2])
    assert class_floors(likely, truth, one_slide, 0.9)[1] == 0.0  # thirty views of one slide
    held = in_set(np.array([[0.0, 0.7, 0.3], [0.0, 0.1, 0.9]]), floors)
    assert held.tolist() == [[True, True, False], [True, False, True]]


def test_a_ninth_group_is_enough() -> None:
    likely = np.linspace(0.1, 0.9, 9)[:, None] @ np.ones((1, 2))
    assert class_floors(likely, np.zeros(9, np.int64), [*range(9)], 0.9)[0] == pytest.approx(0.1)
    assert [fewest_groups(each) for each in (0.8, 0.9, 0.95, 0.99)] == [4, 9, 19, 99]


def test_groups_are_counted_by_class() -> None:
    truth = np.array([0, 0, 0, 1, -1])
    assert count_groups(truth, ["a", "a", "b", "a", "c"], 3) == [2, 1, 0]

"""What is said of a novelty, by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from wbczoo.metrics.unknown import measure_unknown


def test_shares_of_known_and_unknown_by_hand() -> None:
    novelty = np.array([0.0, 0.5, 1.0, 1.5, 0.9, 1.2, 3.0])
    known = np.array([True] * 4 + [False] * 3)
    found = measure_unknown(novelty, known, 1.0, list("aabbcde"), ["k"] * 4 + ["u"] * 3)
    assert (found["known_files"], found["known_groups"]) == (4, 2)
    assert (found["unknown_files"], found["unknown_groups"]) == (3, 3)
    assert found["called_unknown"]["value"] == 1 / 4  # the limit itself is known
    assert found["found"]["value"] == pytest.approx(2 / 3)
    assert found["auroc"]["value"] == pytest.approx((2 + 3 + 4) / 12)
    assert found["passed"]["value"] == pytest.approx(2 / 3)  # 95 % of four reach up to 1.5
    for name in ("called_unknown", "found", "auroc", "passed"):
        assert 0 <= found[name]["low"] <= found[name]["value"] <= found[name]["high"] <= 1


def test_without_unknown_rows_only_the_known_are_told_of() -> None:
    found = measure_unknown(
        np.array([0.0, 2.0]), np.array([True, True]), 1.0, ["a", "b"], ["k"] * 2
    )
    assert found["called_unknown"]["value"] == 0.5
    assert found["unknown_files"] == 0
    assert found["auroc"] == found["passed"] == found["found"]
    assert found["auroc"] == {"value": None, "low": None, "high": None}


def test_it_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score, roc_curve

    generator = np.random.default_rng(0)
    known = np.arange(300) < 200
    novelty = generator.normal(0, 1, 300) + 1.2 * ~known
    groups = [str(row) for row in range(300)]
    found = measure_unknown(novelty, known, 1.0, groups, ["k"] * 300, resamples=50)
    assert found["auroc"]["value"] == pytest.approx(roc_auc_score(~known, novelty))
    rates = roc_curve(known, -novelty, drop_intermediate=False)
    first = int(np.argmax(rates[1] >= 0.95))
    assert found["passed"]["value"] == pytest.approx(rates[0][first])
    np.testing.assert_allclose(
        measure_unknown(np.round(novelty), known, 1.0, groups, ["k"] * 300)["auroc"]["value"],
        roc_auc_score(~known, np.round(novelty)),
    )


def test_the_interval_of_the_unknown_goes_by_their_own_groups_and_by_the_seed() -> None:
    def measured(knowns: int, seed: int = 0) -> dict[str, object]:
        novelty = np.array([0.0] * knowns + [5.0, 5.0, 5.0])
        known = novelty < 1
        groups = [str(row) for row in range(len(novelty))]
        strata = ["k"] * knowns + ["u"] * 3
        return measure_unknown(novelty, known, 1.0, groups, strata, seed=seed)

    assert measured(4)["found"] == measured(40)["found"]
    assert measured(4)["called_unknown"] != measured(40)["called_unknown"]
    generator = np.random.default_rng(0)
    novelty, known = generator.normal(0, 1, 30), np.arange(30) < 20
    arguments = novelty, known, 0.5, [str(row) for row in range(30)], ["k"] * 30
    assert measure_unknown(*arguments) == measure_unknown(*arguments)
    assert measure_unknown(*arguments) != measure_unknown(*arguments, seed=1)

"""The figures agree with scikit-learn and with sums by hand, and their intervals are honest."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as reference

from wbczoo.errors import UsageError, WbczooError
from wbczoo.evaluation.figures import table
from wbczoo.metrics import (
    fit_temperature,
    formulas,
    intervals,
    measure,
    measure_contradictions,
    restrict,
)
from wbczoo.tasks import CELL, NUCLEUS, NUCLEUS_OF, Task

Case = tuple[np.ndarray, np.ndarray, list[str], list[str]]


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def answers_with_ties(seed: int, groups: int = 40, task: Task = CELL) -> Case:
    """Groups of 1 to 9 rows of one class; probabilities in steps of a twentieth, so many tie."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 10, groups)
    of_group = np.arange(groups) % len(task.classes)
    targets = np.repeat(of_group, sizes)
    names = [f"g{number}" for number in np.repeat(np.arange(groups), sizes)]
    logits = rng.normal(size=(len(targets), len(task.classes)))
    logits += np.repeat(rng.normal(size=(groups, len(task.classes))), sizes, axis=0)
    logits[np.arange(len(targets)), targets] += 1
    rough = np.round(softmax(logits) * 20) + 0.25
    return targets, rough / rough.sum(1, keepdims=True), names, [str(t) for t in targets]


def certain(targets: np.ndarray, answers: np.ndarray, classes: int, sure: float = 0.9):
    probabilities = np.full((len(targets), classes), (1 - sure) / (classes - 1))
    probabilities[np.arange(len(targets)), answers] = sure
    return probabilities


def reference_figures(targets: np.ndarray, likely: np.ndarray, weights: np.ndarray) -> Any:
    """What scikit-learn makes of the same rows."""
    answers, labels = likely.argmax(1), list(range(likely.shape[1]))
    given: Any = {"sample_weight": weights}
    each: Any = {**given, "labels": labels, "average": None, "zero_division": 0}
    return {
        "accuracy": reference.accuracy_score(targets, answers, **given),
        "balanced_accuracy": reference.balanced_accuracy_score(targets, answers, **given),
        "macro_f1": reference.f1_score(
            targets, answers, labels=labels, average="macro", zero_division=0, **given
        ),
        "precision": reference.precision_score(targets, answers, **each),
        "recall": reference.recall_score(targets, answers, **each),
        "confusion": reference.confusion_matrix(targets, answers, labels=labels, **given),
        "auroc": [
            reference.roc_auc_score(targets == label, likely[:, label], **given) for label in labels
        ],
    }


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_formulas_equal_scikit_learn_at_every_weight(seed: int) -> None:
    targets, likely, _, _ = answers_with_ties(seed)
    if seed == 2:
        likely[:, 3] = 0  # neutrophil is never the answer
    rng = np.random.default_rng(seed)
    weights = np.vstack([np.ones(len(targets)), rng.integers(0, 4, (5, len(targets)))])
    matrix = formulas.confusion(weights, targets, likely.argmax(1), 4)
    found = {**formulas.figures_of(matrix), "confusion": matrix}
    found["auroc"] = np.stack(
        [formulas.auroc(weights, likely[:, c], targets == c) for c in range(4)], 1
    )
    for number, row in enumerate(weights):
        for name, value in reference_figures(targets, likely, row).items():
            np.testing.assert_allclose(found[name][number], value, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_limits_are_percentiles_over_rows_drawn_again_group_by_group(seed: int) -> None:
    """Each resample is written out row by row and given to scikit-learn."""
    targets, likely, groups, strata = answers_with_ties(seed)
    found = measure(CELL, targets, likely, groups, strata, resamples=60, seed=seed)
    drawn = intervals.draw(groups, strata, 60, seed)
    again = []
    for counts in drawn.counts:
        rows = np.repeat(np.arange(len(targets)), counts[drawn.group_of_row])
        again.append(reference_figures(targets[rows], likely[rows], np.ones(len(rows))))
    value = reference_figures(targets, likely, np.ones(len(targets)))
    assert found["confusion"] == value["confusion"].tolist()

    def agrees(figure: Any, name: str, *place: int, rows: np.ndarray) -> None:
        """A limit is the percentile, or what the groups of these rows cannot exclude."""
        low, high = np.quantile([np.asarray(one[name])[place] for one in again], (0.025, 0.975))
        point = np.asarray(value[name])[place]
        seen = 0.025 ** (1 / kish(rows, drawn.group_of_row))
        expected = (point, min(low, point * seen), max(high, 1 - (1 - point) * seen))
        assert (figure["value"], figure["low"], figure["high"]) == pytest.approx(expected)
        by_percentile.append(expected[1] == low)

    by_percentile: list[bool] = []
    agrees(found["accuracy"], "accuracy", rows=np.ones(len(targets)))
    for name in ("balanced_accuracy", "macro_f1"):
        agrees(found[name], name, rows=1 / np.bincount(targets)[targets])
    for c, own in enumerate(found["per_class"].values()):
        agrees(own["precision"], "precision", c, rows=likely.argmax(1) == c)
        agrees(own["recall"], "recall", c, rows=targets == c)
        fewer = min(targets == c, targets != c, key=lambda rows: kish(rows, drawn.group_of_row))
        agrees(own["auroc"], "auroc", c, rows=fewer)
    assert any(by_percentile)  # both kinds of limit were met
    assert not all(by_percentile)


def kish(weights: np.ndarray, group_of_row: np.ndarray) -> float:
    sums = np.array([weights[group_of_row == g].sum() for g in range(group_of_row.max() + 1)])
    return float(sums.sum() ** 2 / (sums**2).sum())


def test_groups_are_drawn_within_the_stratum_of_most_of_their_rows() -> None:
    groups = ["a", "a", "a", "b", "c", "d", "d", "e"]
    strata = ["X", "Y", "Y", "X", "X", "Y", "X", "Y"]  # a and e are Y; b and c X; d, a draw, Y
    drawn = intervals.draw(groups, strata, 500, seed=3)
    assert drawn.strata == {"Y": 3, "X": 2}
    assert drawn.group_of_row.tolist() == [0, 0, 0, 1, 2, 3, 3, 4]
    assert (drawn.counts[:, [1, 2]].sum(1) == 2).all()
    assert (drawn.counts[:, [0, 3, 4]].sum(1) == 3).all()
    assert drawn.counts.mean(0) == pytest.approx([1] * 5, abs=0.12)
    same, other = (intervals.draw(groups, strata, 500, seed) for seed in (3, 4))
    assert (same.counts == drawn.counts).all()
    assert (other.counts != drawn.counts).any()


def test_more_views_of_the_same_photographs_tell_nothing_new() -> None:
    targets, likely, groups, strata = answers_with_ties(0)
    ten = np.repeat(np.arange(len(targets)), 10)
    once = measure(CELL, targets, likely, groups, strata, resamples=300)
    views: Any = (targets[ten], likely[ten], [groups[r] for r in ten], [strata[r] for r in ten])
    often = measure(CELL, *views, resamples=300)
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "ece"):
        assert often[name] == pytest.approx(once[name])
    for name in CELL.classes:
        for figure in ("precision", "recall", "auroc"):
            expected = once["per_class"][name][figure]
            assert often["per_class"][name][figure] == pytest.approx(expected)
    by_file = measure(
        CELL, views[0], views[1], [str(row) for row in ten.argsort()], views[3], resamples=300
    )
    width = {
        name: document["accuracy"]["high"] - document["accuracy"]["low"]
        for name, document in (("group", often), ("file", by_file))
    }
    assert width["file"] < width["group"] / 3


def test_interval_holds_the_truth_where_one_by_file_does_not() -> None:
    """30 photographs of 20 views, accuracy .9; views of one photograph fail together."""
    rng = np.random.default_rng(0)
    task, photographs, views, trials = Task("t", ("a", "b")), 30, 20, 100
    photograph = np.repeat(np.arange(photographs), views)
    targets = photograph % 2
    held = {"photograph": 0, "file": 0}
    for _ in range(trials):
        chance = rng.beta(2.1, 2.1 / 9, photographs)  # mean .9, correlation .3 within
        right = rng.random(len(targets)) < chance[photograph]
        likely = certain(targets, np.where(right, targets, 1 - targets), 2)
        units = {"photograph": photograph, "file": np.arange(len(targets))}
        for unit, of_row in units.items():
            groups, strata = [str(g) for g in of_row], [str(t) for t in targets]
            figure = measure(task, targets, likely, groups, strata, resamples=200)["accuracy"]
            held[unit] += figure["low"] <= 0.9 <= figure["high"]
    assert held["photograph"] >= 0.93 * trials
    assert held["file"] <= 0.7 * trials


def test_all_right_is_not_certain() -> None:
    targets = np.repeat(np.arange(4), 60)
    groups = [f"g{row // 10}" for row in range(240)]  # 24 groups of 10, 6 of each class
    strata = [CELL.classes[t] for t in targets]
    perfect = measure(CELL, targets, certain(targets, targets, 4), groups, strata)
    accuracy = perfect["accuracy"]
    assert accuracy["value"] == accuracy["high"] == 1
    assert accuracy["low"] == pytest.approx(0.025 ** (1 / 24))
    monocyte = perfect["per_class"]["monocyte"]
    for name in ("precision", "recall", "auroc"):
        assert monocyte[name]["low"] == pytest.approx(0.025 ** (1 / 6))
    for row in perfect["coverage"]:  # all rows are as confident, so each keeps its share
        assert row["error"]["high"] == pytest.approx(1 - 0.025 ** (1 / 24))
    assert perfect["ece"]["value"] == pytest.approx(0.1)
    assert perfect["ece"]["high"] == pytest.approx(0.1 + 1 - 0.025 ** (1 / 24))

    answers = targets.copy()
    answers[0] = 1
    once_wrong = measure(CELL, targets, certain(targets, answers, 4), groups, strata)["accuracy"]
    assert once_wrong["low"] < accuracy["low"]  # an error more never makes surer

    all_wrong = measure(CELL, targets, certain(targets, (targets + 1) % 4, 4), groups, strata)
    assert all_wrong["accuracy"]["low"] == all_wrong["accuracy"]["value"] == 0
    assert all_wrong["accuracy"]["high"] == pytest.approx(1 - 0.025 ** (1 / 24))


def test_effective_number_of_groups_is_that_of_the_published_test(shared: Path) -> None:
    """2487 views of 71 photographs know about as much as 31 photographs would."""
    table_path = shared / "data" / "bccd-augmented-to-photograph.csv"
    with table_path.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["file"].startswith("images/TEST/")]
    labels = [row["file"].split("/")[2] for row in rows]
    targets = np.array([CELL.classes.index(label.lower()) for label in labels])
    photographs = [row["source_id"] for row in rows]
    found = measure(CELL, targets, certain(targets, targets, 4), photographs, labels, resamples=50)
    assert (found["files"], found["groups"]) == (2487, 71)
    groups = {name: own["groups"] for name, own in found["per_class"].items()}
    assert groups == {"eosinophil": 13, "lymphocyte": 6, "monocyte": 4, "neutrophil": 48}
    assert found["notes"]["effective_groups"] == pytest.approx(31, abs=1)
    assert found["accuracy"]["low"] == pytest.approx(0.887, abs=0.005)
    assert found["per_class"]["monocyte"]["recall"]["low"] == pytest.approx(0.40, abs=0.01)


def test_calibration_error_by_hand() -> None:
    # 0.9 is in (13/15, 14/15], 0.7 in (10/15, 11/15], 2/3 in (9/15, 10/15], 1 in the last.
    confidences = np.array([0.9, 0.9, 0.7, 2 / 3, 1.0])
    wrong = np.array([False, True, True, False, False])
    gaps = (abs(1 - 1.8), 0.7, 1 / 3, 0.0)
    found = formulas.calibration_error(np.ones((1, 5)), wrong, confidences)
    assert found == pytest.approx(sum(gaps) / 5)
    doubled = formulas.calibration_error(np.array([[1, 1, 2, 1, 0.0]]), wrong, confidences)
    assert doubled == pytest.approx((0.8 + 1.4 + 1 / 3) / 5)


def test_coverage_against_error_by_hand() -> None:
    confidences = np.array([0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5])
    wrong = np.array([0, 0, 0, 1, 0, 1, 0, 1, 1, 1], bool)
    found = formulas.selective_errors(np.ones((1, 10)), wrong, confidences)[0]
    # At 1, .95, .9, .8, .7, .6 and .5; at .95 half of the tenth row is kept.
    expected = [5 / 10, 4.5 / 9.5, 4 / 9, 3 / 8, 2 / 7, 2 / 6, 1 / 5]
    assert found == pytest.approx(expected)
    shuffled = np.random.default_rng(0).permutation(10)
    tied = formulas.selective_errors(np.ones((1, 10)), wrong, np.full(10, 0.8))
    assert tied == pytest.approx(0.5)  # nothing to choose by, so every share errs alike
    rough = np.round(confidences, 1)
    one = formulas.selective_errors(np.ones((1, 10)), wrong, rough)
    other = formulas.selective_errors(np.ones((1, 10)), wrong[shuffled], rough[shuffled])
    assert one == pytest.approx(other)


def test_rows_of_equal_confidence_are_kept_by_equal_parts() -> None:
    confidences = np.array([0.5, 0.9, 0.1, 0.5])
    assert formulas.kept_at(1.0, confidences).tolist() == [1, 1, 1, 1]
    assert formulas.kept_at(0.75, confidences).tolist() == [1, 1, 0, 1]
    assert formulas.kept_at(0.5, confidences).tolist() == [0.5, 1, 0, 0.5]
    assert formulas.kept_at(0.125, confidences).tolist() == [0, 0.5, 0, 0]


def test_a_certain_answer_and_one_rounded_above_it_are_probabilities() -> None:
    formulas.check("cell", 2, np.array([[1.0, 0.0], [0.0, 1.001]]), [1, 2])


def test_a_weight_is_as_many_rows() -> None:
    targets, likely, _, _ = answers_with_ties(1)
    counts = np.random.default_rng(1).integers(0, 3, len(targets))
    wrong, confidences = likely.argmax(1) != targets, likely.max(1)
    rows = np.repeat(np.arange(len(targets)), counts)
    for formula in (formulas.selective_errors, formulas.calibration_error):
        weighed = formula(counts[None].astype(float), wrong, confidences)
        written_out = formula(np.ones((1, len(rows))), wrong[rows], confidences[rows])
        assert weighed == pytest.approx(written_out)


def test_size_of_a_chunk_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measure(CELL, *answers_with_ties(0), resamples=101)
    monkeypatch.setattr(intervals, "_ELEMENTS", 1000)
    assert json.dumps(measure(CELL, *answers_with_ties(0), resamples=101)) == json.dumps(whole)


def test_rows_that_a_task_leaves_out_do_not_count() -> None:
    targets, likely, groups, strata = answers_with_ties(0)
    without = measure(CELL, targets, likely, groups, strata, resamples=50)
    strange = measure(
        CELL,
        np.append(targets, [-1, -1]),
        np.vstack([likely, likely[:2]]),
        [*groups, "g0", "new"],
        [*strata, "BASOPHIL", "BASOPHIL"],
        resamples=50,
    )
    assert strange == without


def test_class_without_rows_is_undefined_and_means_pass_over_it() -> None:
    targets = np.array([0, 0, 1, 1, 3, 3])
    answers = np.array([0, 2, 1, 1, 3, 0])
    groups, strata = ["a", "b", "c", "d", "e", "f"], ["E", "E", "L", "L", "N", "N"]
    found = measure(CELL, targets, certain(targets, answers, 4), groups, strata, resamples=50)
    nothing = {"value": None, "low": None, "high": None}
    monocyte = found["per_class"]["monocyte"]
    assert monocyte == {
        "files": 0,
        "groups": 0,
        "precision": nothing,
        "recall": nothing,
        "auroc": nothing,
    }
    assert found["balanced_accuracy"]["value"] == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert found["macro_f1"]["value"] == pytest.approx((0.5 + 1 + 2 / 3) / 3)
    assert "undefined" in table(document_of(found))


def test_only_class_with_rows_has_no_auroc() -> None:
    targets = np.zeros(4, int)
    found = measure(
        NUCLEUS, targets, certain(targets, np.array([0, 0, 0, 1]), 2), list("abcd"), ["M"] * 4
    )
    assert found["per_class"]["mononuclear"]["auroc"]["value"] is None
    assert found["per_class"]["mononuclear"]["recall"]["value"] == 0.75
    assert found["per_class"]["polynuclear"]["precision"]["value"] is None
    json.dumps(found, allow_nan=False)


def test_no_rows_at_all_are_all_undefined() -> None:
    found = measure(CELL, np.full(3, -1), np.full((3, 4), 0.25), list("abc"), ["B"] * 3)
    assert (found["files"], found["groups"]) == (0, 0)
    assert found["confusion"] == [[0] * 4] * 4
    figures = [found[name] for name in ("accuracy", "balanced_accuracy", "macro_f1", "ece")]
    figures += [row["error"] for row in found["coverage"]]
    assert all(figure == {"value": None, "low": None, "high": None} for figure in figures)
    json.dumps(found, allow_nan=False)


def test_resamples_that_lack_a_class_are_passed_over() -> None:
    """The strata do not know the classes here, so some resamples have no b."""
    targets = np.array([0, 0, 0, 1])
    likely = certain(targets, np.array([0, 0, 1, 1]), 2)
    found = measure(Task("t", ("a", "b")), targets, likely, list("wxyz"), ["all"] * 4)
    recall = found["per_class"]["b"]["recall"]
    assert (recall["value"], recall["low"], recall["high"]) == pytest.approx((1, 0.025, 1))
    json.dumps(found, allow_nan=False)


def test_strata_of_one_group_are_told() -> None:
    targets = np.array([0, 0, 1, 1, 1])
    likely = certain(targets, np.array([0, 1, 1, 1, 0]), 2)
    groups = ["a", "a", "b", "c", "d"]
    found = measure(NUCLEUS, targets, likely, groups, ["M", "M", "P", "P", "P"], resamples=50)
    assert found["notes"]["single_group_strata"] == 1
    assert found["notes"]["strata"] == {"M": 1, "P": 3}
    # One photograph is right in half of its views, and that says next to nothing.
    recall = found["per_class"]["mononuclear"]["recall"]
    assert (recall["low"], recall["high"]) == pytest.approx((0.5 * 0.025, 1 - 0.5 * 0.025))
    # An AUROC compares two classes, and knows no more than the smaller one allows.
    for own in found["per_class"].values():
        assert own["auroc"]["low"] == pytest.approx(own["auroc"]["value"] * 0.025)


def test_what_is_left_at_a_coverage_rests_on_its_own_groups() -> None:
    """The surer half is all of two photographs of ten, so it says what two can say."""
    targets = np.zeros(40, int)
    groups = ["a"] * 10 + ["b"] * 10 + [f"g{row}" for row in range(20)]
    likely = certain(targets, targets, 2)
    likely[:20] = (0.99, 0.01)
    found = measure(NUCLEUS, targets, likely, groups, ["M"] * 40, resamples=50)
    half = found["coverage"][-1]
    assert (half["coverage"], half["error"]["value"]) == (0.5, 0)
    assert half["error"]["high"] == pytest.approx(1 - 0.025 ** (1 / 2))
    assert found["coverage"][0]["error"]["high"] < half["error"]["high"]


def test_contradictions_by_hand() -> None:
    five = Task("five", ("basophil", *CELL.classes))
    first = np.array([0, 1, 2, 3, 4, 2])  # basophil implies nothing
    second = np.array([0, 1, 1, 0, 0, 0])  # a lymphocyte and a neutrophil are contradicted
    pair = (certain(first, first, 5), certain(second, second, 2))
    found = measure_contradictions(
        five, NUCLEUS, NUCLEUS_OF, *pair, list("abcdef"), ["x"] * 6, resamples=400
    )
    assert found["files"] == 5
    assert found["value"] == pytest.approx(2 / 5)
    assert 0 <= found["low"] < 0.2
    assert 0.7 < found["high"] <= 1
    never = measure_contradictions(five, NUCLEUS, {}, *pair, list("abcdef"), ["x"] * 6)
    assert never == {"value": None, "low": None, "high": None, "files": 0}
    agreeing = measure_contradictions(
        NUCLEUS,
        NUCLEUS,
        {name: name for name in NUCLEUS.classes},
        pair[1],
        pair[1],
        list("aabbcc"),
        ["x"] * 6,
    )
    assert (agreeing["value"], agreeing["low"]) == (0, 0)
    assert agreeing["high"] == pytest.approx(1 - 0.025 ** (1 / 3))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_temperature_is_recovered(temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 4)) * 2
    chances = softmax(logits).cumsum(1)
    targets = (rng.random((len(logits), 1)) > chances[:, :-1]).sum(1)
    found = fit_temperature((logits * temperature).astype(np.float32), targets)
    assert found == pytest.approx(temperature, rel=0.03)


def test_temperature_of_what_determines_none() -> None:
    logits = np.array([[3.0, 0.0], [0.0, 2.0], [1.0, 0.0]])
    assert fit_temperature(logits, np.array([-1, -1, -1])) == 1
    assert fit_temperature(logits[:0], np.zeros(0, int)) == 1
    assert fit_temperature(logits, np.array([0, 1, 0])) == 1  # all right: any T is too high
    assert fit_temperature(np.zeros((3, 2)), np.array([0, 1, 0])) == 1
    assert fit_temperature(logits, np.array([1, 0, 1])) == pytest.approx(20, rel=1e-3)
    assert fit_temperature(logits * 1e4, np.array([0, 1, 1])) == pytest.approx(20, rel=1e-3)
    assert 0.05 <= fit_temperature(logits / 1e4, np.array([0, 1, 1])) <= 20
    with pytest.raises(WbczooError, match="no temperature"):
        fit_temperature(np.full((2, 2), np.nan), np.array([0, 1]))


def test_restricted_probabilities_sum_to_one_again() -> None:
    found = restrict(np.array([[0.5, 0.2, 0.2, 0.1], [1, 0, 0, 0]], np.float32), [3, 1])
    np.testing.assert_allclose(found, [[1 / 3, 2 / 3], [0.5, 0.5]], rtol=1e-6)


@pytest.mark.parametrize(
    ("likely", "groups", "said"),
    [
        (np.full((3, 4), np.nan), list("abc"), "3 rows, first row 0"),
        (np.array([[0.25] * 4, [4.0, -1, 0, 2], [0.25] * 4]), list("abc"), "first row 1"),
        (np.full((3, 2), 0.5), list("abc"), "4 classes"),
        (np.full((3, 4), 0.25), list("ab"), "columns of 3, 2, 3 rows"),
    ],
)
def test_what_is_no_prediction_is_refused(likely: Any, groups: list[str], said: str) -> None:
    with pytest.raises(WbczooError, match=said):
        measure(CELL, np.zeros(3, int), likely, groups, ["E"] * 3)


def test_bootstrap_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one resample"):
        measure(CELL, *answers_with_ties(0), resamples=0)


def document_of(found: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "protocol": "official",
        "part": "augmented",
        "fold": None,
        "unit": "photograph",
        "photographs": 71,
        "files": found["files"],
        "groups": found["groups"],
        "leaky": False,
        "interval": "by group",
        "tasks": {"cell": found},
        **changes,
    }


def test_table_tells_every_figure_with_its_protocol() -> None:
    found = measure(CELL, *answers_with_ties(0), resamples=50)
    found["accuracy"] = {"value": 0.5714, "low": 0.4589, "high": 0.6701}
    found["macro_f1"] = {"value": 1.0, "low": 0.9999, "high": 1.0}
    text = table(document_of(found))
    assert text.startswith(f"official, augmented: {found['files']} files of 71 photographs")
    assert "LEAKY" not in text
    assert "0.571 [0.45, 0.68]" in text  # outwards
    assert "1.000 [0.99, 1.00]" in text
    assert text.count("[") == 4 + 7 + 3 * 4
    rate = {"value": 0.25, "low": 0.1, "high": 0.29, "files": 12}
    text = table(
        document_of(
            found,
            leaky=True,
            protocol="report",
            photographs=None,
            fold=2,
            contradictions=rate,
            left_out={"cell": {"BAS": 2, "": 1}},
            refused={"a.jpg": "it is empty."},
        )
    )
    assert text.startswith("LEAKY report, augmented, fold 2:")
    left = "out files by their labels: 2 of BAS, 1 of no label"
    for part in ("an unknown number", "0.250 [0.10, 0.29] of 12", left, "a.jpg: it is"):
        assert part in text
    found["shared_classes"] = measure(NUCLEUS, *answers_with_ties(0, task=NUCLEUS), resamples=50)
    assert "cell, shared classes" in table(document_of(found))


def test_metrics_need_numpy_alone() -> None:
    """`evaluate` of an export runs where no training extras are installed."""
    code = (
        "import sys, numpy as np;"
        "from wbczoo.metrics import measure; from wbczoo.tasks import CELL;"
        "names = list('abcd'); flat = np.full((4, 4), .25);"
        "measure(CELL, np.arange(4), flat, names, names, resamples=9);"
        "print(*{'torch', 'sklearn', 'scipy', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

"""An export is adapted to labelled cells: what is fitted, what is written, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_export
from commands import Completed
from sklearn.linear_model import LogisticRegression

import wbczoo
from wbczoo.exporting.adapting.middle import FEATURES
from wbczoo.exporting.adapting.refit import (
    FOLDS,
    PENALTIES,
    Cells,
    cross_fit,
    fit,
    folds,
    refit,
    softmax,
)
from wbczoo.metrics.limits import quantile
from wbczoo.runtime import Session
from wbczoo.runtime.layers import open_layers
from wbczoo.runtime.onnx_graph import open_with
from wbczoo.tasks import CELL


def draw(root: Path, photographs: int, seed: int) -> Path:
    from wbczoo_datasets.synthetic import SYNTHETIC

    assert SYNTHETIC.prepare is not None
    SYNTHETIC.prepare(root, photographs=photographs, views=1, seed=seed)
    return root


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One view of each of 32 photographs, none of which the small run saw."""
    return draw(tmp_path_factory.mktemp("reviewed") / "cells", 32, seed=7)


@pytest.fixture(scope="module")
def adapted(small_export: Path, reviewed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("adapted") / "ours"
    script = (
        "import sys; from wbczoo.cli import main; code = main(sys.argv[1:]);"
        "found = {'torch', 'timm', 'safetensors', 'sklearn'} & set(sys.modules);"
        "sys.exit(f'imported {found}' if found else code)"
    )
    given = ("--dataset", "synthetic", "--limit", "24", "--out", out)
    command = [sys.executable, "-c", script, "adapt", small_export, reviewed, *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "the other cells" in done.stdout.lower()
    return out


def some_cells(count: int = 60, seed: int = 0) -> Cells:
    """Cells of two groups' worth of rows each, whose third feature tells what the head does not."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, 8)) * 3 + 5
    truth = (features[:, 2] > 5).astype(np.int64)
    given = random.normal(size=(count, 2))
    groups = np.array([f"g{row // 2}" for row in range(count)], object)
    return Cells(features, {"it": given}, random.normal(size=count) + 4, {"it": truth}, groups)


def test_the_fit_is_logistic_regression_around_the_given_head() -> None:
    cells = some_cells()
    truth, nothing = cells.targets["it"], np.zeros((60, 2))
    alone = np.array([f"g{row}" for row in range(60)], object)
    features, scale = cells.features, cells.features.std(0)
    scale = (scale + 0.1 * scale.mean() + 1e-9) * np.sqrt(8)
    placed = np.column_stack([(features - features.mean(0)) / scale, np.ones(60)])
    for correction in fit(features, nothing, truth, alone)[1:-1]:
        # Of two classes with opposite weights, of squares that are penalised twice.
        oracle = LogisticRegression(
            C=2 / correction.penalty, fit_intercept=False, tol=1e-8, max_iter=10_000
        )
        expected = oracle.fit(placed, truth).predict_proba(placed)
        found = correction.probabilities(features, nothing)
        np.testing.assert_allclose(found, expected, atol=5e-3)
    *_, strong, none = fit(features, cells.logits["it"], truth, alone)
    assert not none.weights.any()
    assert not none.bias.any()
    moved = strong.logits(features, cells.logits["it"]) - cells.logits["it"]
    assert 0 < np.abs(moved).max() < 2


def test_a_refit_learns_what_the_head_did_not_know_and_scales_the_novelty() -> None:
    cells, others = some_cells(), some_cells(seed=1)
    found = refit(cells)
    correction = found.corrections["it"]
    assert correction.penalty in PENALTIES
    before = (softmax(others.logits["it"]).argmax(1) == others.targets["it"]).mean()
    likely = correction.probabilities(others.features, others.logits["it"])
    assert (likely.argmax(1) == others.targets["it"]).mean() > before + 0.2
    assert cells.novelty is not None
    scaled = found.slope * cells.novelty + found.offset
    even = np.ones(60)
    assert quantile(scaled, even, 0.5) == pytest.approx(0, abs=1e-9)
    assert quantile(scaled, even, 0.95) == pytest.approx(1, abs=1e-4)
    assert quantile(scaled, even, 0.95) < 1


def test_a_task_without_two_classes_stays_as_it_is() -> None:
    cells = some_cells()
    cells.targets["it"][:] = 1
    correction = refit(cells).corrections["it"]
    assert not correction.weights.any()
    assert (correction.temperature, correction.unsure_below) == (1.0, None)


def test_a_class_without_cells_keeps_what_the_head_gave_it() -> None:
    cells, given = some_cells(), np.random.default_rng(3).normal(size=(60, 3))
    groups = np.array([f"g{row}" for row in range(60)], object)
    for correction in fit(cells.features, given, cells.targets["it"] * 2, groups):  # never 1
        before, after = softmax(given), correction.probabilities(cells.features, given)
        np.testing.assert_allclose(after[:, 1], before[:, 1], atol=1e-9)
    assert np.abs(after - before).max() == pytest.approx(0)  # the last adds nothing
    first = fit(cells.features, given, cells.targets["it"] * 2, groups)[0]
    assert np.abs(first.probabilities(cells.features, given) - before).max() > 0.3


def test_each_cell_is_answered_by_what_was_fitted_without_its_group() -> None:
    cells = some_cells()
    strata = [str(each) for each in cells.targets["it"]]
    fold_of, met = folds(cells.groups, strata), list[int]()
    for fold in range(FOLDS):
        rows = np.flatnonzero(fold_of == fold)
        rest = np.setdiff1d(np.arange(60), rows)
        assert not set(cells.groups[rows]) & set(cells.groups[rest])
        met += rows.tolist()
    assert sorted(met) == list(range(60))
    # What is chosen for a fold does not know the fold: another truth there changes nothing of it.
    rows, found = next(cross_fit(cells, strata))
    cells.targets["it"][rows] = 1 - cells.targets["it"][rows]
    _, again = next(cross_fit(cells, strata))
    np.testing.assert_array_equal(found.corrections["it"].weights, again.corrections["it"].weights)


def test_the_adapted_export_is_an_export_that_answers_by_its_corrections(
    adapted: Path, small_export: Path
) -> None:
    assert wbczoo.verify(adapted, device="cpu").ok
    given, now = Session(small_export, device="cpu"), Session(adapted, device="cpu")
    images = np.load(adapted / "example.npz")["images"]
    np.testing.assert_array_equal(images, np.load(small_export / "example.npz")["images"])
    read, again = (
        open_layers(each.file, each.provider, 1).run(["fused"], images)[0] for each in (given, now)
    )
    np.testing.assert_array_equal(read, again)
    proto = onnx.load(adapted / "model.onnx")
    constants = {
        tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer
    }
    opened = open_with(adapted, proto, [FEATURES], now.provider, 1)
    (features,) = opened.run([FEATURES], {"images": images})
    card = json.loads((adapted / "card.json").read_text())
    before, after = given.run(images), now.run(images)
    for task in given.tasks:
        own = f"adapted/{task.name}_"
        added = features @ constants[f"{own}weights"] + constants[f"{own}bias"]
        cooled = before[f"{task.name}_logits"] * constants[f"{own}cooler"]
        np.testing.assert_allclose(after[f"{task.name}_logits"], cooled + added, atol=1e-4)
        likely = softmax(after[f"{task.name}_logits"] / card["temperatures"][task.name])
        np.testing.assert_allclose(after[f"{task.name}_probabilities"], likely, atol=1e-5)
        assert constants[f"{own}cooler"] == pytest.approx(
            1 / json.loads((small_export / "card.json").read_text())["temperatures"][task.name],
            rel=1e-3,
        )
    moved = before["novelty"] * constants["adapted/novelty_slope"]
    moved += constants["adapted/novelty_offset"]
    np.testing.assert_allclose(after["novelty"], moved, rtol=1e-4)
    assert now.weights_sha256 == card["weights_sha256"] != given.weights_sha256
    assert now.limits is not None
    assert now.limits.unknown_above == 1
    assert constants["unknown_above"] == 1
    unsure = [now.limits.unsure_below.get(task.name, 0) for task in now.tasks]
    np.testing.assert_allclose(constants["unsure_below"], unsure, rtol=1e-6)


def test_the_card_keeps_what_it_was_adapted_to_and_both_figures(adapted: Path) -> None:
    card = json.loads((adapted / "card.json").read_text())
    found = card["adaptation"]
    assert (found["files"], found["groups"], found["dataset"]) == (24, 24, "synthetic")
    assert sum(found["classes"]["cell"].values()) == 24
    assert (found["crossed"]["files"], found["rest"]["files"]) == (24, 8)
    assert found["positions"] == []  # a branch alone has no maps
    for when in ("before", "after"):
        figure = found["rest"]["tasks"]["cell"][when]["accuracy"]
        assert figure["low"] <= figure["value"] <= figure["high"]
    assert card["evaluations"] == []  # those of before are of another model
    page = (adapted / "card.md").read_text()
    assert "## What it was adapted to" in page
    assert "macro-F1" in page
    told = onnx.load(adapted / "model.onnx").metadata_props
    kept = {each.key: json.loads(each.value) for each in told if each.key == "wbczoo.adapted"}
    assert kept["wbczoo.adapted"] == found


def test_a_network_is_adapted_by_what_its_middle_layers_see(
    network_export: Path, tmp_path: Path
) -> None:
    """Convolutions that learned nothing see colours and edges, by which drawn cells differ."""
    out = tmp_path / "ours"
    cells = draw(tmp_path / "cells", 64, seed=7)
    card = wbczoo.adapt(network_export, cells, dataset="synthetic", out=out, resamples=10)
    before, after = (
        card["adaptation"]["crossed"]["tasks"]["cell"][when]["accuracy"]["value"]
        for when in ("before", "after")
    )
    assert after > before + 0.1
    assert card["adaptation"]["positions"] == [[31, 31], [15, 15], [7, 7], [3, 3]]
    assert wbczoo.verify(out, device="cpu").ok


def test_without_cells_of_a_class_the_export_answers_it_as_before(
    network_export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in draw(tmp_path / "cells", 64, seed=7).rglob("*.jpg"):
        if path.parent.name != "monocyte":
            place = tmp_path / "three" / path.parent.name / path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)
    out, alone = tmp_path / "ours", {"each_file_a_photograph": True}
    three = tmp_path / "three"
    wbczoo.adapt(network_export, three, dataset_options=alone, out=out, resamples=10)
    assert "no cell of monocyte, so they keep what the model gives" in capsys.readouterr().err
    images = np.load(out / "example.npz")["images"]
    before, after = (Session(each, device="cpu").run(images) for each in (network_export, out))
    constants = onnx.load(out / "model.onnx").graph.initializer
    cooler = {each.name: onnx.numpy_helper.to_array(each) for each in constants}
    given = softmax(before["cell_logits"] * cooler["adapted/cell_cooler"])
    now, monocyte = softmax(after["cell_logits"]), CELL.classes.index("monocyte")
    np.testing.assert_allclose(now[:, monocyte], given[:, monocyte], atol=1e-4)
    assert np.abs(now - given).max() > 0.05


def test_it_is_not_measured_on_what_it_was_adapted_to(
    adapted: Path, reviewed: Path, tmp_path: Path, wbczoo: Callable[..., Completed]
) -> None:
    command = ("--dataset", "synthetic", "--protocol", "external")
    failed = wbczoo("evaluate", adapted, reviewed, *command, expect=1)
    assert "was adapted to 24 of the 32 files" in failed.stderr
    wbczoo("evaluate", adapted, draw(tmp_path / "others", 8, seed=9), *command)


def test_what_cannot_be_adapted_is_said_and_nothing_is_written(
    adapted: Path, small_export: Path, reviewed: Path, smears: Path, tmp_path: Path,
    wbczoo: Callable[..., Completed],
) -> None:  # fmt: skip
    def told(code: int, model: Any, cells: Path, *options: str) -> str:
        out = tmp_path / "out"
        given = ("--dataset", "synthetic", "--out", out, *options)
        found = wbczoo("adapt", model, cells, *given, expect=code).stderr
        assert not [*tmp_path.iterdir()]
        return found

    lone = tiny_export.write_model(tmp_path.parent / "lone.onnx")
    assert "was adapted before" in told(2, adapted, reviewed)
    assert "at least 20 groups" in told(2, small_export, reviewed, "--limit", "19")
    assert "trained or chosen on" in told(1, small_export, smears)
    assert "neither a path nor a published model" in told(2, "nothing", reviewed)
    assert "no card beside it" in told(2, lone, reviewed)

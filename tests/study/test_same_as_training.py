"""The fast ways give what `wbczoo train` gives: equal curves, equal best epochs, equal answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_study import context, trial

from wbczoo.study.run.cached import run_cached
from wbczoo.study.run.heads import run_heads
from wbczoo.study.run.networks import run_images


def same(fast: dict[str, Any], ordinary: dict[str, Any]) -> None:
    """Fail unless two rows of one trial agree within the rounding of float32."""
    assert fast["how"] != "images"
    for name in ("key", "data", "best_epochs", "answers", "photographs", "files"):
        assert fast[name] == ordinary[name], name
    for ours, theirs in zip(fast["curves"], ordinary["curves"], strict=True):
        assert len(ours) == len(theirs) == fast["settings"]["epochs"]
        for row, other in zip(ours, theirs, strict=True):
            assert row == pytest.approx(other, abs=2e-4)
    for task, found in fast["tasks"].items():
        for bin_, other in zip(
            found["reliability"], ordinary["tasks"][task]["reliability"], strict=True
        ):
            assert bin_ == pytest.approx(other, abs=0.05)


def test_stacked_heads_end_as_ordinary_trainings_do(smears: Path, tmp_path: Path) -> None:
    # Two seeds split, start and order differently, and have different numbers of images.
    trials = [
        trial(seed=seed, batch_size=size, lr=lr)
        for seed in (0, 1)
        for size, lr in ((8, 1e-2), (8, 1e-3), (7, 1e-2))
    ]
    shared = context(smears, tmp_path)
    found: dict[str, Any] = {one.key: row for one, row in run_heads(trials, shared)}
    assert len(found) == len(trials)
    for one in (trials[0], trials[2], trials[4]):
        same(found[one.key], run_images(one, shared))


def test_heads_of_every_fold_end_as_ordinary_trainings_do(smears: Path, tmp_path: Path) -> None:
    one = trial(protocol="grouped", folds=2, train_part="augmented", part="augmented")
    shared = context(smears, tmp_path)
    ((_, row),) = run_heads([one], shared)
    assert len(row["data"]) == 2
    same(row, run_images(one, shared))


@pytest.mark.parametrize("branch", ["gru", "nucleus", "bilstm_features"])
def test_a_branch_over_cached_features_ends_as_an_ordinary_training_does(
    branch: str, smears: Path, tmp_path: Path
) -> None:
    one = trial(sequence=branch)
    shared = context(smears, tmp_path)
    fast = run_cached(one, shared)
    shared.forget(one)  # or the ordinary training would find the other's state
    same(fast, run_images(one, shared))


@pytest.mark.parametrize(
    ("backbone", "branch"), [("mobilenetv2", "bilstm_features"), ("squeezenet1_1", "gru")]
)
def test_a_last_block_over_its_trunk_s_features_ends_as_an_ordinary_training_does(
    backbone: str, branch: str, smears: Path, tmp_path: Path
) -> None:
    # With batch norms, whose statistics move in the last block alone; and without.
    one = trial(backbone=backbone, sequence=branch, image_size=64, trainable="last-block", lr=1e-3)
    shared = context(smears, tmp_path)
    fast = run_cached(one, shared)
    assert fast["how"] == "cached trunk"
    shared.forget(one)
    same(fast, run_images(one, shared))


def test_a_backbone_that_cannot_be_cut_trains_from_images(smears: Path, tmp_path: Path) -> None:
    one = trial(
        backbone="timm/vit_tiny_patch16_224", image_size=32, trainable="last-block", epochs=1
    )
    said: list[str] = []
    shared = context(smears, tmp_path)
    shared.tell = said.append
    assert run_cached(one, shared)["how"] == "images"
    assert [line for line in said if "cannot be cut before its last block" in line]

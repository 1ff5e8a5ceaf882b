"""What a training leaves behind, and what its loss does with batches that tasks leave out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import SMALL_TRAINING, Completed
from PIL import Image
from safetensors import safe_open
from torch.nn import functional as F

from wbczoo.training.loss import Blend, class_weights, summed_cross_entropy

Run = Callable[..., Completed]


def test_a_run_holds_what_the_design_says(small_run: Path) -> None:
    found = {path.name for path in small_run.iterdir()}
    assert {name for name in found if not name.startswith("evaluation")} == {
        "config.json", "model.safetensors", "last.safetensors", "split.csv",
        "metrics.jsonl", "summary.json", "curves.png", "environment.json",
    }  # fmt: skip
    for name in ("config.json", "summary.json", "environment.json"):
        assert json.loads((small_run / name).read_text())["format"] == 1
    with Image.open(small_run / "curves.png") as curves:
        assert curves.size[0] > 1000
    with safe_open(small_run / "model.safetensors", framework="np") as opened:
        temperatures = opened.get_tensor("temperatures")
    summary = json.loads((small_run / "summary.json").read_text())
    assert list(summary["temperatures"].values()) == pytest.approx(temperatures.tolist())
    assert summary["data"]["unit"] == "photograph"


def test_the_best_epoch_is_chosen_on_validation(small_run: Path) -> None:
    rows = [json.loads(line) for line in (small_run / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    summary = json.loads((small_run / "summary.json").read_text())
    best = max(rows, key=lambda row: (row["validation_score"], -row["validation_loss"]))
    assert summary["best_epoch"] == best["epoch"]
    assert summary["best"]["validation_score"] == pytest.approx(
        (best["validation_cell_balanced_accuracy"] + best["validation_nucleus_balanced_accuracy"])
        / 2
    )
    assert not [name for name in best if "test" in name]


def test_results_are_on_stdout_and_remarks_on_stderr(
    wbczoo: Run, smears: Path, tmp_path: Path
) -> None:
    done = wbczoo("train", smears, "--dataset", "synthetic", *SMALL_TRAINING,
                  "--epochs", "3", "--lr", "1", "--keep", "last", "--json",
                  "--out", tmp_path / "run")  # fmt: skip
    summary = json.loads(done.stdout)  # stdout is JSON alone
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert summary["best_epoch"] == summary["epochs"] == 3  # the last is kept, however good
    assert "epoch 3: train_loss" in done.stderr
    assert "\r" not in done.stderr  # a log is no terminal


def test_a_batch_without_a_known_target_adds_nothing() -> None:
    logits = {"cell": torch.randn(4, 3, requires_grad=True), "other": torch.randn(4, 2)}
    targets = {"cell": torch.full((4,), -1), "other": torch.tensor([0, 1, -1, 1])}
    weights = {"cell": torch.ones(3), "other": torch.ones(2)}
    loss = summed_cross_entropy(logits, targets, weights, slice(None))
    expected = F.cross_entropy(logits["other"][[0, 1, 3]], torch.tensor([0, 1, 1]))
    assert loss.item() == pytest.approx(expected.item())
    loss.backward()
    assert torch.count_nonzero(logits["cell"].grad) == 0


def test_shares_of_a_batch_add_up_to_its_weighted_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    answered = torch.randn(7, 3, generator=generator)
    right = torch.tensor([0, 1, 2, -1, 0, 0, 2])
    weight = torch.tensor([0.5, 2.0, 1.0])
    whole = F.cross_entropy(answered, right, weight, ignore_index=-1)
    shares = [
        summed_cross_entropy({"t": answered[part]}, {"t": right}, {"t": weight}, part)
        for part in (slice(0, None, 2), slice(1, None, 2))
    ]
    assert sum(share.item() for share in shares) == pytest.approx(whole.item(), rel=1e-6)


def test_a_blended_image_counts_for_both_targets_by_their_shares() -> None:
    answered = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    right, mates = torch.tensor([0, 2, -1, 1]), torch.tensor([3, 0, 1, 2])
    shares = torch.tensor([1.0, 0.75, 0.5, 0.6])
    # The third image has no target of its own, and the fourth's mate has none.
    wanted = [(0, 0, 1.0), (1, 2, 0.75), (1, 0, 0.25), (2, 2, 0.5), (3, 1, 0.6)]
    minus = -answered.log_softmax(1)
    expected = sum(float(minus[image, target]) * share for image, target, share in wanted)
    expected /= sum(share for _, _, share in wanted)
    weights, blend = {"t": torch.ones(3)}, Blend(mates, shares)
    parts = [
        summed_cross_entropy({"t": answered[part]}, {"t": right}, weights, part, blend=blend)
        for part in (slice(0, None, 2), slice(1, None, 2))
    ]
    assert sum(float(part) for part in parts) == pytest.approx(expected, rel=1e-5)


def test_balanced_weights_let_each_class_count_alike() -> None:
    targets = torch.tensor([0] * 6 + [1] * 2 + [3] * 4 + [-1] * 5)
    weights = class_weights(targets, 4, "balanced")
    counts = np.array([6, 2, 0, 4])
    assert (weights.numpy() * counts)[[0, 1, 3]] == pytest.approx([4, 4, 4])
    assert weights[2] == 0
    assert class_weights(targets, 4, "none").tolist() == [1, 1, 1, 1]


def test_a_random_backbone_that_is_frozen_is_told_before_it_trains(
    wbczoo: Run, smears: Path, tmp_path: Path
) -> None:
    small = ("--backbone", "squeezenet1_1", "--weights", "none", "--image-size", "32",
             "--epochs", "1", "--limit-photographs", "8")  # fmt: skip
    words = "squeezenet1_1: the backbone has no weights and is frozen, so it stays random"
    for trainable, told in (("head", True), ("all", False)):
        done = wbczoo("train", smears, "--dataset", "synthetic", *small,
                      "--trainable", trainable, "--out", tmp_path / trainable)  # fmt: skip
        assert (words in done.stderr) == told


def test_a_random_backbone_is_told_of_where_it_is_built_and_where_it_starts_a_training(
    wbczoo: Run, smears: Path, tmp_path: Path
) -> None:
    built, words = tmp_path / "built", "it stays random, and only heads and branches learn"
    build = ("build", "--backbone", "squeezenet1_1", "--image-size", "32")
    assert words not in wbczoo(*build).stderr  # a look at a composition; nobody means to train it
    assert words in wbczoo(*build, "--trainable", "head").stderr
    assert words not in wbczoo(*build, "--weights", "none", "--trainable", "all").stderr
    assert words in wbczoo(*build, "--out", built).stderr
    train = ("train", smears, "--dataset", "synthetic", "--epochs", "1", "--limit-photographs", "8")
    assert words in wbczoo(*train, "--init", built, "--out", tmp_path / "head").stderr
    learned = tmp_path / "all"
    done = wbczoo(*train, "--init", built, "--trainable", "all", "--out", learned)
    assert words not in done.stderr
    assert words not in wbczoo(*train, "--init", learned, "--out", tmp_path / "more").stderr

"""One epoch by hand: what trains is in training mode, and the best epoch is chosen by its score."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from wbczoo.config import ModelConfig, Part, train_config
from wbczoo.data.batches import draw_order
from wbczoo.data.prepared import prepare
from wbczoo.model.fused import FusedClassifier
from wbczoo.specs import Preprocessing
from wbczoo.tasks import NUCLEUS
from wbczoo.training import checkpoint, epoch_metrics, log
from wbczoo.training.fit import Fit, prepare_fit
from wbczoo.training.inference import predict_logits
from wbczoo.training.keep import keep
from wbczoo.training.train import run_epoch

SIZE = (16, 16)
IMAGES = 12
Start = Callable[..., Fit]


class Backbone(nn.Module):
    """Two steps of which the second is the last block; each image's channels stay three."""

    num_features = 3
    last_block = ("second.",)

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        return self.second(self.first(images))  # type: ignore[no-any-return]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """A training of a backbone on small images of one colour each, all of them in one batch."""
    colours = np.random.default_rng(0).integers(0, 256, (IMAGES, 3))
    for number, colour in enumerate(colours):
        folder = tmp_path / "images" / ("neutrophil" if number % 2 else "monocyte")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE, tuple(colour)).save(folder / f"{number}.png")

    def begin(backbone: nn.Module, **settings: object) -> Fit:
        config = ModelConfig(
            backbone=Part(name="made"), tasks=(NUCLEUS,), preprocessing=Preprocessing(size=SIZE)
        )
        training = train_config(
            **{"protocol": "external", "precision": "fp32", "batch_size": IMAGES, **settings}
        )
        prepared = prepare(
            training, tmp_path / "images", config.tasks, config.preprocessing, tell=lambda _: None
        )
        torch.manual_seed(0)
        model = FusedClassifier(config, backbone, None, "pixels")
        out = tmp_path / "run"
        out.mkdir()
        fit = prepare_fit(
            model, training, *prepared.sides(torch.device("cpu")), out, Accelerator(cpu=True)
        )
        fit.tell = lambda _: None
        return fit

    return begin


def shown(fit: Fit, order: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[Tensor, Tensor]:
    """What the backbone reads of training images (N, 3, H, W), and their targets (N,)."""
    images = fit.training.images(order).float() / 255
    return (images - fit.model.mean) / fit.model.std, fit.training.targets_at(order)["nucleus"]


@pytest.mark.parametrize(
    ("trainable", "moved"),
    [("head", (False, False)), ("last-block", (False, True)), ("all", (True, True))],
)
def test_the_statistics_of_what_is_opened_move_and_no_others(
    start: Start, trainable: str, moved: tuple[bool, bool]
) -> None:
    fit = start(Backbone(nn.BatchNorm2d(3), nn.BatchNorm2d(3)), trainable=trainable)
    read, _ = shown(fit, np.arange(len(fit.training)))
    spread = read.var((0, 2, 3), correction=0)
    first = (read - read.mean((0, 2, 3))[:, None, None]) / (spread + 1e-5).sqrt()[:, None, None]
    if not moved[0]:  # as it was built: nearly the identity
        first = read / (1 + 1e-5) ** 0.5
    fit.model.eval()  # as whoever looked at it may leave it
    run_epoch(fit)
    assert fit.model.training  # validation puts back what it found
    norms = (cast(Any, fit.model.backbone).first, cast(Any, fit.model.backbone).second)
    for norm, before, moves in zip(norms, (read, first), moved, strict=True):
        expected = 0.1 * before.mean((0, 2, 3)) if moves else torch.zeros(3)
        torch.testing.assert_close(norm.running_mean, expected, rtol=0, atol=1e-5)
        assert norm.num_batches_tracked == moves


def test_frozen_norms_keep_the_statistics_that_they_came_with(start: Start) -> None:
    fit = start(Backbone(nn.BatchNorm2d(3), nn.BatchNorm2d(3)), trainable="all", norm="frozen")
    backbone = cast(Any, fit.model.backbone)
    backbone.second.running_mean.fill_(0.25)
    run_epoch(fit)
    assert backbone.first.num_batches_tracked == backbone.second.num_batches_tracked == 0
    torch.testing.assert_close(backbone.second.running_mean, torch.full((3,), 0.25))
    assert float(backbone.second.weight.grad.abs().sum()) > 0  # it trains nevertheless


def test_the_running_mean_of_the_weights_is_what_is_validated_and_kept(start: Start) -> None:
    fit = start(
        Backbone(nn.BatchNorm2d(3), nn.Identity()),
        trainable="all", average=0.75, batch_size=2, lr=0.1, keep="last",
    )  # fmt: skip
    seen = list[dict[str, Tensor]]()
    fit.optimizer.register_step_post_hook(
        lambda *_: seen.append({k: v.clone() for k, v in fit.model.state_dict().items()})
    )
    run_epoch(fit)
    assert len(seen) > 2
    for name in ("heads.nucleus_head.weight", "backbone.first.running_mean"):
        mean = seen[0][name]
        for step in seen[1:]:
            mean = 0.75 * mean + 0.25 * step[name]
        assert not torch.allclose(mean, seen[-1][name], atol=1e-4)
        kept, _ = checkpoint.load_tensors(fit.out / checkpoint.MODEL)
        torch.testing.assert_close(kept[name], mean)
    logits = predict_logits(fit.judged, fit.validation, bf16=False)["nucleus"]
    row = log.read(fit.out / checkpoint.METRICS, fit.progress.metrics_bytes)[0]
    loss = F.cross_entropy(torch.from_numpy(logits), fit.validation.targets["nucleus"])
    assert row["validation_loss"] == pytest.approx(float(loss), rel=1e-5)


def test_dropout_takes_part_in_each_epoch_of_training_and_in_no_validation(start: Start) -> None:
    fit = start(Backbone(nn.Identity(), nn.Dropout(0.5)), trainable="all")
    head = fit.model.heads["nucleus_head"]
    for epoch in range(2):  # validation comes between them
        read, right = shown(fit, draw_order(0, epoch, len(fit.training)))
        torch.manual_seed(epoch)
        dropped = F.dropout(read, 0.5).mean((2, 3))
        expected = float(F.cross_entropy(head(dropped), right).detach())
        torch.manual_seed(epoch)
        run_epoch(fit)
        row = log.read(fit.out / checkpoint.METRICS, fit.progress.metrics_bytes)[epoch]
        assert row["train_loss"] == pytest.approx(expected, rel=1e-5)
    positions = np.arange(len(fit.validation))
    read = (fit.validation.images(positions).float() / 255 - fit.model.mean) / fit.model.std
    plain = F.cross_entropy(head(read.mean((2, 3))), fit.validation.targets["nucleus"])
    assert row["validation_loss"] == pytest.approx(float(plain.detach()), rel=1e-5)


def test_of_nine_to_one_the_score_is_the_mean_recall() -> None:
    targets = {"nucleus": torch.tensor([0] * 9 + [1])}
    always = np.tile(np.array([1, 0], np.float32), (10, 1))
    better = always.copy()
    better[6:] = [0, 1]  # three of the nine are wrong, and the one is right
    common, rare = (
        epoch_metrics.of_validation({"nucleus": each}, targets) for each in (always, better)
    )
    assert common["validation_nucleus_accuracy"] == pytest.approx(0.9)
    assert rare["validation_nucleus_accuracy"] == pytest.approx(0.7)
    assert common["validation_score"] == pytest.approx(0.5)
    assert rare["validation_score"] == pytest.approx((6 / 9 + 1) / 2)
    assert rare["validation_nucleus_balanced_accuracy"] == rare["validation_score"]


@pytest.mark.parametrize(("kept", "best"), [("best", 2), ("last", 4)])
def test_the_best_epoch_has_the_best_score_then_the_smallest_loss(
    start: Start, kept: str, best: int
) -> None:
    fit = start(Backbone(nn.Identity(), nn.Identity()), keep=kept)
    for score, loss, accuracy in (
        (0.5, 0.1, 0.9), (0.7, 2.0, 0.8), (0.7, 1.5, 0.7), (0.7, 1.5, 0.9), (0.6, 0.1, 0.95),
    ):  # fmt: skip
        row = {"validation_score": score, "validation_loss": loss}
        keep(fit, {**row, "validation_nucleus_accuracy": accuracy, "train_loss": 1.0})
    assert fit.progress.best_epoch == best
    _, written = checkpoint.load_tensors(fit.out / checkpoint.MODEL)
    assert written["epoch"] == best
    assert fit.progress.epoch == 5


def test_without_validation_the_last_epoch_is_kept(start: Start) -> None:
    fit = start(Backbone(nn.Identity(), nn.Identity()))
    fit.validation = type(fit.validation)(
        np.zeros((0, *SIZE, 3), np.uint8), np.zeros(0, np.int64), {}, torch.device("cpu")
    )
    for _ in range(2):
        run_epoch(fit)
    assert fit.progress.best_epoch == 1

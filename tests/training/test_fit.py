"""A batch too small for statistics is shown with another, or refused before the first step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from wbczoo.config import ModelConfig, Part, TrainConfig
from wbczoo.data.batches import Batches
from wbczoo.errors import UsageError
from wbczoo.model.fused import FusedClassifier
from wbczoo.specs import Preprocessing
from wbczoo.tasks import CELL
from wbczoo.training.fit import Fit, prepare_fit
from wbczoo.training.train import begin, run_epochs

CPU = torch.device("cpu")


class Normalised(nn.Module):
    """Batch normalisation over a map of the image's size less a patch's."""

    num_features = 4
    last_block = ("norm.",)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 8, 8)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.norm(self.conv(images))
        return out


def fit_of(out: Path, images: int, batch_size: int, side: int = 8, trainable: str = "all") -> Fit:
    """A training of so many random images."""
    torch.manual_seed(0)
    config = ModelConfig(
        backbone=Part(name="normalised"),
        tasks=(CELL,),
        preprocessing=Preprocessing(size=(side, side)),
    )
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (images, side, side, 3)).astype(np.uint8)

    def batches(count: int) -> Batches:
        targets = {"cell": np.arange(count) % 4}
        return Batches(pixels, np.arange(count), targets, CPU)

    return prepare_fit(
        FusedClassifier(config, Normalised(), None, "pixels"),
        TrainConfig(batch_size=batch_size, epochs=1, trainable=trainable),  # type: ignore[arg-type]
        batches(images), batches(min(images, 2)), out, Accelerator(cpu=True),
    )  # fmt: skip


def sizes(fit: Fit) -> list[int]:
    return [len(batch) for batch in fit.batches(np.arange(len(fit.training)))]


def test_a_tail_without_statistics_joins_the_batch_before(tmp_path: Path) -> None:
    fit = fit_of(tmp_path, 12, 11)
    assert sizes(fit) == [12]
    assert sizes(fit_of(tmp_path, 23, 11)) == [11, 12]
    fit.tell = lambda _: None
    begin(fit, "", resume=False)
    run_epochs(fit)
    assert fit.progress.epoch == 1


def test_other_batches_stay_as_they_were(tmp_path: Path) -> None:
    assert sizes(fit_of(tmp_path, 13, 11)) == [11, 2]
    assert sizes(fit_of(tmp_path, 22, 11)) == [11, 11]
    assert sizes(fit_of(tmp_path, 12, 11, side=16)) == [11, 1]  # a map of 2 by 2 has statistics
    assert sizes(fit_of(tmp_path, 12, 11, trainable="head")) == [11, 1]  # a frozen one needs none


def test_looking_changes_nothing_of_the_model(tmp_path: Path) -> None:
    torch.manual_seed(0)
    fresh = Normalised().state_dict()
    fit = fit_of(tmp_path, 12, 11)
    assert fit.model.training
    for name, tensor in fresh.items():
        assert torch.equal(fit.model.state_dict()[f"backbone.{name}"], tensor)


@pytest.mark.parametrize(("images", "batch_size"), [(12, 1), (1, 4)])
def test_batches_of_one_image_are_refused_before_the_first_step(
    images: int, batch_size: int, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="a batch of one image has no statistics"):
        fit_of(tmp_path, images, batch_size)

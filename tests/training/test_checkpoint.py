"""A run's folder: what is saved comes back, and what does not fit is refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from wbczoo.config import ModelConfig, Part, RunConfig
from wbczoo.errors import UsageError, WbczooError
from wbczoo.model.build import describe_model
from wbczoo.model.fused import FusedClassifier
from wbczoo.specs import Preprocessing
from wbczoo.tasks import NUCLEUS
from wbczoo.training import checkpoint
from wbczoo.training.checkpoint import Progress
from wbczoo.training.elsewhere import save_run

CONFIG = ModelConfig(
    backbone=Part(name="made"), tasks=(NUCLEUS,), preprocessing=Preprocessing(size=(8, 8))
)


class Backbone(nn.Module):
    """One normalisation, whose three channels are the features."""

    num_features = 3

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        return self.norm(images)  # type: ignore[no-any-return]


class Deeper(Backbone):
    """One that has more."""

    def __init__(self) -> None:
        super().__init__()
        self.more = nn.Linear(1, 1)


def model_of(seed: int) -> FusedClassifier:
    torch.manual_seed(seed)
    return FusedClassifier(CONFIG, Backbone(), None, "pixels")


def stepped(model: FusedClassifier, **options: Any) -> torch.optim.Optimizer:
    """An optimiser that has taken two steps."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, **options)
    for _ in range(2):
        optimizer.zero_grad()
        pixels = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
        model(pixels)["nucleus"].square().sum().backward()
        optimizer.step()
    return optimizer


PROGRESS = Progress(3, 5, 2, 0.75, 0.5, 99, "digest", {"torch": "x"})


@pytest.mark.parametrize("fused", [False, True])
def test_a_training_comes_back_whole(tmp_path: Path, fused: bool) -> None:
    model = model_of(0)
    optimizer = stepped(model, fused=fused)
    sums = torch.tensor([1.0, 2.0])
    checkpoint.save_last(tmp_path, model, optimizer, PROGRESS, sums)
    drawn = torch.rand(3)
    other = model_of(1)
    fresh = torch.optim.AdamW(other.parameters(), lr=0.1, fused=fused)
    progress, again = checkpoint.load_last(tmp_path, other, fresh, "digest")
    assert (progress, again.tolist()) == (PROGRESS, [1.0, 2.0])
    assert torch.equal(torch.rand(3), drawn)  # the generator goes on where it stood
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        state = optimizer.state[mine]
        assert set(fresh.state[theirs]) == set(state)
        for key, value in state.items():
            assert torch.equal(fresh.state[theirs][key], value), key


def test_before_the_first_step_there_is_no_state_to_take_up(tmp_path: Path) -> None:
    model = model_of(0)
    optimizer = torch.optim.AdamW(model.parameters())
    checkpoint.save_last(tmp_path, model, optimizer, Progress(), torch.zeros(2))
    fresh = torch.optim.AdamW(model.parameters())
    assert checkpoint.load_last(tmp_path, model, fresh, "")[0] == Progress()
    assert not fresh.state


def test_what_is_frozen_has_no_state(tmp_path: Path) -> None:
    model = model_of(0)
    checkpoint.save_last(tmp_path, model, stepped(model), PROGRESS, torch.zeros(2))
    for parameter in cast(nn.Module, model.backbone).parameters():
        parameter.requires_grad = False
    optimizer = torch.optim.AdamW(p for _, p in model.named_trainable())
    checkpoint.load_last(tmp_path, model, optimizer, "digest")
    assert len(optimizer.state) == 2  # weight and bias of the head


def test_moments_lie_in_memory_as_their_parameter_does(tmp_path: Path) -> None:
    parameter = nn.Parameter(torch.zeros(2, 3, 4, 4).to(memory_format=torch.channels_last))
    optimizer = torch.optim.Adam([parameter])
    saved = torch.arange(96.0).reshape(2, 3, 4, 4)
    checkpoint._load_optimizer_state(optimizer, parameter, "w", {"optimizer.exp_avg.w": saved})
    (state,) = optimizer.state[parameter].values()
    assert torch.equal(state, saved)
    assert state.stride() == parameter.stride()


def test_a_training_of_other_settings_is_not_taken_up(tmp_path: Path) -> None:
    model = model_of(0)
    optimizer = torch.optim.AdamW(model.parameters())
    checkpoint.save_last(tmp_path, model, optimizer, PROGRESS, torch.zeros(2))
    with pytest.raises(UsageError, match="other options or other data"):
        checkpoint.load_last(tmp_path, model, optimizer, "another")
    wider = FusedClassifier(CONFIG, Deeper(), None, "pixels")
    with pytest.raises(WbczooError, match=r"last\.safetensors does not fit this run: "):
        checkpoint.load_last(tmp_path, wider, optimizer, "digest")


def test_tensors_and_their_document_come_back(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    turned = torch.arange(6.0).reshape(2, 3).T.requires_grad_()  # not contiguous
    checkpoint.save_tensors(path, {"a": turned, "b": torch.ones(1)}, {"n": [1, "two"]})
    tensors, document = checkpoint.load_tensors(path)
    assert document == {"n": [1, "two"]}
    assert set(tensors) == {"a", "b"}
    assert torch.equal(tensors["a"], turned)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (None, "not written by this version"),
        ({"format": "2", "wbczoo": "{}"}, "not written by this version"),
        ({"format": "1"}, "not written by this version"),
        ({"format": "1", "wbczoo": "{"}, "is damaged: what it says of itself"),
        ({"format": "1", "wbczoo": "[]"}, "is damaged: what it says of itself"),
    ],
)
def test_a_file_of_others_is_told(
    tmp_path: Path, metadata: dict[str, str] | None, said: str
) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.ones(1)}, path, metadata)
    with pytest.raises(WbczooError, match=rf"x\.safetensors .*{said}"):
        checkpoint.load_tensors(path)


def test_a_missing_or_broken_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(WbczooError, match="cannot be read: "):
        checkpoint.load_tensors(path)
    path.write_bytes(b"no tensors")
    with pytest.raises(WbczooError, match="cannot be read: "):
        checkpoint.load_tensors(path)


def test_an_untrained_model_is_saved_as_a_run(tmp_path: Path) -> None:
    model, out = model_of(0), tmp_path / "deep" / "run"
    save_run(model, out)
    assert {each.name for each in out.iterdir()} == {
        "config.json", "model.safetensors", "environment.json",
    }  # fmt: skip
    config = RunConfig.read(out / "config.json")
    assert (config.model, config.train) == (CONFIG, None)
    assert "torch" in json.loads((out / "environment.json").read_text())["packages"]
    tensors, document = checkpoint.load_tensors(out / "model.safetensors")
    assert document == {"epoch": -1}
    assert set(tensors) == set(model.state_dict())
    with pytest.raises(UsageError, match="is not an empty folder"):
        save_run(model, out)
    with pytest.raises(UsageError, match="is not an empty folder"):
        save_run(model, out / "config.json")
    (tmp_path / "empty").mkdir()
    save_run(model, tmp_path / "empty")


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no run: it has no config\.json"):
        checkpoint.load_model(tmp_path)


def test_a_run_s_model_comes_back_in_evaluation_mode(tmp_path: Path) -> None:
    from wbczoo.model.build import rebuild

    config = ModelConfig(sequence=Part(name="gru"), tasks=(NUCLEUS,))
    model = rebuild(config)
    save_run(model, tmp_path / "run")
    found, again = checkpoint.load_model(tmp_path / "run")
    assert found.model == config
    assert not again.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    checkpoint.save_tensors(tmp_path / "run" / "model.safetensors", {"a": torch.ones(1)}, {})
    with pytest.raises(WbczooError, match=r"does not fit .*config\.json: Unexpected key.*a"):
        checkpoint.load_model(tmp_path / "run")


def test_a_model_is_described_by_its_parameters_and_widths() -> None:
    sequence = nn.Identity()
    sequence.num_features = 5  # type: ignore[assignment]
    model = FusedClassifier(CONFIG, Backbone(), sequence, "pixels")
    for parameter in cast(nn.Module, model.backbone).parameters():
        parameter.requires_grad = False
    assert describe_model(model) == {
        "name": CONFIG.name,
        "parameters": 6 + 8 * 2 + 2,
        "trainable_parameters": 8 * 2 + 2,
        "features": {"backbone": 3, "sequence": 5, "fused": 8},
        "tasks": {"nucleus": ["mononuclear", "polynuclear"]},
        "weights": CONFIG.weights.model_dump(),
        "config": CONFIG.model_dump(mode="json"),
    }


# --- the best epoch ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "loss", "better"),
    [(0.6, 0.5, True), (0.5, 0.4, True), (0.5, 0.5, False), (0.5, 0.6, False), (0.4, 0.1, False)],
)
def test_a_better_score_or_a_smaller_loss_improves(score: float, loss: float, better: bool) -> None:
    progress = Progress(epoch=4, best_epoch=3, best_score=0.5, best_loss=0.5)
    row = {"validation_score": score, "validation_loss": loss}
    assert progress.improves(row) is better
    found = (progress.best_epoch, progress.best_score, progress.best_loss)
    assert found == ((4, score, loss) if better else (3, 0.5, 0.5))
    assert progress.improves(row, "last") is True
    assert progress.best_score == score


def test_the_first_epoch_and_one_without_validation_are_kept() -> None:
    progress = Progress()
    assert progress.improves({"validation_score": 0.0, "validation_loss": 9.0})
    assert (progress.best_epoch, progress.best_score, progress.best_loss) == (0, 0.0, 9.0)
    unseen = Progress(epoch=7, best_epoch=6, best_score=1.0, best_loss=0.0)
    assert unseen.improves({"train_loss": 1.0})
    assert (unseen.best_epoch, unseen.best_score, unseen.best_loss) == (7, 1.0, 0.0)

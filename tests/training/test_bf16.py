"""bf16 is taken where each layer of a model has it, and refused in a sentence where one has not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from commands import SMALL_TRAINING, call
from torch import Tensor, nn

from wbczoo import machine
from wbczoo.config import ModelConfig, Part
from wbczoo.errors import WbczooError
from wbczoo.model.fused import FusedClassifier
from wbczoo.specs import Preprocessing
from wbczoo.training.inference import use_bf16

CPU = torch.device("cpu")


class Backbone(nn.Module):
    """Moments of three channels, of which one precision may be refused as oneDNN refuses one."""

    num_features = 3

    def __init__(self, refuses: bool) -> None:
        super().__init__()
        self.refuses = refuses
        self.norm = nn.BatchNorm2d(3)
        self.mix = nn.Conv2d(3, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        if self.refuses and torch.is_autocast_enabled("cpu"):
            raise RuntimeError("could not create a primitive. Run workload with ONEDNN_VERBOSE")
        return self.mix(self.norm(images))  # type: ignore[no-any-return]


def model_of(*, refuses: bool) -> FusedClassifier:
    config = ModelConfig(backbone=Part(name="made"), preprocessing=Preprocessing(size=(8, 8)))
    return FusedClassifier(config, Backbone(refuses), None, "pixels")


@pytest.mark.parametrize("has", [True, False])
@pytest.mark.parametrize("refuses", [True, False])
def test_auto_takes_bf16_where_processor_and_layers_have_it(
    has: bool, refuses: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "has_bf16", lambda: has)
    model = model_of(refuses=refuses)
    assert use_bf16(model, "auto", CPU) is (has and not refuses)
    assert use_bf16(model, "fp32", CPU) is False


def test_bf16_by_name_is_refused_in_a_sentence_where_a_layer_has_none() -> None:
    assert use_bf16(model_of(refuses=False), "bf16", CPU) is True
    sentence = (
        r"^made cannot be computed in bf16 on this cpu: could not create a primitive\. Use "
        r"--precision fp32, or auto, which takes bf16 only where it can\.$"
    )
    with pytest.raises(WbczooError, match=sentence):
        use_bf16(model_of(refuses=True), "bf16", CPU)


def test_to_ask_changes_nothing_of_the_model() -> None:
    model = model_of(refuses=False).train()
    torch.manual_seed(0)
    before, drawn = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    use_bf16(model, "bf16", CPU)
    assert model.training
    assert torch.equal(torch.get_rng_state(), drawn)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_lstms_in_bf16_train_or_are_refused_before_the_first_step(
    smears: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("train", smears, "--dataset", "synthetic", *SMALL_TRAINING, "--epochs", "1")
    for branch in ("gru", "bilstm"):
        out = tmp_path / branch
        code = call([*command, "--precision", "bf16", "--seq", branch, "--out", out])
        told = capsys.readouterr().err
        if code == 0:  # torch has made an LSTM in bf16 for this processor
            assert "epoch 1:" in told
            continue
        assert branch == "bilstm"
        assert code == 1
        assert "bilstm cannot be computed in bf16 on this cpu" in told
        assert "epoch 1" not in told
        assert not out.exists()
    assert (tmp_path / "gru" / "summary.json").is_file()

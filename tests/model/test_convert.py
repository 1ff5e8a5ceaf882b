"""A checkpoint becomes a file of tensors that a backbone loads, and nothing in it is run."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from commands import Completed
from safetensors.torch import load_file, save_file
from torch import Tensor

from wbczoo.errors import UsageError, WbczooError
from wbczoo.model import weights
from wbczoo.model.build import build
from wbczoo.model.compose import compose
from wbczoo.model.convert import convert_weights
from wbczoo_timm import RESNET18

Run = Callable[..., Completed]
SIZE = (64, 64)


@pytest.fixture(scope="module")
def own() -> dict[str, Tensor]:
    state: dict[str, Tensor] = RESNET18.build(image_size=SIZE).state_dict()
    return state


@pytest.fixture(scope="module")
def checkpoint(own: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a training left: an encoder with a projection, its epoch and its optimiser."""
    state = {f"module.encoder.{name}": tensor for name, tensor in own.items()}
    state |= {"module.encoder.fc.weight": torch.ones(5, 512), "module.head.bias": torch.ones(3)}
    path = tmp_path_factory.mktemp("checkpoint") / "my.pt"
    torch.save({"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}}, path)
    return path


def test_a_checkpoint_of_a_training_is_loaded_by_a_backbone(
    wbczoo: Run, checkpoint: Path, own: dict[str, Tensor], tmp_path: Path
) -> None:
    out = tmp_path / "mine.safetensors"
    names = ("--strip", "module.encoder.", "--drop", "fc.", "--drop", "module.head.")
    told = wbczoo("weights", "convert", checkpoint, *names, "--out", out)
    assert f"--weights {out}" in told.stderr
    module = RESNET18.build(image_size=SIZE)
    weights.load(module, weights.find("resnet18", str(out)), RESNET18)
    assert all(torch.equal(tensor, own[name]) for name, tensor in module.state_dict().items())
    again = ("weights", "convert", checkpoint, "--out", out)
    assert "--overwrite" in wbczoo(*again, expect=2).stderr


def test_a_file_that_does_not_fit_says_the_command_that_makes_it_fit(
    checkpoint: Path, own: dict[str, Tensor], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"wbczoo weights convert .*my\.pt --out my\.safetensors"):
        weights.find("resnet18", str(checkpoint))
    raw = tmp_path / "raw.safetensors"
    convert_weights(checkpoint, raw)
    with pytest.raises(WbczooError) as caught:
        weights.load(RESNET18.build(image_size=SIZE), weights.find("resnet18", str(raw)), RESNET18)
    command = str(caught.value).rpartition("wbczoo weights convert ")[2].split()
    assert command[:3] == [str(raw), "--strip", "module.encoder."]
    drop = [command[at + 1] for at, word in enumerate(command) if word == "--drop"]
    assert drop == ["fc.", "module."]
    mine = tmp_path / "mine.safetensors"
    convert_weights(raw, mine, strip=["module.encoder."], drop=drop)
    weights.load(RESNET18.build(image_size=SIZE), weights.find("resnet18", str(mine)), RESNET18)
    assert {*load_file(mine)} == {*own}


class _Runs:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (print, ("it ran",))


def test_nothing_in_a_checkpoint_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"state_dict": {"weight": torch.ones(1)}, "callback": _Runs()}, path)
    with pytest.raises(WbczooError, match=r"torch\.save\(model\.state_dict\(\), FILE\)"):
        convert_weights(path, tmp_path / "out.safetensors")
    path.write_bytes(pickle.dumps(_Runs(), protocol=2))
    with pytest.raises(WbczooError, match=r"torch\.save"):
        convert_weights(path, tmp_path / "out.safetensors")
    assert "it ran" not in capsys.readouterr().out
    assert not (tmp_path / "out.safetensors").exists()


def test_what_cannot_be_converted_is_told(tmp_path: Path) -> None:
    path, out = tmp_path / "a.pt", tmp_path / "out.safetensors"
    torch.save({"net.a": torch.ones(1), "tail.a": torch.ones(2)}, path)
    with pytest.raises(
        UsageError, match=r"begins with 'encoder\.'\. Names begin with: net\., tail"
    ):
        convert_weights(path, out, strip=["encoder."])
    with pytest.raises(UsageError, match="Two tensors would be called a"):
        convert_weights(path, out, strip=["net.", "tail."])
    with pytest.raises(UsageError, match="every name is dropped"):
        convert_weights(path, out, drop=["net.", "tail"])
    with pytest.raises(UsageError, match=r"must end in \.safetensors"):
        convert_weights(path, tmp_path / "out.bin")
    torch.save({"epoch": 3, "loss": [1.0]}, path)
    with pytest.raises(WbczooError, match="no tensors by name; it has epoch, loss"):
        convert_weights(path, out)
    path.write_bytes(b"no checkpoint")
    with pytest.raises(WbczooError, match=r"more than tensors|cannot be read"):
        convert_weights(path, out)
    tied = torch.ones(2)
    torch.save({"a": tied, "b": tied}, path)
    assert convert_weights(path, out) == {"a": (2,), "b": (2,)}
    save_file({"x.a": tied}, tmp_path / "b.safetensors")
    renamed = convert_weights(tmp_path / "b.safetensors", out, strip=["x."], overwrite=True)
    assert renamed == {"a": (2,)}


@pytest.mark.parametrize(
    ("backbone", "file"), [("vgg16", "vgg16-397923af.pth"), ("googlenet", "googlenet-1378be20.pth")]
)
def test_torchvision_s_own_files_become_imagenet_weights_of_the_report_s_backbones(
    backbone: str, file: str, wbczoo: Run, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # Made here, for the true ones cannot be had without a network: the same names of file and keys.
    torch.manual_seed(3)
    whole = torchvision.models.get_model(backbone, weights=None, init_weights=False).eval()
    state = {  # VGG16's classifier alone is 494 MB
        key: tensor[:1].clone() if key.startswith("classifier.") else tensor
        for key, tensor in whole.state_dict().items()
    }
    torch.save(state, tmp_path / file)
    folder = tmp_path / "weights"
    folder.mkdir()
    out = folder / f"{backbone}.safetensors"
    wbczoo("weights", "convert", tmp_path / file, "--out", out)
    monkeypatch.setenv("WBCZOO_WEIGHTS", str(folder))
    model = build(compose(backbone, image_size=(64, 64)), weights="imagenet").eval()
    assert model.config.weights.source == out.name
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    seen: list[Tensor] = []
    last = whole.features if backbone == "vgg16" else whole.inception5b
    last.register_forward_hook(lambda *call: seen.append(call[-1]))
    with torch.inference_mode():
        whole((images.float() / 255 - model.mean) / model.std)
        pooled = model.fuse(images)
    torch.testing.assert_close(pooled, seen[0].mean((2, 3)))

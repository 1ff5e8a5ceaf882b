"""Initial weights are found where the user has them, fit exactly, and bring their mean and std."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from wbczoo import files
from wbczoo.errors import UsageError, WbczooError
from wbczoo.model import weights
from wbczoo.model.build import build
from wbczoo.model.compose import compose
from wbczoo_torchvision import SQUEEZENET1_1

SMALL = (64, 64)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

# Of each real file: mean and std, and the beginning of what it says of itself.
REAL = {
    "mobilenetv2": (IMAGENET, "torchvision MobileNet_V2 IMAGENET1K_V1"),
    "resnet18": (IMAGENET, "torchvision ResNet18 IMAGENET1K_V1, recovered"),
    "efficientnet_lite0": (HALF, "ImageNet-1k"),
    "squeezenet1_1": (IMAGENET, "ImageNet-1k"),
}


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "weights"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of squeezenet1_1 as a user's own: random, float32, without a classifier."""
    module = SQUEEZENET1_1.build(image_size=SMALL)
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    save_file(module.state_dict(), path)
    return path


def rewritten(source: Path, to: Path, tensors: dict[str, Tensor | None], **about: str) -> Path:
    """A copy with some tensors replaced, added or (None) taken out, and other metadata."""
    with safe_open(source, framework="pt") as opened:
        metadata = opened.metadata() or {}
    merged = {**load_file(source), **tensors}
    kept = {name: tensor for name, tensor in merged.items() if tensor is not None}
    save_file(kept, to, {**metadata, **about})
    return to


@pytest.mark.parametrize("name", REAL)
def test_real_weights_load_whole_and_bring_their_mean_and_std(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WBCZOO_WEIGHTS", str(folder))
    model = build(compose(name, image_size=SMALL), weights="imagenet")
    (mean, std), description = REAL[name]
    file = folder / f"{name}.safetensors"
    assert model.config.weights.source == file.name
    assert model.config.weights.sha256 == files.sha256_of(file)
    assert model.config.weights.description.startswith(description)
    assert (model.config.preprocessing.mean, model.config.preprocessing.std) == (mean, std)
    assert torch.equal(model.mean.flatten(), torch.tensor(mean))
    assert torch.equal(model.std.flatten(), torch.tensor(std))
    assert model.backbone is not None
    own, theirs = model.backbone.state_dict(), load_file(file)
    for key, tensor in own.items():
        assert tensor.dtype in (torch.float32, torch.int64)
        assert torch.equal(tensor, theirs[key].to(tensor.dtype)), key
    dropped = {key.split(".")[0] for key in theirs.keys() - own.keys()}
    assert dropped == ({"fc"} if name == "resnet18" else {"classifier"})


def test_a_file_given_by_its_path_needs_no_folder(folder: Path) -> None:
    file = folder / "squeezenet1_1.safetensors"
    model = build(compose("squeezenet1_1", image_size=SMALL), weights=str(file))
    assert model.config.weights.source == "squeezenet1_1.safetensors"


def test_no_weights_are_the_seeds_own() -> None:
    model = build(compose("squeezenet1_1", image_size=SMALL), weights="none")
    assert (model.config.weights.source, model.config.weights.sha256) == ("none", "")


def test_the_files_mean_and_std_win_over_the_specs(drawn: Path, tmp_path: Path) -> None:
    about = {"mean": "0.1, 0.2,0.3", "std": "[0.4, 0.5, 0.6]"}
    file = rewritten(drawn, tmp_path / "w.safetensors", {}, **about)
    model = build(compose("squeezenet1_1", image_size=SMALL), weights=str(file))
    assert model.config.preprocessing.mean == (0.1, 0.2, 0.3)
    assert model.config.preprocessing.std == (0.4, 0.5, 0.6)
    assert model.config.preprocessing.size == SMALL
    assert model.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert model.std.flatten().tolist() == pytest.approx([0.4, 0.5, 0.6])


def test_a_file_that_says_nothing_leaves_the_specs_mean_and_std(drawn: Path) -> None:
    model = build(compose("squeezenet1_1", image_size=SMALL), weights=str(drawn))
    assert (model.config.preprocessing.mean, model.config.preprocessing.std) == IMAGENET


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("mean", "0.1,0.2"),
        ("mean", "a,b,c"),
        ("mean", "NaN,0,0"),
        ("std", "0.2,0,0.2"),
        ("std", "-1,1,1"),
        ("std", ""),
    ],
)
def test_a_mean_or_std_that_is_none_is_refused(
    key: str, text: str, drawn: Path, tmp_path: Path
) -> None:
    file = rewritten(drawn, tmp_path / "w.safetensors", {}, **{key: text})
    with pytest.raises(WbczooError, match=rf"w\.safetensors says that {key} is .*three numbers"):
        build(compose("squeezenet1_1", image_size=SMALL), weights=str(file))


def test_weights_of_another_architecture_are_refused_with_keys_and_cure(folder: Path) -> None:
    with pytest.raises(WbczooError) as caught:
        build(
            compose("mobilenetv2", image_size=SMALL), weights=str(folder / "resnet18.safetensors")
        )
    sentence = str(caught.value)
    assert sentence.startswith(
        f"{folder / 'resnet18.safetensors'} does not fit the backbone 'mobilenetv2'. missing: "
    )
    for finding in (
        "missing: blocks.0.0.bn1.bias, ",
        " and 302 more; strange: conv1.weight, fc.bias, fc.weight, ",
        " and 112 more; shapes: bn1.bias is (64,), not (32,), ",
    ):
        assert finding in sentence
    assert "It says that it is for timm:resnet18." in sentence
    assert "choose the backbone of these weights" in sentence
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ({"features.0.bias": None}, r"missing: features\.0\.bias\."),
        ({"features.99.bias": torch.ones(1)}, r"strange: features\.99\.bias\."),
        ({"features.0.bias": torch.ones(3)}, r"shapes: features\.0\.bias is \(3,\), not \(64,\)"),
        ({"features.0.bias": None, "conv.bias": torch.ones(1)}, "missing: .*; strange: conv.bias"),
    ],
)
def test_a_file_that_nearly_fits_is_refused_too(
    tensors: dict[str, Tensor | None], sentence: str, drawn: Path, tmp_path: Path
) -> None:
    module = SQUEEZENET1_1.build(image_size=SMALL)
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    file = rewritten(drawn, tmp_path / "w.safetensors", tensors)
    with pytest.raises(WbczooError, match=sentence):
        weights.load(module, weights.find("squeezenet1_1", str(file)), SQUEEZENET1_1)
    for key, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[key])


def test_a_classifier_is_left_out_whatever_its_shape(drawn: Path, tmp_path: Path) -> None:
    extra: dict[str, Tensor | None] = {"classifier.1.weight": torch.ones(7, 512, 1, 1)}
    file = rewritten(drawn, tmp_path / "w.safetensors", extra)
    module = SQUEEZENET1_1.build(image_size=SMALL)
    weights.load(module, weights.find("squeezenet1_1", str(file)), SQUEEZENET1_1)
    for key, tensor in load_file(drawn).items():
        assert torch.equal(module.state_dict()[key], tensor)


@pytest.mark.parametrize("name", ["model.pth", "model.pt", "model.bin", "model.ckpt"])
def test_a_pickle_is_refused_before_it_is_opened(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    torch.save({"weight": torch.ones(1)}, path)
    with pytest.raises(
        UsageError, match=rf"{name} is no safetensors file.*may run code.*weights convert"
    ):
        weights.find("mobilenetv2", str(path))


def damage(source: Path, path: Path, kind: str) -> None:
    content = source.read_bytes()
    if kind == "pickle":
        torch.save({"weight": torch.ones(1)}, path)
    else:
        path.write_bytes({"empty": b"", "cut": content[: len(content) // 2]}[kind])


@pytest.mark.parametrize("kind", ["empty", "cut", "pickle"])
def test_a_damaged_file_is_told_by_its_path(kind: str, drawn: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    damage(drawn, path, kind)
    with pytest.raises(WbczooError, match=r"w\.safetensors cannot be read as safetensors: "):
        weights.find("squeezenet1_1", str(path))


def test_a_file_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no weights file .*gone\.safetensors\. --weights takes"):
        weights.find("mobilenetv2", str(tmp_path / "gone.safetensors"))
    with pytest.raises(UsageError, match=r"no weights file .*, but a folder"):
        weights.find("mobilenetv2", str(tmp_path))
    with pytest.raises(UsageError, match="no weights file imagenett"):
        weights.find("mobilenetv2", "imagenett")


def test_without_a_backbone_there_is_nothing_to_load(drawn: Path) -> None:
    for choice in ("none", "imagenet"):
        assert weights.find("none", choice).origin.source == "none"
    with pytest.raises(UsageError, match=r"mine\.safetensors is for a backbone"):
        weights.find("none", str(drawn))


def test_the_users_folder_is_looked_at_before_the_hub(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert weights.find("squeezenet1_1", "imagenet").from_plugin
    monkeypatch.setenv("WBCZOO_WEIGHTS", str(tmp_path))
    assert weights.find("squeezenet1_1", "imagenet").from_plugin
    shutil.copy(drawn, tmp_path / "squeezenet1_1.safetensors")
    found = weights.find("squeezenet1_1", "imagenet")
    assert not found.from_plugin
    assert found.file == tmp_path / "squeezenet1_1.safetensors"
    model = build(compose("squeezenet1_1", image_size=SMALL), weights="imagenet")
    for key, tensor in load_file(drawn).items():
        assert torch.equal(model.state_dict()[f"backbone.{key}"], tensor)
    assert weights.find("googlenet", "imagenet").from_plugin


def test_a_member_of_a_family_has_its_file_in_a_folder_of_the_familys_name(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WBCZOO_WEIGHTS", str(tmp_path))
    (tmp_path / "timm").mkdir()
    shutil.copy(drawn, tmp_path / "timm" / "resnet10t.safetensors")
    assert not weights.find("timm/resnet10t", "imagenet").from_plugin


def test_offline_the_user_is_told_what_to_do(
    wbczoo: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("WBCZOO_WEIGHTS", str(tmp_path))
    failed = wbczoo("build", "--backbone", "mobilenetv2", "--weights", "imagenet", expect=1)
    assert failed.stdout == ""
    assert "The ImageNet weights of 'mobilenetv2' could not be fetched (" in failed.stderr
    assert f"({tmp_path} has no mobilenetv2.safetensors)" in failed.stderr
    assert "--weights FILE, or --weights none" in failed.stderr


def test_a_failed_fetch_without_a_folder_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WBCZOO_WEIGHTS", raising=False)
    with (
        pytest.raises(
            WbczooError, match=r"\(OSError: first line\).*WBCZOO_WEIGHTS \(it is not set"
        ),
        weights.hub_explained("mobilenetv2"),
    ):
        raise OSError("first line\nsecond line")


def test_a_plugin_s_own_weights_are_recorded_by_what_it_says_and_their_digest(
    drawn: Path, wbczoo: Callable[..., Any]
) -> None:
    found = weights.find("squeezenet1_1", "pretrained")
    assert found.from_plugin
    config = compose("squeezenet1_1", image_size=SMALL)
    module = SQUEEZENET1_1.build(image_size=SMALL)
    origin = weights.origin_of(config, module, found)
    assert origin.description == f"of wbczoo {config.backbone.version}"
    assert origin.sha256 == weights.digest_of(module.state_dict())
    module.weights_origin = "our 10 000 smears, 2019"
    assert weights.origin_of(config, module, found).description == "our 10 000 smears, 2019"
    with pytest.raises(UsageError, match="pretrained is for a backbone"):
        weights.find("none", "pretrained")
    failed = wbczoo("build", "--backbone", "mobilenetv2", "--weights", "pretrained", expect=1)
    assert "The pretrained weights of 'mobilenetv2' could not be fetched" in failed.stderr

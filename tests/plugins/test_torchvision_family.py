"""Every classifier of torchvision is a backbone that gives what its own classifier reads."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import init_empty_weights
from torch import Tensor, nn
from torchvision import models

from wbczoo.errors import UsageError
from wbczoo.specs import IMAGENET_MEAN, IMAGENET_STD
from wbczoo_torchvision import TORCHVISION
from wbczoo_torchvision.features import Tokens, load_weights

# Of each architecture: its smallest member, the side of square images that it reads or None where
# it reads 160x192, and its last block.
SMALLEST: dict[str, tuple[str, int | None, tuple[str, ...]]] = {
    "alexnet": ("alexnet", None, ("features.6.", "features.8.", "features.10.")),
    "convnext": ("convnext_tiny", None, ("features.6.1.", "features.7.")),
    "densenet": ("densenet121", None, ("features.denseblock4.", "features.norm5.")),
    "efficientnet": ("efficientnet_b0", None, ("features.6.", "features.7.", "features.8.")),
    "googlenet": ("googlenet", None, ("inception5a.", "inception5b.")),
    "inception": ("inception_v3", None, ("Mixed_7a.", "Mixed_7b.", "Mixed_7c.")),
    "maxvit": ("maxvit_t", 224, ("blocks.3.",)),
    "mnasnet": ("mnasnet0_5", None, tuple(f"layers.{place}." for place in range(12, 16))),
    "mobilenetv2": ("mobilenet_v2", None, tuple(f"features.{place}." for place in range(14, 19))),
    "mobilenetv3": (
        "mobilenet_v3_small",
        None,
        tuple(f"features.{place}." for place in range(9, 13)),
    ),
    "regnet": ("regnet_y_400mf", None, ("trunk_output.block4.",)),
    "resnet": ("resnet18", None, ("layer4.",)),
    "shufflenetv2": ("shufflenet_v2_x0_5", None, ("stage4.", "conv5.")),
    "squeezenet": ("squeezenet1_1", None, tuple(f"features.{place}." for place in range(9, 13))),
    "swin_transformer": ("swin_t", None, ("features.6.", "features.7.", "norm.")),
    "vgg": ("vgg11", None, ("features.16.", "features.18.")),
    "vision_transformer": (
        "vit_b_16",
        160,
        ("encoder.layers.encoder_layer_11.", "encoder.ln."),
    ),
}


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """No test of this file reaches the network; what one asked it for is kept here."""
    attempts: list[object] = []

    def refuse(*address: object, **_: object) -> None:
        attempts.append(address)
        raise OSError("no network in these tests")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield attempts
    assert not attempts


def upstream(name: str, side: int | None) -> Any:
    """The whole model as torchvision builds it around its weights."""
    settings: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        settings = {"transform_input": True, "init_weights": False, "aux_logits": True}
    elif name.startswith("vgg"):
        settings = {"init_weights": False}
    elif name.startswith("vit"):
        settings = {"image_size": side}
    return models.get_model(name, weights=None, **settings).eval()


def logits(architecture: str, whole: Any, feature_map: Tensor) -> Tensor:
    """What upstream's own pooling and classifier say of a feature map."""
    if architecture in ("maxvit", "squeezenet"):
        return whole.classifier(feature_map).flatten(1)  # type: ignore[no-any-return]
    pool = getattr(whole, "avgpool", nn.AdaptiveAvgPool2d(1))
    pooled = pool(feature_map)
    if architecture != "convnext":  # its classifier starts with a norm of four dimensions
        pooled = pooled.flatten(1)
    *_, head = whole.children()
    return head(pooled)  # type: ignore[no-any-return]


def normalised(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    return (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


# By day one of each way to the classifier in `logits`, and the tokens.
BY_DAY = ("convnext", "googlenet", "resnet", "squeezenet", "vision_transformer")
ARCHITECTURES = [
    pytest.param(name, marks=() if name in BY_DAY else pytest.mark.nightly) for name in SMALLEST
]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_feature_map_is_what_upstreams_classifier_reads(architecture: str) -> None:
    name, side, last_block = SMALLEST[architecture]
    size = (side, side) if side else (160, 192)
    torch.manual_seed(0)
    whole = upstream(name, side)
    spec = TORCHVISION[name]
    module = spec.build(image_size=size).eval()
    assert module.last_block == last_block
    kept = {
        key: tensor
        for key, tensor in whole.state_dict().items()
        if not key.startswith(spec.classifier_keys)
    }
    assert len(kept) < len(whole.state_dict())
    module.load_state_dict(kept)  # strict: the keys are upstream's

    pixels = torch.rand(2, 3, *size)
    inside: list[Tensor] = []
    if architecture == "vision_transformer":  # its classifier reads the class token alone
        whole.encoder.register_forward_hook(lambda *call: inside.append(call[2]))
    with torch.inference_mode():
        feature_map = module(normalised(pixels, module.input_mean, module.input_std))
        expected = whole(normalised(pixels, IMAGENET_MEAN, IMAGENET_STD))
        if inside:
            found, expected = feature_map.flatten(2).transpose(1, 2), inside[0][:, 1:]
        else:
            found = logits(architecture, whole, feature_map)
    assert feature_map.shape[:2] == (2, module.num_features)
    assert feature_map.std() > 0
    assert expected.std() > 0
    tolerance = 1e-3 if name in ("googlenet", "inception_v3") else 1e-5
    torch.testing.assert_close(
        found, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max())
    )


QUICK = {name for name, _, _ in SMALLEST.values()}
MEMBERS = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.nightly)
    for name in models.list_models(module=models)
]


@pytest.mark.parametrize("name", MEMBERS)
def test_every_member_gives_a_feature_map(name: str) -> None:
    spec = TORCHVISION[name]
    assert spec.name == f"torchvision/{name}"
    # Parameters without numbers: the largest have 600 million.
    with init_empty_weights():
        module = spec.build(image_size=(224, 224))
    module = module.to("meta").eval()
    feature_map = module(torch.empty(1, 3, 224, 224, device="meta"))
    assert feature_map.shape[:2] == (1, module.num_features)
    assert min(feature_map.shape[2:]) > 1

    feature_map.sum().backward()
    idle = [key for key, parameter in module.named_parameters() if parameter.grad is None]
    assert not idle

    names = [key for key, _ in module.named_parameters()]
    opened = [key for key in names if key.startswith(module.last_block)]
    assert 0 < len(opened) < len(names)
    assert names[-len(opened) :] == opened  # nothing after it stays frozen
    assert all(any(key.startswith(prefix) for key in names) for prefix in module.last_block)

    expected = models.get_model_weights(name).DEFAULT.transforms()
    if name in ("googlenet", "inception_v3"):
        assert spec.preprocessing.mean == spec.preprocessing.std == (0.5, 0.5, 0.5)
        assert module.input_mean == module.input_std == (0.5, 0.5, 0.5)
    else:
        assert module.input_mean == tuple(expected.mean)
        assert module.input_std == tuple(expected.std)


def test_the_smallest_of_each_architecture_are_found() -> None:
    found = list(TORCHVISION.smallest_of_each((160, 192)))
    assert [architecture for architecture, _, _ in found] == list(SMALLEST)
    for architecture, name, reason in found:
        smallest, side, _ = SMALLEST[architecture]
        if side is None:
            assert (name, reason) == (smallest, "")
        else:
            assert name is None
            assert reason.startswith(f"torchvision/{smallest} cannot read images of 160x192")


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("resnet_18", (224, 224), r"has no model 'resnet_18'\. Nearest: torchvision/resnet18,"),
        ("qqqq", (224, 224), r"has no model 'qqqq'\.$"),
        ("vit_b_32", (160, 192), "160x192 pixels, only square .* a multiple of 32"),
        ("vit_b_16", (100, 100), "100x100 pixels, only square .* a multiple of 16"),
        ("maxvit_t", (160, 192), "160x192 pixels, only .* multiples of 224"),
        ("alexnet", (32, 32), "32x32 pixels, only larger ones"),
    ],
)
def test_what_cannot_be_built_is_told_in_a_sentence(
    name: str, size: tuple[int, int], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        TORCHVISION[name].build(image_size=size)


def test_the_family_is_listed_by_torchvision() -> None:
    assert list(TORCHVISION) == models.list_models(module=models)
    assert len(TORCHVISION) >= 80
    for impossible in ("", "a/b", "../resnet18", "resnet18.tv_in1k", "ResNet", "8"):
        assert impossible not in TORCHVISION


def test_asking_for_a_member_imports_nothing() -> None:
    code = (
        "import sys\n"
        "from wbczoo_torchvision import TORCHVISION\n"
        "assert TORCHVISION['resnet50'].name == 'torchvision/resnet50'\n"
        "print(*({'torch', 'torchvision', 'numpy', 'PIL'} & set(sys.modules)))\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert (result.returncode, result.stdout.strip()) == (0, ""), result.stderr


def test_the_default_weights_are_loaded_from_torchs_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    whole = upstream("densenet121", None)
    # The real file was written when modules could be called `norm.1`.
    old = {
        re.sub(r"(\.denselayer\d+\.[a-z]+)([12]\.)", r"\1.\2", key): tensor
        for key, tensor in whole.state_dict().items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    file = models.DenseNet121_Weights.DEFAULT.url.rpartition("/")[2]
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(old, tmp_path / "hub" / "checkpoints" / file)
    module = TORCHVISION["densenet121"].build(image_size=(96, 96), pretrained=True)
    state = module.state_dict()
    assert state
    assert all(torch.equal(tensor, whole.state_dict()[key]) for key, tensor in state.items())


def test_only_pretrained_asks_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[object]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # a cache that has nothing yet
    TORCHVISION["mnasnet0_5"].build(image_size=(224, 224))
    assert not asked
    with pytest.raises(OSError, match="no network"):
        TORCHVISION["mnasnet0_5"].build(image_size=(224, 224), pretrained=True)
    assert asked
    asked.clear()


def transformer(image_size: int) -> Any:
    """A vision transformer of two small layers."""
    return models.VisionTransformer(image_size, 8, 2, 2, hidden_dim=16, mlp_dim=16, num_classes=4)


@pytest.mark.parametrize("side", [32, 48])
def test_positions_are_interpolated_for_another_size(side: int) -> None:
    whole = transformer(32)
    features = Tokens(transformer(side))
    load_weights(features, whole.state_dict(), (side, side))
    positions = whole.encoder.pos_embedding  # (1, 1 + 4 * 4, 16)
    own = features.encoder.pos_embedding  # (1, 1 + h * w, 16)
    grid = own[0, 1:].reshape(side // 8, side // 8, 16)
    assert torch.equal(own[:, 0], positions[:, 0])
    torch.testing.assert_close(grid[0, 0], positions[0, 1])  # corners stay where they are
    torch.testing.assert_close(grid[-1, -1], positions[0, -1])
    assert torch.equal(features.conv_proj.weight, whole.conv_proj.weight)
    images = torch.randn(1, 3, side, side)
    assert features(images).shape == (1, 16, side // 8, side // 8)


def test_tokens_export_with_any_batch() -> None:
    module = Tokens(transformer(32)).eval()
    batch = torch.export.Dim("batch")
    exported = torch.export.export(
        module, (torch.randn(2, 3, 32, 32),), dynamic_shapes=({0: batch},)
    )
    images = torch.randn(3, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(exported.module()(images), module(images))

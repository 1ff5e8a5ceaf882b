"""The built-in backbones keep the contract, on their real architectures and real weights."""

from __future__ import annotations

import copy
import io
import os
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from wbczoo.errors import UsageError
from wbczoo.model import weights
from wbczoo.specs import BackboneSpec
from wbczoo_timm import (
    CONVNEXT_ATTO,
    EFFICIENTNET_LITE0,
    MOBILENETV2,
    MOBILENETV3_SMALL,
    RESNET18,
    TIMM,
    VGG16,
)
from wbczoo_timm.features import last_block
from wbczoo_torchvision import GOOGLENET, SQUEEZENET1_1

ALL = (
    MOBILENETV2,
    RESNET18,
    VGG16,
    EFFICIENTNET_LITE0,
    MOBILENETV3_SMALL,
    CONVNEXT_ATTO,
    GOOGLENET,
    SQUEEZENET1_1,
)
# Of each: timm's or torchvision's name, num_features, (h, w) of 224x224 and of 160x192.
UPSTREAM: dict[str, tuple[str, int, tuple[int, int], tuple[int, int]]] = {
    "mobilenetv2": ("mobilenetv2_100", 1280, (7, 7), (5, 6)),
    "resnet18": ("resnet18", 512, (7, 7), (5, 6)),
    "vgg16": ("vgg16", 512, (7, 7), (5, 6)),
    "efficientnet_lite0": ("tf_efficientnet_lite0", 1280, (7, 7), (5, 6)),
    "mobilenetv3_small": ("mobilenetv3_small_100", 576, (7, 7), (5, 6)),
    "convnext_atto": ("convnext_atto", 320, (7, 7), (5, 6)),
    "googlenet": ("googlenet", 1024, (7, 7), (5, 6)),
    "squeezenet1_1": ("squeezenet1_1", 512, (13, 13), (9, 11)),
}
LAST_BLOCK = {
    "mobilenetv2": ("blocks.6.", "conv_head.", "bn2."),
    "resnet18": ("layer4.",),
    "vgg16": ("features.24.", "features.26.", "features.28."),
    "efficientnet_lite0": ("blocks.6.", "conv_head.", "bn2."),
    "mobilenetv3_small": ("blocks.5.",),
    "convnext_atto": ("stages.3.",),
    "googlenet": ("inception5a.", "inception5b."),
    "squeezenet1_1": ("features.12.",),
}


@pytest.fixture(scope="module", autouse=True)
def asked() -> Iterator[list[object]]:
    """No test of this file reaches the network; what one asked it for is kept here."""
    attempts: list[object] = []

    def refuse(*address: object, **_: object) -> None:
        attempts.append(address)
        raise OSError("no network in these tests")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", refuse)
        patch.setattr(socket.socket, "connect", refuse)
        yield attempts


@pytest.fixture(scope="module", params=ALL, ids=lambda spec: spec.name)
def built(request: pytest.FixtureRequest, asked: list[object]) -> tuple[BackboneSpec, Any]:
    """A spec and what it builds for 224x224, in evaluation mode and without a network."""
    spec: BackboneSpec = request.param
    torch.manual_seed(0)
    module = spec.build(image_size=(224, 224)).eval()
    assert not asked
    return spec, module


def upstream(name: str, *, on: str = "cpu") -> Any:
    """The whole model that a backbone is part of, with its classifier."""
    with torch.device(on):
        if name in (GOOGLENET.name, SQUEEZENET1_1.name):
            aux = {"aux_logits": True, "init_weights": False} if name == GOOGLENET.name else {}
            return getattr(torchvision.models, UPSTREAM[name][0])(weights=None, **aux)
        return timm.create_model(UPSTREAM[name][0])


def test_a_feature_map_has_the_promised_shape(built: tuple[BackboneSpec, Any]) -> None:
    spec, module = built
    _, channels, grid, _ = UPSTREAM[spec.name]
    with torch.inference_mode():
        feature_map = module(torch.randn(2, 3, 224, 224))
    assert module.num_features == channels
    assert feature_map.shape == (2, channels, *grid)


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.name)
def test_images_need_not_be_square(spec: BackboneSpec) -> None:
    module = spec.build(image_size=(160, 192)).eval()
    with torch.inference_mode():
        feature_map = module(torch.randn(1, 3, 160, 192))
    assert feature_map.shape == (1, module.num_features, *UPSTREAM[spec.name][3])


def test_no_parameter_is_idle(built: tuple[BackboneSpec, Any]) -> None:
    _, module = built
    module.zero_grad(set_to_none=True)
    module(torch.randn(1, 3, 96, 96)).square().sum().backward()
    idle = [name for name, parameter in module.named_parameters() if parameter.grad is None]
    module.zero_grad(set_to_none=True)
    assert not idle


def test_the_last_block_is_the_last_convolutional_one(built: tuple[BackboneSpec, Any]) -> None:
    spec, module = built
    names = [name for name, _ in module.named_parameters()]
    opened = [name for name in names if name.startswith(module.last_block)]
    assert module.last_block == LAST_BLOCK[spec.name]
    assert names[-len(opened) :] == opened  # nothing after it stays frozen
    assert len(opened) < len(names)
    assert all(any(name.startswith(prefix) for name in names) for prefix in module.last_block)


def test_the_state_is_upstreams_less_the_classifier(built: tuple[BackboneSpec, Any]) -> None:
    spec, module = built
    whole = upstream(spec.name, on="meta").state_dict()
    expected = {
        key: tensor.shape
        for key, tensor in whole.items()
        if not key.startswith(spec.classifier_keys)
    }
    assert len(expected) < len(whole)
    assert {key: tensor.shape for key, tensor in module.state_dict().items()} == expected


def test_a_copy_answers_alike_and_is_its_own(built: tuple[BackboneSpec, Any]) -> None:
    _, module = built
    images = torch.randn(1, 3, 224, 224)
    twin = copy.deepcopy(module)
    with torch.inference_mode():
        before = module(images)
        assert torch.equal(twin(images), before)
        for parameter in twin.parameters():
            parameter.zero_()
        assert torch.equal(module(images), before)
        assert not torch.equal(twin(images), before)


def test_an_image_is_answered_alike_in_any_company(built: tuple[BackboneSpec, Any]) -> None:
    _, module = built
    images = torch.randn(3, 3, 224, 224)
    with torch.inference_mode():
        together = module(images)
        alone = torch.cat([module(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4 * float(alone.abs().max()))


@pytest.mark.archive
@pytest.mark.parametrize(
    "spec",
    [MOBILENETV2, RESNET18, EFFICIENTNET_LITE0, SQUEEZENET1_1],
    ids=lambda spec: spec.name,
)
def test_real_weights_give_upstreams_features(spec: BackboneSpec, shared: Path) -> None:
    file = shared / "weights" / f"{spec.name}.safetensors"
    module = spec.build(image_size=(224, 224)).eval()
    weights.load(module, weights.find(spec.name, str(file)), spec)
    whole = upstream(spec.name).eval()
    whole.load_state_dict({key: value.float() for key, value in load_file(file).items()})
    features = whole.features if spec is SQUEEZENET1_1 else whole.forward_features
    images = photograph(shared, spec)
    with torch.inference_mode():
        feature_map = module(images)
        assert torch.equal(feature_map, features(images))
    assert feature_map.std() > 0


def photograph(shared: Path, spec: BackboneSpec) -> Tensor:
    """One real photograph, squashed and normalised as the spec says: (1, 3, 224, 224)."""
    with zipfile.ZipFile(shared / "data" / "blood-cells.zip") as archive:
        member = min(
            name for name in archive.namelist() if "/TEST_SIMPLE/" in name and "jp" in name
        )
        image = Image.open(io.BytesIO(archive.read(member))).convert("RGB").resize((224, 224))
    scaled = torch.from_numpy(np.asarray(image) / 255).permute(2, 0, 1)[None]
    mean, std = (
        torch.tensor(values).view(3, 1, 1)
        for values in (spec.preprocessing.mean, spec.preprocessing.std)
    )
    return ((scaled - mean) / std).float()


def test_googlenet_reads_what_torchvisions_weights_expect() -> None:
    # Their config says ImageNet's mean and std, and `transform_input` then turns them into 0.5.
    module = GOOGLENET.build(image_size=(224, 224)).eval()
    whole = torchvision.models.googlenet(
        weights=None, aux_logits=False, init_weights=False, transform_input=True
    ).eval()
    assert not whole.load_state_dict(module.state_dict(), strict=False).unexpected_keys
    seen: list[Tensor] = []
    whole.inception5b.register_forward_hook(lambda *call: seen.append(call[2]))
    pixels = torch.rand(1, 3, 224, 224)

    def normalised(mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
        return (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)

    with torch.inference_mode():
        whole(normalised((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        ours = module(normalised(GOOGLENET.preprocessing.mean, GOOGLENET.preprocessing.std))
    torch.testing.assert_close(ours, seen[0], rtol=1e-3, atol=1e-4 * float(seen[0].abs().max()))


@pytest.mark.parametrize("spec", ALL[:6], ids=lambda spec: spec.name)
def test_preprocessing_is_that_of_timms_weights(spec: BackboneSpec) -> None:
    tag = "resnet18.tv_in1k" if spec is RESNET18 else UPSTREAM[spec.name][0]
    config = timm.get_pretrained_cfg(tag)
    assert (config.mean, config.std) == (spec.preprocessing.mean, spec.preprocessing.std)
    if spec is not MOBILENETV2:  # its usual weights are torchvision's, which are bilinear
        assert config.interpolation == spec.preprocessing.interpolation


def test_only_pretrained_asks_the_network(asked: list[object], tmp_path: Path) -> None:
    TIMM["resnet10t"].build(image_size=(224, 224))
    assert not asked
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(tmp_path))  # a cache that has nothing yet
        with pytest.raises(OSError, match="no network"):
            SQUEEZENET1_1.build(image_size=(224, 224), pretrained=True)
    assert asked
    asked.clear()


def test_declaring_parts_imports_no_framework() -> None:
    code = (
        "import sys, wbczoo_timm, wbczoo_torchvision, wbczoo_recurrent, wbczoo_nucleus\n"
        "assert wbczoo_timm.TIMM['resnet50'].name == 'timm/resnet50'\n"
        "print(*({'torch', 'timm', 'torchvision', 'numpy', 'PIL'} & set(sys.modules)))\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert (result.returncode, result.stdout.strip()) == (0, ""), result.stderr


@pytest.mark.parametrize(
    ("name", "channels", "grid", "last"),
    [
        ("resnet10t", 512, (5, 6), ("layer4.",)),
        ("vit_tiny_patch16_224", 192, (10, 12), ("blocks.11.", "norm.")),  # tokens after a class's
        ("swin_tiny_patch4_window7_224", 768, (5, 6), ("layers.3.", "norm.")),  # channels last
        ("coat_lite_mini", 512, (5, 6), ("serial_blocks4.", "norm4.")),  # an undeclared token
    ],
)
def test_any_timm_model_gives_a_feature_map(
    name: str, channels: int, grid: tuple[int, int], last: tuple[str, ...]
) -> None:
    spec = TIMM[name]
    module = spec.build(image_size=(160, 192)).eval()
    assert spec.name == f"timm/{name}"
    assert module.last_block == last
    feature_map = module(torch.randn(2, 3, 160, 192))
    assert feature_map.shape == (2, channels, *grid)
    assert module.num_features == channels
    feature_map.square().sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    left_out = upstream_keys(name) - module.state_dict().keys()
    assert left_out
    assert all(key.startswith(spec.classifier_keys) for key in left_out)


def upstream_keys(name: str) -> set[str]:
    """Keys of a timm model's state."""
    with torch.device("meta"):
        return set(timm.create_model(name).state_dict())


def test_tokens_lie_where_their_patches_do() -> None:
    module = TIMM["vit_tiny_patch16_224"].build(image_size=(160, 192)).eval()
    images = torch.randn(1, 3, 160, 192)
    with torch.inference_mode():
        tokens = module.forward_features(images)  # (1, 1 + 10 * 12, 192)
        feature_map = module(images)
    assert torch.equal(feature_map[0, :, 3, 7], tokens[0, 1 + 3 * 12 + 7])


def test_tokens_export_with_any_batch() -> None:
    module = TIMM["vit_tiny_patch16_224"].build(image_size=(224, 224)).eval()
    batch = torch.export.Dim("batch")
    exported = torch.export.export(
        module, (torch.randn(2, 3, 224, 224),), dynamic_shapes=({0: batch},)
    )
    images = torch.randn(3, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(exported.module()(images), module(images))


def test_a_family_is_listed_by_timm() -> None:
    assert {"resnet50", "vit_tiny_patch16_224"} <= set(TIMM)
    assert len(TIMM) == len(timm.list_models())
    for malformed in (
        "",
        "a/b",
        "hf-hub:thing",
        "hf-hub:a/b/c",
        "local-dir:a/b",
        "resnet18.a.b",
        "../resnet18",
    ):
        assert malformed not in TIMM


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet_18", "no model 'resnet_18'.*timm/resnet18"),
        ("resnet18.nobody", "no weights 'resnet18.nobody'.*resnet18.tv_in1k"),
    ],
)
def test_an_unknown_model_is_told_what_is_nearest(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        TIMM[name].build(image_size=(224, 224))


def test_a_last_block_has_more_than_a_norm() -> None:
    layers: list[nn.Module] = [nn.Conv2d(3, 4, 3) for _ in range(5)]
    model: Any = nn.Sequential(*layers, nn.BatchNorm2d(4))
    assert last_block(model) == ("4.", "5.")  # no feature points: the last third of six
    model.feature_info = [{"module": "1"}, {"module": "3"}, {"module": "5"}]
    assert last_block(model) == ("3.", "4.", "5.")

"""timm models whose answer has no feature map of its own give one all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from wbczoo.errors import WbczooError
from wbczoo.specs import BackboneSpec
from wbczoo_timm import TIMM

# Of each: num_features, (h, w) of 224x224, what opens last, and what upstream's answer needs more.
MAPS: dict[str, tuple[int, tuple[int, int], tuple[str, ...], set[str]]] = {
    "cait_xxs24_224": (
        *(192, (14, 14), ("blocks.23.", "norm.")),
        {"cls_token", "blocks_token_only", "head"},
    ),
    "volo_d1_224": (
        *(384, (14, 14), ("network.4.", "norm.")),
        {"cls_token", "post_network", "aux_head", "head"},
    ),
    "xcit_nano_12_p8_224": (
        *(128, (28, 28), ("blocks.11.", "norm.")),
        {"cls_token", "cls_attn_blocks", "head"},
    ),
    "coat_tiny": (
        *(152, (7, 7), ("parallel_blocks.", "norm4.")),
        {"norm2", "norm3", "parallel_blocks", "aggregate", "head"},
    ),
    "efficientvim_m1": (320, (4, 4), ("stages.2.", "norm."), {"weights", "norm", "heads"}),
    "pit_ti_224": (256, (7, 7), ("transformers.2.",), {"norm", "head"}),
}


@pytest.fixture(scope="module", params=MAPS)
def built(request: pytest.FixtureRequest) -> tuple[str, BackboneSpec, Any]:
    """A name, its spec, and the backbone for 224x224 with no parameter left at zero."""
    spec = TIMM[request.param]
    torch.manual_seed(0)
    module = spec.build(image_size=(224, 224)).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return request.param, spec, module


def test_every_parameter_has_influence(built: tuple[str, BackboneSpec, Any]) -> None:
    name, _, module = built
    channels, grid, last_block, _ = MAPS[name]
    torch.manual_seed(1)
    feature_map = module(torch.randn(1, 3, 224, 224))
    assert feature_map.shape == (1, channels, *grid)
    assert (module.num_features, module.last_block) == (channels, last_block)
    (feature_map * torch.randn(feature_map.shape)).sum().backward()
    idle = [
        key
        for key, value in module.named_parameters()
        if value.grad is None or not value.grad.any()
    ]
    module.zero_grad(set_to_none=True)
    assert not idle


def test_an_image_is_answered_alike_in_any_company(built: tuple[str, BackboneSpec, Any]) -> None:
    name, _, module = built
    images = torch.randn(3, 3, 224, 224)
    with torch.inference_mode():
        three = module(images)
        assert three.shape == (3, MAPS[name][0], *MAPS[name][1])
        for part in (slice(0, 2), slice(2, 3)):
            torch.testing.assert_close(module(images[part]), three[part], rtol=1e-3, atol=1e-3)


def test_the_map_is_upstreams(built: tuple[str, BackboneSpec, Any]) -> None:
    name, spec, module = built
    whole = timm.create_model(name).eval()
    own = module.state_dict()
    rest = whole.state_dict().keys() - own.keys()
    loaded = whole.load_state_dict(own, strict=False)
    assert not loaded.unexpected_keys
    assert set(loaded.missing_keys) == rest
    assert {key.partition(".")[0] for key in rest} == MAPS[name][3]
    assert all(key.startswith(spec.classifier_keys) for key in rest)
    images = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        expected = UPSTREAM[name](whole, images)  # (1, C, h * w)
        torch.testing.assert_close(module(images).flatten(2), expected, rtol=1e-4, atol=1e-4)


def patches(whole: Any, images: Tensor) -> Tensor:
    """What follows the class token (N, 1 + h * w, C), of the last scale: (N, C, h * w)."""
    features = whole.forward_features(images)
    last: Tensor = features[-1] if isinstance(features, list) else features
    return last[:, 1:].transpose(1, 2)


def before_class_attention(whole: Any, images: Tensor) -> Tensor:
    """What the last block of XCiT returned, normed: (N, C, h * w)."""
    tokens: Tensor = whole.norm(returned(whole, whole.blocks[-1], images))
    return tokens.transpose(1, 2)


def last_stage(whole: Any, images: Tensor) -> Tensor:
    """The map that PiT's last stage returned beside its class token: (N, C, h * w)."""
    stage: tuple[Tensor, Tensor] = returned(whole, whole.transformers, images)
    return stage[0].flatten(2)


def last_state(whole: Any, images: Tensor) -> Tensor:
    """The last of EfficientViM's features, which is a map: (N, C, h * w)."""
    features: list[Tensor] = whole.forward_features(images)
    return features[-1]


def returned(whole: Any, part: nn.Module, images: Tensor) -> Any:
    """What a part of a model returned on the way to the answer for images (N, 3, H, W)."""
    seen: list[Any] = []
    with part.register_forward_hook(lambda *call: seen.append(call[2])):
        whole(images)
    return seen[0]


UPSTREAM: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "cait_xxs24_224": patches,
    "volo_d1_224": patches,
    "xcit_nano_12_p8_224": before_class_attention,
    "coat_tiny": patches,
    "efficientvim_m1": last_state,
    "pit_ti_224": last_stage,
}


@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("efficientvim_m1", (3, 3)),
        ("pit_ti_224", (5, 6)),
        ("pit_xs_distilled_224", (5, 6)),  # its two tokens are no grid of 1 x 2
    ],
)
def test_images_need_not_be_square(name: str, grid: tuple[int, int]) -> None:
    module = TIMM[name].build(image_size=(160, 192)).eval()
    with torch.inference_mode():
        feature_map = module(torch.randn(1, 3, 160, 192))
    assert feature_map.shape == (1, module.num_features, *grid)


def test_a_flat_map_exports_with_any_batch() -> None:
    module = TIMM["efficientvim_m1"].build(image_size=(224, 224)).eval()
    exported = torch.export.export(
        module,
        (torch.randn(2, 3, 224, 224),),
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    images = torch.randn(3, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(exported.module()(images), module(images), rtol=1e-3, atol=1e-3)


def test_a_model_without_a_feature_map_is_refused() -> None:
    said = "must give a feature map, and timm/crossvit_9_240 gives one for each of its branches"
    with pytest.raises(WbczooError, match=said):
        TIMM["crossvit_9_240"].build(image_size=(240, 240))

"""A timm classifier goes in here and a backbone without its classifier comes out."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import timm
import torch
from timm.models import get_arch_pretrained_cfgs, get_pretrained_cfg
from torch import Tensor, nn

from wbczoo.errors import UsageError, WbczooError
from wbczoo.specs import Size


@dataclass(frozen=True)
class Layout:
    """How an architecture lays out what its `forward_features` returns.

    Attributes:
        order: `channels_first` (N, C, h, w), `channels_last` (N, h, w, C), or
            `tokens` (N, prefix + h * w, C).
        prefix: tokens before the image's own, such as a class token.
        grid: (h, w) of the image's tokens.
    """

    order: str = "channels_first"
    prefix: int = 0
    grid: Size = (0, 0)

    def as_map(self, features: Tensor) -> Tensor:
        """The same features as (N, C, h, w)."""
        if self.order == "channels_last":
            return features.permute(0, 3, 1, 2)
        if self.order == "tokens":
            return features[:, self.prefix :].transpose(1, 2).unflatten(2, self.grid)
        return features


class Headless:
    """Goes before a timm class, so that `forward` ends where `forward_features` does."""

    layout_of_features: Layout

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) -> feature map (N, num_features, h, w)."""
        features: Tensor = self.forward_features(images)  # type: ignore[attr-defined]
        return self.layout_of_features.as_map(features)


def build(
    architecture: str,
    image_size: Size,
    pretrained: bool = False,
    untrained_sizes: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build the part of a timm model that `forward_features` uses.

    Args:
        architecture: as timm names it, with or without a tag of its weights.
        image_size: (H, W) in pixels; transformers hold as many positions as it has patches.
        pretrained: fetch timm's weights for it.
        untrained_sizes: what else to ask of timm where no weights are to be loaded.

    Returns:
        a module as `BackboneSpec.build` describes it, with the attributes `input_mean` and
        `input_std` of timm's own weights besides.

    Raises:
        UsageError: if timm has no such model, or no such weights of it.
        WbczooError: if the model yields no feature map, or one that leaves parameters unused.
    """
    _check_name(architecture)
    model = _create(
        architecture, image_size, pretrained, {} if pretrained else dict(untrained_sizes or {})
    )
    if not hasattr(model, "forward_features"):
        raise WbczooError(
            f"timm/{architecture} has no forward_features, so it gives no feature map. "
            "Choose another backbone."
        )
    # A subclass made for this one object leaves the names of its parameters as upstream's.
    cls = type(model)
    model.__class__ = type(f"Headless{cls.__name__}", (Headless, cls), {})
    model.layout_of_features = Layout()
    features, unused = _probe(model, architecture, image_size)
    model.layout_of_features = _layout(model, architecture, features.shape, image_size)
    model.num_features = int(model.layout_of_features.as_map(features).shape[1])
    _remove(model, unused)
    _check_use(model, architecture, image_size)
    model.last_block = last_block(model)
    model.input_mean = tuple(model.pretrained_cfg["mean"])
    model.input_std = tuple(model.pretrained_cfg["std"])
    return model


def last_block(model: nn.Module) -> tuple[str, ...]:
    """Prefixes of the names of the parameters in the last block, and of those after it.

    The block is the last of timm's feature points that has parameters at or after it, and others
    before it. A model that names no feature point gives the last third of its layers.
    """
    order = {name: place for place, (name, _) in enumerate(model.named_modules())}
    names = [name for name, _ in model.named_parameters()]
    places = [order[_owner(name)] for name in names]
    info: Any = getattr(model, "feature_info", None) or ()
    points = [order.get(point["module"]) for point in getattr(info, "info", info)]
    layers = sorted(set(places))
    starts = [point for point in points if point is not None and point > places[0]]
    for start in (*reversed(starts), layers[2 * len(layers) // 3]):
        block = [name for name, place in zip(names, places, strict=True) if place >= start]
        if block and len(block) < len(names):
            break
    return _prefixes(block, [name for name in names if name not in block])


def _check_name(architecture: str) -> None:
    if not timm.is_model(architecture):
        bare = architecture.partition(".")[0]
        near = difflib.get_close_matches(bare, timm.list_models(), n=3)
        hint = f" Nearest: {', '.join(f'timm/{name}' for name in near)}." if near else ""
        raise UsageError(f"timm {timm.__version__} has no model {architecture!r}.{hint}")
    weights = sorted(get_arch_pretrained_cfgs(architecture))
    if "." in architecture and architecture not in weights:
        raise UsageError(
            f"timm {timm.__version__} has no weights {architecture!r}; it has "
            f"{', '.join(weights) or 'none'} of this architecture."
        )


def _create(architecture: str, image_size: Size, pretrained: bool, sizes: dict[str, Any]) -> Any:
    config = get_pretrained_cfg(architecture)
    if config is not None and config.fixed_input_size and tuple(config.input_size[1:]) != (
        image_size
    ):
        try:
            return timm.create_model(
                architecture, pretrained=pretrained, img_size=image_size, **sizes
            )
        except TypeError as error:
            if "img_size" not in str(error):
                raise
    return timm.create_model(architecture, pretrained=pretrained, **sizes)


def _probe(model: nn.Module, architecture: str, image_size: Size) -> tuple[Tensor, set[str]]:
    """What the model gives for one image, and the names of the parameters without a part in it.

    Everything is on the meta device: shapes and the graph of gradients, and no arithmetic.
    """
    mode = model.training
    meta = {
        name: torch.empty_like(tensor, device="meta", requires_grad=tensor.requires_grad)
        for name, tensor in (*model.named_parameters(), *model.named_buffers())
    }
    image = torch.empty(1, 3, *image_size, device="meta")
    with torch.enable_grad():
        features = torch.func.functional_call(model.eval(), meta, (image,))
        model.train(mode)
        if not isinstance(features, Tensor) or features.ndim not in (3, 4):
            found = tuple(features.shape) if isinstance(features, Tensor) else type(features)
            raise WbczooError(
                f"timm/{architecture} gives no feature map but {found}. Choose another backbone."
            )
        names = [name for name, _ in model.named_parameters()]
        gradients = torch.autograd.grad(
            features.sum(), [meta[name] for name in names], allow_unused=True
        )
    unused = {name for name, grad in zip(names, gradients, strict=True) if grad is None}
    return features.detach(), unused


def _remove(model: nn.Module, unused: set[str]) -> None:
    """Take the unused parameters out, by whole modules where all of a module is unused."""
    names = [name for name, _ in model.named_parameters()]
    for prefix in _prefixes(
        [name for name in names if name in unused], [name for name in names if name not in unused]
    ):
        parent, _, leaf = prefix.removesuffix(".").rpartition(".")
        owner = model.get_submodule(parent)
        setattr(owner, leaf, nn.Identity() if prefix.endswith(".") else None)


def _check_use(model: nn.Module, architecture: str, image_size: Size) -> None:
    try:
        _, unused = _probe(model, architecture, image_size)
    except (TypeError, AttributeError, RuntimeError) as error:
        raise WbczooError(
            f"timm/{architecture} computes with parameters that its feature map does not depend "
            "on, so it cannot serve as a backbone. Choose another."
        ) from error
    assert not unused, unused


def _layout(model: Any, architecture: str, shape: torch.Size, image_size: Size) -> Layout:
    if len(shape) == 4:
        info = model.feature_info
        ...
    return Layout()


def _prefixes(wanted: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    """The shortest dotted prefixes that begin the wanted names and none of the others."""
    others = tuple(others)
    found: dict[str, None] = {}
    for name in wanted:
        parts = name.split(".")
        heads = [".".join(parts[:count]) + "." for count in range(1, len(parts))]
        free = (head for head in heads if not any(other.startswith(head) for other in others))
        found[next(free, name)] = None
    return tuple(found)


def _owner(name: str) -> str:
    return name.rpartition(".")[0]

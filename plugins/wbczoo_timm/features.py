"""A timm classifier goes in here and a backbone without its classifier comes out."""

from __future__ import annotations

import contextlib
import copy
import difflib
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import timm
import torch
from timm.models import get_arch_pretrained_cfgs, get_pretrained_cfg
from torch import Tensor, nn

from wbczoo.errors import UsageError
from wbczoo.specs import Size
from wbczoo_timm.adapters import add_adapters
from wbczoo_timm.group_norm import fold_batch_norms
from wbczoo_timm.hub import HUB, ask_hub, cached_where_offline, create_as_on_hub
from wbczoo_timm.layout import (
    Layout,
    feature_points,
    find_layout,
    form_of,
    no_map,
    roads_to_a_map,
)


def build_features(
    name: str,
    image_size: Size,
    pretrained: bool = False,
    norm: str = "batch",
    lora: int = 0,
    hub_architecture: str = "",
    hub_arguments: str = "",
) -> nn.Module:
    """Build the part of a timm model that its feature map depends on.

    Args:
        name: as timm names it, with or without a tag of its weights, or `hf-hub:OWNER/NAME`.
        image_size: (H, W) in pixels; a transformer holds positions for just this size.
        pretrained: fetch timm's weights for it.
        norm: `batch`, as timm has it, or `group`: group norms in place of batch norms.
        lora: rank of the low-rank adapters that `add_adapters` puts beside each dense layer.
        hub_architecture, hub_arguments: of a model on the hub, what its config says: timm's name
            for it, and JSON. Where they are not given, the hub is asked, and its answer left in
            the attribute `settled_options`.

    Returns:
        a module as `BackboneSpec.build` describes it, with the attributes `input_mean` and
        `input_std` besides: what timm's own weights expect.

    Raises:
        UsageError: if timm has no such model, or no such weights of it, or the model no batch
            norm to replace.
        WbczooError: if the model gives no feature map, or cannot do without the parameters that
            its feature map does not depend on.
    """
    settled: dict[str, Any] = {}
    if name.startswith(HUB):
        if not hub_architecture:
            settled = ask_hub(name, pretrained)
        told = {"hub_architecture": hub_architecture, "hub_arguments": hub_arguments, **settled}
        architecture = told["hub_architecture"]
    else:
        _check_name(name)
        architecture = name
    if norm not in ("batch", "group"):
        raise UsageError(f"The norm of a timm backbone is batch or group, not {norm!r}.")
    with cached_where_offline() if pretrained else contextlib.nullcontext():
        if name.startswith(HUB):
            model = create_as_on_hub(name, told, image_size, pretrained)
        else:
            model = create(architecture, image_size, pretrained)
    if norm == "group" and not fold_batch_norms(model):
        raise UsageError(
            f"timm's {architecture} has no batch norm that a group norm could replace."
        )
    key = (name, architecture, hub_arguments or str(settled), image_size, norm)
    if key not in _MAPS:
        _MAPS[key] = _find_map(model, architecture, image_size)
    found = _MAPS[key]
    model.__class__ = _headless(found.road, type(model))
    model.layout, model.num_features = found.layout, found.channels
    _remove(model, found.unused)
    model.settled_options = settled
    if lora:
        model.add_adapters = partial(add_adapters, model, lora)
    model.last_block = last_block(model)
    model.input_mean = tuple(model.pretrained_cfg["mean"])
    model.input_std = tuple(model.pretrained_cfg["std"])
    return cast(nn.Module, model)


def last_block(model: nn.Module) -> tuple[str, ...]:
    """Prefixes of the names of the parameters of the last block and of what follows it.

    It begins at the last of timm's feature points from which on there is a convolution or a
    matrix, with other parameters before it. A model without such a point gives the last third of
    its layers.
    """
    places = {name: place for place, (name, _) in enumerate(model.named_modules())}
    parameters = [
        (places[name.rpartition(".")[0]], name, parameter.ndim)
        for name, parameter in model.named_parameters()
    ]
    points = [places.get(point["module"], -1) for point in feature_points(model)]
    layers = sorted({place for place, _, _ in parameters})
    fallback = layers[2 * len(layers) // 3]
    for start in (*reversed(points), fallback):
        block = [name for place, name, _ in parameters if place >= start]
        weights = any(place >= start and ndim > 1 for place, _, ndim in parameters)
        if weights and len(block) < len(parameters):
            break
    return _prefixes(block, [name for place, name, _ in parameters if place < start])


def _check_name(architecture: str) -> None:
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture.partition(".")[0], timm.list_models(), n=3)
        hint = f" Nearest: {', '.join(f'timm/{name}' for name in near)}." if near else ""
        raise UsageError(f"timm {timm.__version__} has no model {architecture!r}.{hint}")
    weights = sorted(get_arch_pretrained_cfgs(architecture))
    if "." in architecture and architecture not in weights:
        raise UsageError(
            f"timm {timm.__version__} has no weights {architecture!r}. Of this architecture it "
            f"has {', '.join(weights) or 'none'}."
        )


def create(architecture: str, image_size: Size, pretrained: bool) -> Any:
    """timm's model, classifier and all, for images of a size where its architecture asks one."""
    settings: dict[str, Any] = {}
    if architecture.startswith("vgg") and not pretrained:
        # Else 119 M parameters behind the feature map would be drawn and thrown away.
        settings["mlp_ratio"] = 1 / 4096
    config = get_pretrained_cfg(architecture)
    if config and config.fixed_input_size and tuple(config.input_size[1:]) != image_size:
        settings["img_size"] = image_size
    try:
        return timm.create_model(architecture, pretrained=pretrained, **settings)
    except TypeError as error:
        # Some architectures of one size find it out from the image itself.
        if settings.pop("img_size", None) is None or "img_size" not in str(error):
            raise
    return timm.create_model(architecture, pretrained=pretrained, **settings)


@dataclass(frozen=True)
class _Map:
    """What an architecture's feature map is, at one image size.

    Attributes:
        road: the class that goes before timm's.
        channels: of the map.
        unused: the parameters that the map does not depend on.
    """

    road: type
    layout: Layout
    channels: int
    unused: frozenset[str]


# A training builds its model three times, a study hundreds of times; each is asked once.
_MAPS: dict[tuple[Any, ...], _Map] = {}


def _find_map(whole: Any, architecture: str, image_size: Size) -> _Map:
    """Try the roads to a feature map on a twin of timm's model, which stays as it is."""
    if not hasattr(whole, "forward_features"):
        raise no_map(architecture, "no features apart from its answer")
    model, parameters = _twin(whole)
    for road in roads_to_a_map(model):
        model.__class__ = _headless(road, type(whole))
        features = _trace(model, image_size)
        if isinstance(features, list) and getattr(model, "num_branches", 1) > 1:
            # CrossViT's branches meet in class tokens alone, the last time behind any feature map.
            raise no_map(architecture, "one for each of its branches")
        layout = find_layout(model, features, image_size)
        if layout is not None:
            break
    else:
        raise no_map(architecture, f"features of the form {form_of(features)}")
    feature_map = layout.as_map(features)
    unused = _unused(feature_map, parameters)
    if unused:
        _remove(model, unused)
        try:
            _trace(model, image_size)
        except Exception as error:
            raise no_map(architecture, "one that it cannot compute alone") from error
    return _Map(road, layout, int(feature_map.shape[1]), unused)


def _headless(road: type, upstream: type) -> type:
    """A subclass for one object: a wrapper would change the names of the parameters."""
    return type(f"Headless{upstream.__name__}", (road, upstream), {})


def _twin(model: Any) -> tuple[Any, dict[str, Tensor]]:
    """The model on the meta device, shapes and a graph of gradients without arithmetic, and its
    parameters.
    """
    parameters: dict[str, Tensor] = {
        name: nn.Parameter(torch.empty_like(parameter, device="meta"))
        for name, parameter in model.named_parameters()
    }
    # A copy that finds these in its memo takes them for the model's own. `functional_call` would
    # leave them behind in a model that uses one module in two places, as CoaT does.
    memo = {id(parameter): parameters[name] for name, parameter in model.named_parameters()}
    memo |= {id(buffer): torch.empty_like(buffer, device="meta") for buffer in model.buffers()}
    return copy.deepcopy(model, memo).eval(), parameters


def _trace(twin: Any, image_size: Size) -> Any:
    """What `forward_features` returns for one image."""
    with torch.enable_grad():
        return twin.forward_features(torch.empty(1, 3, *image_size, device="meta"))


def _unused(feature_map: Tensor, parameters: dict[str, Tensor]) -> frozenset[str]:
    """The parameters that no gradient would reach; none is computed."""
    met: set[Any] = {None}
    waiting: list[Any] = [feature_map.grad_fn]
    while waiting:
        if (step := waiting.pop()) not in met:
            met.add(step)
            waiting += [before for before, _ in step.next_functions]
    reached = {id(step.variable) for step in met if hasattr(step, "variable")}
    return frozenset(name for name, value in parameters.items() if id(value) not in reached)


def _remove(model: nn.Module, unused: AbstractSet[str]) -> None:
    """Take unused parameters out, by whole modules where nothing in a module is used."""
    names = [name for name, _ in model.named_parameters()]
    for prefix in _prefixes(
        [name for name in names if name in unused], [name for name in names if name not in unused]
    ):
        owner, _, leaf = prefix.removesuffix(".").rpartition(".")
        replacement = nn.Identity() if prefix.endswith(".") else None
        setattr(model.get_submodule(owner), leaf, replacement)


def _prefixes(wanted: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    """The shortest dotted prefixes that begin all the wanted names and none of the others.

    A name that no prefix tells apart stands for itself.
    """
    taken = {prefix for name in others for prefix in _heads(name)}
    found = (next((p for p in _heads(name) if p not in taken), name) for name in wanted)
    return tuple(dict.fromkeys(found))


def _heads(name: str) -> list[str]:
    """`a.b.weight` -> `a.`, `a.b.`"""
    parts = name.split(".")
    return [".".join(parts[:count]) + "." for count in range(1, len(parts))]

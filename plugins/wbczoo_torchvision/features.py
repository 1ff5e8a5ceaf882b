"""A torchvision classifier goes in here and a backbone without its classifier comes out."""

from __future__ import annotations

import difflib
import re
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision import models
from torchvision.models.vision_transformer import interpolate_embeddings

from wbczoo.errors import UsageError
from wbczoo.specs import Size
from wbczoo_torchvision import HEADS, PORTED

# Children that a model calls behind its feature map: those with a state, and those without.
_BEHIND = {head.removesuffix(".") for head in HEADS} | {"avgpool", "dropout", "flatten"}

_PORTED = ("googlenet", "inception")

# Old files of DenseNet write `norm.1` where its modules are called `norm1`.
_DOTTED = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


class Backbone(nn.Module):
    """What every backbone of this plugin carries.

    Attributes:
        num_features: channels of the feature map.
        last_block: prefixes of the names of the last block's parameters.
        input_mean, input_std: what torchvision's own weights expect of each channel.
    """

    num_features: int
    last_block: tuple[str, ...]
    input_mean: tuple[float, ...]
    input_std: tuple[float, ...]


class Features(nn.Sequential, Backbone):
    """The children of a model up to its feature map, one after the other.

    They keep their names, so that the keys of the state are upstream's.

    Args:
        children: in the order in which the image passes them.
    """

    def __init__(self, children: dict[str, nn.Module]) -> None:
        super().__init__(OrderedDict(children))


class Tokens(Backbone):
    """A vision transformer's patches after its encoder, laid out where they lie in the image.

    Args:
        transformer: whose parts become this one's, less its classifier.
    """

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        self.class_token = transformer.class_token  # (1, 1, C)
        self.conv_proj = transformer.conv_proj
        self.encoder = transformer.encoder

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) -> feature map (N, num_features, h, w)."""
        patches: Tensor = self.conv_proj(images)  # (N, C, h, w)
        tokens = patches.flatten(2).transpose(1, 2)  # (N, h * w, C)
        # `len(images)` would be a number, and an export would hold that batch for ever.
        classes = self.class_token.expand(images.shape[0], -1, -1)
        encoded: Tensor = self.encoder(torch.cat([classes, tokens], dim=1))[:, 1:]
        return encoded.transpose(1, 2).reshape(patches.shape)


def list_models() -> list[str]:
    """The names of torchvision's classifiers of images, in order."""
    return list(models.list_models(module=models))


def build_features(name: str, image_size: Size, pretrained: bool = False) -> Backbone:
    """Build the part of a torchvision model that its feature map depends on.

    Args:
        name: as torchvision names it.
        image_size: (H, W) in pixels; a vision transformer holds positions for just this size.
        pretrained: fetch the weights that torchvision calls the default ones.

    Returns:
        a module as `BackboneSpec.build` describes it, with the attributes of `Backbone`.

    Raises:
        UsageError: if torchvision has no such model, or if it cannot read images of this size.
    """
    _check_name(name)
    features = _without_head(name, image_size, pretrained)
    feature_map, grids = _trace(features, name, image_size)
    features.num_features = int(feature_map.shape[1])
    features.last_block = _last_block(features, grids)
    weights = models.get_model_weights(name).DEFAULT
    expected = PORTED if _architecture(name) in _PORTED else weights.transforms()
    features.input_mean, features.input_std = tuple(expected.mean), tuple(expected.std)
    if pretrained:
        shown = sys.stderr.isatty()  # in a log its bar would be one endless line
        state = weights.get_state_dict(check_hash=True, weights_only=True, progress=shown)
        load_weights(features, state, image_size)
    return features


def smallest_of_each(size: Size) -> Iterator[tuple[str, str | None, str]]:
    """See `TorchvisionFamily.smallest_of_each`."""
    members: defaultdict[str, list[str]] = defaultdict(list)
    for name in list_models():
        members[_architecture(name)].append(name)
    for architecture, names in sorted(members.items()):
        names.sort(key=lambda name: models.get_model_weights(name).DEFAULT.meta["num_params"])
        refusals = []
        for name in names:
            try:
                # RegNet reckons its widths with tensors, which must therefore hold numbers.
                with torch.device("cpu" if architecture == "regnet" else "meta"):
                    build_features(name, size)
            except UsageError as error:
                refusals.append(str(error))
            else:
                yield architecture, name, ""
                break
        else:
            yield architecture, None, refusals[0]


def _check_name(name: str) -> None:
    names = list_models()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3)
        hint = f" Nearest: {', '.join(f'torchvision/{found}' for found in near)}." if near else ""
        raise UsageError(f"torchvision {torchvision.__version__} has no model {name!r}.{hint}")


def _architecture(name: str) -> str:
    """The module of torchvision that defines a model: `resnet50` -> `resnet`."""
    return str(models.get_model_builder(name).__module__.rpartition(".")[2])


def _without_head(name: str, image_size: Size, pretrained: bool) -> Backbone:
    architecture = _architecture(name)
    settings: dict[str, Any] = {}
    if architecture == "vision_transformer":
        patch = int(name.rpartition("_")[2])
        if image_size[0] != image_size[1] or image_size[0] % patch:
            raise _refusal(
                name, image_size, f"square ones with a side that is a multiple of {patch}"
            )
        settings["image_size"] = image_size[0]
    elif architecture == "maxvit":
        # Halved five times, the image must divide into windows of 7x7.
        if any(side % 224 for side in image_size):
            raise _refusal(name, image_size, "those with sides that are multiples of 224")
        settings["input_size"] = image_size
    elif architecture in _PORTED:
        settings = {"aux_logits": False, "transform_input": False, "init_weights": not pretrained}
    model = models.get_model(name, weights=None, **settings)
    if architecture == "vision_transformer":
        return Tokens(model)
    children = {
        # MaxVit's blocks are a list, which its own forward goes through in order.
        child: nn.Sequential(*module) if isinstance(module, nn.ModuleList) else module
        for child, module in model.named_children()
        if child not in _BEHIND
    }
    if architecture == "densenet":  # its forward goes on from `features` with a function
        children["relu"] = nn.ReLU(inplace=True)
    return Features(children)


def _trace(features: Backbone, name: str, image_size: Size) -> tuple[Tensor, dict[str, Size]]:
    """The feature map of one image, and the (h, w) that each unit with parameters gives.

    Both belong to the meta device: shapes, no arithmetic. The units are in order of execution.
    """
    # Between its first and last steps, Swin passes on (N, h, w, C).
    first = 1 if hasattr(features, "permute") else 2
    grids: dict[str, Size] = {}
    hooks = [
        unit.register_forward_hook(
            lambda *call, name=name: grids.update({name: tuple(call[-1].shape[first : first + 2])})
        )
        for name, unit in _units(features)
        if any(True for _ in unit.parameters())
    ]
    state = {key: tensor.to("meta") for key, tensor in features.named_parameters()}
    state |= {key: tensor.to("meta") for key, tensor in features.named_buffers()}
    images = torch.empty(1, 3, *image_size, device="meta")
    was_training = features.training
    try:
        with torch.no_grad():
            return torch.func.functional_call(features.eval(), state, images), grids
    except RuntimeError as error:
        raise _refusal(name, image_size, "larger ones") from error
    finally:
        features.train(was_training)
        for hook in hooks:
            hook.remove()


def _units(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """What a model runs one after the other, with the prefixes of its parameters' names."""
    for name, child in module.named_children():
        if isinstance(child, nn.Sequential):
            yield from _units(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}.", child


def _last_block(features: Backbone, grids: dict[str, Size]) -> tuple[str, ...]:
    """Prefixes of the parameters behind the last step from one (h, w) to another.

    A vision transformer has no such step: its last layer, and the norm that follows.
    """
    if isinstance(features, Tokens):
        *_, last = features.encoder.layers.named_children()
        return (f"encoder.layers.{last[0]}.", "encoder.ln.")
    units = list(grids)
    start = len(units)
    while start > 1 and grids[units[start - 1]] == grids[units[-1]]:
        start -= 1
    before = units[:start]
    shortest = (
        next(
            begins
            for begins in _prefixes(unit)
            if not any(name.startswith(begins) for name in before)
        )
        for unit in units[start:]
    )
    return tuple(dict.fromkeys(shortest))


def _prefixes(prefix: str) -> Iterator[str]:
    """`a.b.` -> `a.`, `a.b.`"""
    return (prefix[: dot.end()] for dot in re.finditer(r"\.", prefix))


def load_weights(features: Backbone, state: dict[str, Tensor], image_size: Size) -> None:
    """Load torchvision's weights strictly, less the classifier.

    Positions for another size than theirs are interpolated, as torchvision's own reference does.
    """
    state = {
        _DOTTED.sub(r"\1\2", key): tensor
        for key, tensor in state.items()
        if not key.startswith(HEADS)
    }
    if isinstance(features, Tokens):
        patch = features.conv_proj.kernel_size[0]
        state = interpolate_embeddings(image_size[0], patch, OrderedDict(state))
    features.load_state_dict(state)


def _refusal(name: str, image_size: Size, readable: str) -> UsageError:
    height, width = image_size
    return UsageError(
        f"torchvision/{name} cannot read images of {height}x{width} pixels, only {readable}. "
        "Give another --image-size."
    )

"""A spec becomes a module here, together with what it reads, for the checks to ask."""

from __future__ import annotations

import contextlib
import unittest
from typing import TYPE_CHECKING, Any

from wbczoo.specs import BackboneSpec, SequenceSpec, Size
from wbczoo.text import describe_error

if TYPE_CHECKING:
    from torch import Tensor, nn

    from wbczoo.model.fused import FusedClassifier

ModuleSpec = BackboneSpec | SequenceSpec

IMAGE_SIZE: Size = (224, 224)  # of a branch, which declares none
CHANNELS, GRID = 32, (7, 7)  # of the feature map that a branch is given
HIDDEN = 64


class CheckFailed(AssertionError):  # noqa: N818 - what was found, no fault of the kit
    """What a check found; the message is a sentence for the plugin's author."""


class NotApplicable(unittest.SkipTest):
    """Why a check was not run: pytest counts it as skipped."""


def build_module(spec: ModuleSpec, seed: int = 0) -> nn.Module:
    """The part as the builder makes it, with its default options, in evaluation mode.

    Raises:
        NotApplicable: if it does not build, which `check_builds` tells of.
    """
    try:
        module: nn.Module = build_bare(spec, seed)
        return module.eval()
    except Exception as error:
        raise NotApplicable(f"It does not build: {describe_error(error)}") from error


def build_bare(spec: ModuleSpec, seed: int, image_size: Size | None = None, **settings: Any) -> Any:
    """Whatever `build` returns; its errors rise as they are."""
    import torch

    settings |= {"image_size": image_size or size_of(spec), **spec.options}
    if isinstance(spec, SequenceSpec):
        settings["in_channels"] = CHANNELS if spec.reads == "features" else None
        settings["hidden"] = HIDDEN
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return spec.build(**settings)


def size_of(spec: ModuleSpec) -> Size:
    """(H, W) of the images that the part is checked with."""
    return spec.preprocessing.size if isinstance(spec, BackboneSpec) else IMAGE_SIZE


def noise(spec: ModuleSpec, count: int, seed: int = 0, size: Size | None = None) -> Tensor:
    """What the part reads, from images of noise: of its backbone's form or its branch's."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    return read_as(
        spec, torch.rand(count, *shape_of(spec, size or size_of(spec)), generator=generator)
    )


def shape_of(spec: ModuleSpec, size: Size) -> tuple[int, ...]:
    """The shape of one image, grey image or feature map."""
    if isinstance(spec, BackboneSpec) or spec.reads == "colours":
        return (3, *size)
    return size if spec.reads == "pixels" else (CHANNELS, *GRID)


def read_as(spec: ModuleSpec, scaled: Tensor) -> Tensor:
    """Images in [0, 1] as the part reads them: a backbone's are normalised."""
    import torch

    if not isinstance(spec, BackboneSpec):
        return scaled
    mean = torch.tensor(spec.preprocessing.mean).view(3, 1, 1)
    std = torch.tensor(spec.preprocessing.std).view(3, 1, 1)
    return (scaled - mean) / std


def answer(module: nn.Module, read: Tensor) -> Tensor:
    """What the module answers, without gradients.

    Raises:
        NotApplicable: if it does not answer with a tensor, which `check_num_features` tells of.
    """
    import torch

    try:
        with torch.no_grad():
            found = module(read)
    except Exception as error:
        raise NotApplicable(f"Its forward fails: {describe_error(error)}") from error
    if not isinstance(found, torch.Tensor) or found.ndim < 2:
        raise NotApplicable("Its forward gives no tensor (N, ...).")
    return found


def compose_alone(spec: ModuleSpec, seed: int = 0) -> FusedClassifier:
    """The part in a classifier of its own, as the builder would fuse it, in evaluation mode.

    A branch that reads features stands behind a convolution. What the classifier takes the part's
    width for is what its forward gives, so that a width that lies is told by its own check alone.
    """
    import torch
    from torch import nn

    from wbczoo.config import ModelConfig, Part, Preprocessing
    from wbczoo.model.fused import FusedClassifier

    module = build_module(spec, seed)
    width = answer(module, noise(spec, 2)).shape[1]
    with contextlib.suppress(AttributeError):  # a property
        module.num_features = width  # type: ignore[assignment]
    part = Part(name=spec.name)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if isinstance(spec, BackboneSpec):
            config = ModelConfig(backbone=part, preprocessing=_sane(spec.preprocessing))
            model = FusedClassifier(config, module, None, "pixels")
        else:
            config = ModelConfig(sequence=part, preprocessing=Preprocessing(size=IMAGE_SIZE))
            stem = None
            if spec.reads == "features":
                stem = nn.Conv2d(3, CHANNELS, 32, stride=32)
                stem.num_features, stem.last_block = CHANNELS, ("weight",)  # type: ignore[assignment]
            model = FusedClassifier(config, stem, module, spec.reads)
    return model.eval()


def _sane(preprocessing: Any) -> Any:
    """The declared preprocessing; a mean or std that cannot be is told by its own check."""
    from pydantic import ValidationError

    from wbczoo.config import ModelConfig, Preprocessing

    try:
        return ModelConfig(preprocessing=preprocessing).preprocessing
    except ValidationError:
        return Preprocessing(size=preprocessing.size)


def disturb(module: nn.Module, seed: int = 2) -> None:
    """Move every parameter and every statistic from where it starts, a little.

    What starts at zero or one (a residual's scale, a batch-norm's statistics) hides what it
    multiplies.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in module.parameters():
            value.add_(torch.randn(value.shape, generator=generator) * 0.02)
        for name, statistic in module.named_buffers():
            if name.endswith("running_mean"):
                statistic.add_(torch.randn(statistic.shape, generator=generator) * 0.1)
            elif name.endswith("running_var"):
                statistic.mul_(0.5 + torch.rand(statistic.shape, generator=generator))

"""Names of parts become a config here, and a config becomes a model."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from wbczoo import registry
from wbczoo.config import ModelConfig, Part, parse_options, told
from wbczoo.entries import Entry
from wbczoo.errors import UsageError, WbczooError
from wbczoo.images import find_crop
from wbczoo.specs import Size
from wbczoo.tasks import DEFAULT, Task

if TYPE_CHECKING:
    from wbczoo.model import FusedClassifier


def compose(
    backbone: str,
    sequence: str = "none",
    *,
    tasks: Sequence[Task] = DEFAULT,
    hidden: int = 64,
    image_size: Size | None = None,
    crop: str = "none",
    backbone_options: tuple[str, ...] = (),
    sequence_options: tuple[str, ...] = (),
) -> ModelConfig:
    """Check a composition and write it down, without importing a framework.

    Args:
        image_size: (H, W) in pixels; the backbone's own if None.
        crop: the name of a step in `wbczoo.images.CROPS`.
        backbone_options, sequence_options: `NAME=VALUE` for options that the part declares.

    Raises:
        UsageError: for an unknown or unusable part, an option that it does not have, a pair
            that has nothing to read, tasks of one name, or a size that is none.
    """
    backbone_entry = registry.backbones.find(backbone)
    sequence_entry = registry.sequences.find(sequence)
    backbone_spec, sequence_spec = backbone_entry.spec, sequence_entry.spec
    assert backbone_spec is not None
    assert sequence_spec is not None
    if backbone_spec.name == "none" and sequence_spec.name == "none":
        raise UsageError(
            "Neither a backbone nor a sequence branch was chosen, so nothing would read the image."
            " Choose at least one: `wbczoo list` shows them."
        )
    if backbone_spec.name == "none" and sequence_spec.reads == "features":
        raise UsageError(
            f"The sequence branch {sequence!r} reads a backbone's feature map, and the backbone is"
            " `none`. Choose a backbone, or a branch that reads pixels, such as bilstm."
        )
    preprocessing = backbone_spec.preprocessing
    if image_size is not None:
        preprocessing = replace(preprocessing, size=image_size)
    if crop != "none":
        find_crop(crop)
        preprocessing = replace(preprocessing, crop=crop)
    try:
        return ModelConfig(
            backbone=_part(backbone_entry, backbone_options),
            sequence=_part(sequence_entry, sequence_options),
            hidden=hidden,
            tasks=tuple(tasks),
            preprocessing=preprocessing,
        )
    except ValidationError as error:
        raise UsageError(f"This composition cannot be: {told(error)}") from None


def build(config: ModelConfig, *, weights: str = "none", seed: int = 0) -> FusedClassifier:
    """Build a new model with initial weights.

    Args:
        weights: `none`, `imagenet`, or the path of a safetensors file for the backbone.
        seed: of all that starts at random; torch's own random state is left as it was.

    Returns:
        the model; its `config` says where the weights came from, and its preprocessing is the
        one that came with them.

    Raises:
        UsageError: if a part cannot be used here, or there is no such weights file.
        WbczooError: if the weights cannot be had or do not fit.
    """
    import torch

    from wbczoo import weights as initial

    found = initial.find(config.backbone.name, weights)
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would seed the GPUs' generators too.
        torch.default_generator.manual_seed(seed)
        backbone = _build_backbone(config, pretrained=found.from_hub)
        if backbone is not None:
            spec = registry.backbones.spec(config.backbone.selector)
            initial.load(backbone, found, spec)
            config = config.model_copy(
                update={
                    "weights": found.origin,
                    "preprocessing": initial.preprocessing_of(config, backbone, found),
                }
            )
        return _fuse(config, backbone)


def rebuild(config: ModelConfig) -> FusedClassifier:
    """Build the model that a run's config describes, for its state to be loaded into.

    Raises:
        UsageError: if a part that the run used is not installed.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        return _fuse(config, _build_backbone(config, pretrained=False))


def _fuse(config: ModelConfig, backbone: Any) -> FusedClassifier:
    from wbczoo.model import FusedClassifier

    spec = registry.sequences.spec(config.sequence.selector)
    reads_map = spec.reads == "features"
    with _plugin_named(config.sequence.name):
        sequence = spec.build(
            image_size=config.preprocessing.size,
            in_channels=backbone.num_features if reads_map and backbone is not None else None,
            hidden=config.hidden,
            **config.sequence.options,
        )
    return FusedClassifier(config, backbone, sequence, spec.reads)


def _build_backbone(config: ModelConfig, *, pretrained: bool) -> Any:
    from wbczoo import weights as initial

    spec = registry.backbones.spec(config.backbone.selector)
    settings = {"image_size": config.preprocessing.size, **config.backbone.options}
    if not pretrained:
        with _plugin_named(spec.name):
            return spec.build(**settings)
    with initial.hub_explained(spec.name):
        return spec.build(pretrained=True, **settings)


def _part(entry: Entry[Any], options: tuple[str, ...]) -> Part:
    assert entry.spec is not None
    return Part(
        name=entry.name,
        distribution=entry.distribution,
        version=entry.version,
        options=parse_options(options, dict(entry.spec.options)),
    )


@contextlib.contextmanager
def _plugin_named(name: str) -> Any:
    """A plugin's failure, told with the plugin's name."""
    try:
        yield
    except WbczooError:
        raise
    except Exception as error:
        raise WbczooError(
            f"The part {name!r} could not be built: {type(error).__name__}: "
            f"{(str(error).splitlines() or ['no reason given'])[0]}"
        ) from error

"""Names of parts become a checked config here, without importing a framework."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from wbczoo import registry
from wbczoo.config import ModelConfig, Part, describe_findings, parse_options
from wbczoo.errors import UsageError
from wbczoo.images import find_crop
from wbczoo.registry.entry import Entry
from wbczoo.specs import Size
from wbczoo.tasks import DEFAULT, Task


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
        raise UsageError(f"This composition cannot be: {describe_findings(error)}") from None


def _part(entry: Entry[Any], options: tuple[str, ...]) -> Part:
    assert entry.spec is not None
    return Part(
        name=entry.name,
        distribution=entry.distribution,
        version=entry.version,
        options=parse_options(options, dict(entry.spec.options)),
    )

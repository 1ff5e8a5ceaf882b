"""Names of parts become a checked config here, without importing a framework."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pydantic import ValidationError

from wbczoo import registry
from wbczoo.cells.crop import finder_sha256
from wbczoo.config import ModelConfig, Part
from wbczoo.errors import UsageError
from wbczoo.images import find_crop
from wbczoo.parts import describe_findings
from wbczoo.specs import Size
from wbczoo.tasks import DEFAULT, Task, parse


def compose(
    backbone: str,
    sequence: str = "none",
    *,
    tasks: Sequence[str | Task] = DEFAULT,
    hidden: int = 64,
    image_size: int | Size | None = None,
    crop: str = "none",
    backbone_options: Mapping[str, object] | None = None,
    sequence_options: Mapping[str, object] | None = None,
) -> ModelConfig:
    """Check a composition and write it down, without importing a framework.

    Args:
        tasks: shipped names, `name=class,class` for one's own, or `wbczoo.tasks.Task`.
        hidden: units of the sequence branch in one direction.
        image_size: (H, W) in pixels, or one number for both; the backbone's own if None.
        crop: the name of a step in `wbczoo.images.CROPS`.
        backbone_options, sequence_options: name -> value of options that the part declares.

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
        size = (image_size, image_size) if isinstance(image_size, int) else image_size
        preprocessing = replace(preprocessing, size=size)
    if crop != "none":
        preprocessing = replace(preprocessing, crop=crop)
    if preprocessing.crop != "none":
        find_crop(preprocessing.crop)
    try:
        return ModelConfig(
            backbone=Part.of(backbone_entry, backbone_options),
            sequence=Part.of(sequence_entry, sequence_options),
            hidden=hidden,
            tasks=parse(tasks) if tasks else (),
            preprocessing=preprocessing,
            finder_sha256=finder_sha256() if preprocessing.finds_cell else "",
        )
    except ValidationError as error:
        raise UsageError(f"This composition cannot be: {describe_findings(error)}") from None


def explain_random(networks: Iterable[tuple[str, str, str]]) -> str | None:
    """A sentence about backbones that are neither learned already nor learn; None without any.

    Args:
        networks: (backbone, initial weights, what of it trains) of each that is to be trained.
    """
    random = dict.fromkeys(
        backbone
        for backbone, weights, trainable in networks
        if backbone != "none" == weights and trainable == "head"
    )
    if not random:
        return None
    return (
        f"{', '.join(random)}: the backbone has no weights and is frozen, so it stays random, "
        "and only heads and branches learn. Give it weights (--weights), or say --trainable all"
    )

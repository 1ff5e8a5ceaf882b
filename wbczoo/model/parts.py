"""A config's two halves become modules here, by the specs that plugins declare."""

from __future__ import annotations

from typing import Any

from wbczoo import registry
from wbczoo.config import ModelConfig
from wbczoo.registry.sandbox import explained
from wbczoo.specs import Reads


def build_sequence(config: ModelConfig, backbone: Any) -> tuple[Any, Reads]:
    """A config's sequence branch, or None, and what it reads.

    Args:
        backbone: the built one, whose width a branch takes that reads features.
    """
    spec = registry.sequences.spec(config.sequence.selector)
    reads_map = spec.reads == "features"
    with explained(f"The part {config.sequence.name!r} could not be built"):
        sequence = spec.build(
            image_size=config.preprocessing.size,
            in_channels=backbone.num_features if reads_map and backbone is not None else None,
            hidden=config.hidden,
            **{**spec.formerly, **config.sequence.options},
        )
    return sequence, spec.reads


def build_backbone(config: ModelConfig, *, pretrained: bool = False, own: bool = False) -> Any:
    """A config's backbone, as torch module or None.

    Args:
        pretrained: with weights that its plugin fetches; `own`: those of the plugin's own making.
    """
    from wbczoo.model import weights as initial

    spec = registry.backbones.spec(config.backbone.selector)
    options = {**spec.formerly, **config.backbone.options}
    settings = {"image_size": config.preprocessing.size, **options}
    if not pretrained:
        with explained(f"The part {spec.name!r} could not be built"):
            return spec.build(**settings)
    what = "pretrained" if own else "ImageNet"
    with initial.hub_explained(spec.name, what):
        return spec.build(pretrained=True, **settings)


def add_adapters(backbone: Any) -> None:
    """Let a backbone put its adapters beside the layers that have their initial weights."""
    if (add := getattr(backbone, "add_adapters", None)) is not None:
        add()

"""A config's two halves become modules here, by the specs that plugins declare."""

from __future__ import annotations

from numbers import Integral  # numpy's whole numbers too
from typing import Any, cast

from wbczoo import registry
from wbczoo.config import ModelConfig
from wbczoo.errors import WbczooError
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
    _check(config.sequence.name, sequence)
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
            backbone = spec.build(**settings)
    else:
        with initial.hub_explained(spec.name, "pretrained" if own else "ImageNet"):
            backbone = spec.build(pretrained=True, **settings)
    _check(spec.name, backbone)
    return backbone


def _check(name: str, module: Any) -> None:
    """See that a part can be composed; `none` is no module."""
    from torch import nn

    if name == "none":
        return
    if not isinstance(module, nn.Module):
        raise WbczooError(
            f"The part {name!r} cannot be used: its `build` returns a {type(module).__name__}, "
            "not a torch module. Tell its author; `wbczoo plugin check` says more."
        )
    width = getattr(module, "num_features", None)
    if not isinstance(width, Integral) or width < 1:
        raise WbczooError(
            f"The part {name!r} cannot be used: its `num_features` is {width!r}, and no whole "
            "number above 0. Tell its author; `wbczoo plugin check` says more."
        )


def find_last_block(name: str, backbone: Any) -> tuple[str, ...]:
    """The prefixes of the parameters that `--trainable last-block` opens.

    Raises:
        WbczooError: if the backbone names none that it has.
    """
    found = getattr(backbone, "last_block", None)
    texts = isinstance(found, tuple) and all(isinstance(prefix, str) for prefix in found)
    if texts and any(each.startswith(found) for each, _ in backbone.named_parameters()):
        return cast(tuple[str, ...], found)
    raise WbczooError(
        f"The part {name!r} has no last block that could be opened: its `last_block` is {found!r}, "
        "and no tuple of prefixes of its parameters' names. Say --trainable head or all, and tell "
        "its author; `wbczoo plugin check` says more."
    )


def add_adapters(backbone: Any) -> None:
    """Let a backbone put its adapters beside the layers that have their initial weights."""
    if (add := getattr(backbone, "add_adapters", None)) is not None:
        add()

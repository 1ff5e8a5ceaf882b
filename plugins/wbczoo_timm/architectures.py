"""timm's architectures, each with the smallest of its models."""

from __future__ import annotations

from collections.abc import Iterator

import timm
import torch
from timm.models import get_pretrained_cfg

from wbczoo.specs import Size
from wbczoo_timm.features import create


def smallest_of_each(size: Size) -> Iterator[tuple[str, str | None, str]]:
    """The smallest model of each module of timm's, by its number of parameters.

    Models that timm keeps for its own tests (`test_...`) do not count.

    Args:
        size: (H, W) in pixels; models whose weights hold them to another size come last.

    Yields:
        architecture, the model's name or None, and why there is none.
    """
    for architecture in timm.list_modules():
        models = timm.list_models(module=architecture)
        real = [name for name in models if not name.startswith("test_")]
        sized = sorted((_is_of_another(name, size), _count_parameters(name), name) for name in real)
        member = next((name for _, _, name in sized if _accepts(name, size)), None)
        reason = "" if member else f"none of its models takes {size[0]} x {size[1]} pixels"
        yield architecture, member, reason


def _is_of_another(name: str, size: Size) -> bool:
    """Whether a model's weights hold it to another size."""
    config = get_pretrained_cfg(name)
    return config is not None and config.fixed_input_size and config.input_size[1:] != size


def _count_parameters(name: str) -> int:
    with torch.device("meta"):
        model = timm.create_model(name)
    return sum(parameter.numel() for parameter in model.parameters())


def _accepts(name: str, size: Size) -> bool:
    """Whether timm's own model answers an image of a size, found without arithmetic."""
    try:
        with torch.device("meta"):
            create(name, size, pretrained=False).eval()(torch.empty(1, 3, *size))
    except Exception:
        return False
    return True

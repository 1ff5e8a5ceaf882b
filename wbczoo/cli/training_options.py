"""The settings of a training become options here, as `TrainConfig` declares them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args, get_origin

import click

from wbczoo.cli.options import together
from wbczoo.config import TrainConfig

F = TypeVar("F", bound=Callable[..., Any])


def training_options(**help_of: str) -> Callable[[F], F]:
    """Settings of a training by their names, with the values and defaults of `TrainConfig`."""
    return together(*(_setting(name, told) for name, told in help_of.items()))


def _setting(name: str, help_text: str, default: Any = None) -> Callable[[F], F]:
    field = TrainConfig.model_fields[name]
    default = field.default if default is None else default
    option = "--" + name.replace("_", "-")
    kind: Any = type(field.default)
    if get_origin(field.annotation) is Literal:
        kind = click.Choice(get_args(field.annotation))
    elif kind is bool:
        option = f"{option}/--no-{option[2:]}"
    else:
        limits = {
            key: getattr(each, key)
            for each in field.metadata
            for key in ("gt", "ge", "le")
            if hasattr(each, key)
        }
        lowest = limits.get("ge", limits.get("gt"))
        ranges: Any = click.IntRange if kind is int else click.FloatRange
        kind = ranges(lowest, limits.get("le"), min_open="gt" in limits)
    return click.option(option, type=kind, default=default, show_default=True, help=help_text)


def trainable_option(default: str = "head") -> Callable[[F], F]:
    """`--trainable`: what of the backbone trains."""
    told = "What of the backbone trains; a frozen part keeps its batch-norm statistics too."
    return _setting("trainable", told, default)

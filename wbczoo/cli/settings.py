"""Options of the command line are made here from the fields of `TrainConfig`, which states them."""

from __future__ import annotations

from collections.abc import Callable
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from wbczoo.cli.options import Real, together
from wbczoo.config import TrainConfig

F = TypeVar("F", bound=Callable[..., Any])

_NO_OPTION = ("dataset", "datasets", "earlier")
_WIDER = {"fold": click.STRING}  # a number, or `all`


def setting(name: str, **changed: Any) -> Callable[[F], F]:
    """The option of one field of `TrainConfig`: its type, bounds, default and help.

    Args:
        changed: arguments of `click.option` that a command wants otherwise, such as `default`.
    """
    field = TrainConfig.model_fields[name]
    flag = f"--{name.replace('_', '-')}"
    described: dict[str, Any] = {
        "type": _WIDER.get(name) or _type_of(field),
        "default": field.default,
        "show_default": field.default is not None,
        "help": field.description,
        **changed,
    }
    if field.annotation is bool:
        flag = f"{flag}/--no-{flag[2:]}"
    return click.option(flag, **described)


def settings() -> Callable[[F], F]:
    """The options of all fields, in their order; others have options of their own, or none."""
    return together(*(setting(name) for name in TrainConfig.model_fields if name not in _NO_OPTION))


def split_settings(shown: str) -> Callable[[F], F]:
    """Which photographs train, validate and test, where something else gives the default.

    Args:
        shown: what is said of that default.
    """
    said = f"{TrainConfig.model_fields['protocol'].description}  [default: {shown}]"
    return together(
        setting("protocol", default=None, show_default=False, help=said),
        setting("part"),
        setting("fold"),
    )


def _type_of(field: FieldInfo) -> click.ParamType[Any]:
    kind = field.annotation
    if NoneType in get_args(kind):
        (kind,) = (each for each in get_args(kind) if each is not NoneType)
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind))
    if kind is str:
        return click.STRING
    if kind is bool:
        return click.BOOL
    bounds: dict[str, Any] = {}
    for bound in field.metadata:
        if isinstance(bound, Ge):
            bounds["min"] = bound.ge
        elif isinstance(bound, Gt):
            bounds.update(min=bound.gt, min_open=True)
        elif isinstance(bound, Le):
            bounds["max"] = bound.le
        elif isinstance(bound, Lt):
            bounds.update(max=bound.lt, max_open=True)
    return click.IntRange(**bounds) if kind is int else Real(**bounds)

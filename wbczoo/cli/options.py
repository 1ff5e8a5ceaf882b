"""Options that several commands share, each declared once, and how results are printed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from wbczoo.cli.results import echo, stream
from wbczoo.errors import UsageError
from wbczoo.tasks import DEFAULT, parse

if TYPE_CHECKING:  # `list` and --help start without pydantic
    from wbczoo.config import ModelConfig

F = TypeVar("F", bound=Callable[..., Any])

_WIDEST = 100  # characters of a table's last column, before it is wrapped

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, in their order."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


class Real(click.FloatRange):
    """A number within limits; no limit holds `nan`, and nothing is measured or lasts `inf`."""

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> float:
        number: float = super().convert(value, parameter, context)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", parameter, context)
        return number


def _parse_tasks(ctx: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> Any:
    return parse(texts) if texts else ()


def parse_pairs(
    ctx: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, str]:
    """Names and values of an option that is repeated, NAME=VALUE each."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value) or name in found:
            told = f"{parameter.opts[0]} takes {parameter.metavar}, each once"
            raise UsageError(f"{told}; it was given {text!r}.")
        found[name] = value
    return found


def pairs_option(flag: str, name: str) -> Callable[[F], F]:
    """An option that is repeated, NAME=VALUE each, as a mapping."""
    return click.option(flag, name, multiple=True, metavar="NAME=VALUE", callback=parse_pairs)


tasks_option = click.option(
    "--task",
    "tasks",
    multiple=True,
    callback=_parse_tasks,
    help="A task, NAME=CLASS,CLASS, or own for all classes of the data; repeat it.  [default: cell "
    "and nucleus]",
)


def composition_options(default_weights: str) -> Callable[[F], F]:
    """What decides a composition: parts, tasks, sizes and initial weights."""
    return together(
        click.option("--backbone", default="none", show_default=True, help="A backbone's name."),
        click.option(
            "--seq", "sequence", default="none", show_default=True, help="A sequence branch's name."
        ),
        tasks_option,
        click.option(
            "--hidden",
            type=click.IntRange(1, 65_536),
            default=64,
            show_default=True,
            help="Units of the branch.",
        ),
        click.option(
            "--image-size",
            type=click.IntRange(32, 4096),
            help="Height and width in pixels.  [default: the backbone's own]",
        ),
        click.option(
            "--crop",
            default="none",
            show_default=True,
            help="What of a photograph is shown: none for all of it, cell for its best white "
            "cell, cell-wide for more of what is around it, or the older white-cell.",
        ),
        pairs_option("--backbone-option", "backbone_options"),
        pairs_option("--seq-option", "sequence_options"),
        click.option(
            "--weights",
            default=default_weights,
            show_default=True,
            help="The backbone's initial weights: none, imagenet, pretrained for its plugin's own, "
            "or a safetensors file.",
        ),
    )


device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
    help="Where to compute.",
)


out_option = click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="A new folder for the result."
)


def compose_from(options: dict[str, Any]) -> ModelConfig:
    """The composition of `composition_options`, which are taken out of `options`."""
    from wbczoo.model.compose import compose

    names = ("backbone", "sequence", "tasks", "hidden", "image_size", "crop")
    chosen = {name: options.pop(name) for name in (*names, "backbone_options", "sequence_options")}
    chosen["tasks"] = chosen["tasks"] or DEFAULT
    return compose(**chosen)


def print_json(document: Mapping[str, Any]) -> None:
    """A JSON document of format 1 on stdout; NaN would be no JSON and is refused."""
    whole = {"format": 1, **document}
    text = json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(getattr(stream(), "encoding", None) or "utf-8")
    except UnicodeEncodeError:  # JSON's own escapes read back as the same
        text = json.dumps(whole, indent=2, allow_nan=False)
    echo(text)


def print_table(rows: Sequence[Sequence[object]], headers: Sequence[str]) -> None:
    """A table on stdout."""
    from tabulate import tabulate

    # By hand: tabulate's own wrapping takes 8,646 for a number and fails on it.
    wrapped = [(*row[:-1], _wrapped(str(row[-1]))) for row in rows]
    echo(tabulate(wrapped, headers=headers, tablefmt="simple", disable_numparse=True))


def print_facts(
    document: Mapping[str, Any], as_json: bool, rows: Iterable[tuple[str, object]]
) -> None:
    """A result on stdout: as JSON, or for a reader as a table of what and value."""
    if as_json:
        print_json(document)
    else:
        print_table([*rows], ("what", "value"))


def _wrapped(text: str) -> str:
    import textwrap

    # A path stays in one piece, so that it can be copied.
    lines = [
        textwrap.fill(line, _WIDEST, break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    ]
    return "\n".join(lines)

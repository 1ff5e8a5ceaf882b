"""The options by which a study's plan is made: what is compared, on which data, how trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from wbczoo.cli.datasets import data_from, data_sources, dataset_options
from wbczoo.cli.options import tasks_option, together
from wbczoo.cli.settings import setting
from wbczoo.config import TrainConfig

F = TypeVar("F", bound=Callable[..., Any])

# Which a plan has lists of, or says itself.
_OTHERWISE = ("dataset", "datasets", "earlier", "protocol", "fold", "hold_out", "seed")


def plan_options() -> Callable[[F], F]:
    """DATA, the parts that are compared, protocols, seeds, and how each is trained."""

    def several(flag: str, name: str, told: str, *default: str) -> Callable[[F], F]:
        return click.option(
            flag, name, multiple=True, default=default, show_default=bool(default), help=told,
            metavar="NAME",
        )  # fmt: skip

    return together(
        data_sources,
        dataset_options,
        several("--backbone", "backbones", "A backbone; repeat it.", "none"),
        several("--seq", "sequences", "A sequence branch; repeat it.", "none"),
        several("--baseline", "baselines", "A baseline, which is no network; repeat it."),
        click.option(
            "--protocol",
            "protocols",
            multiple=True,
            type=click.Choice(["grouped", "official", "report", "laboratory"]),
            help="How photographs are split; report is LEAKY. Repeat it.  [default: grouped; "
            "laboratory, each held out in turn, where there are several data sets]",
        ),
        click.option(
            "--seeds",
            type=click.IntRange(1, 1000),
            default=3,
            show_default=True,
            help="How often each is trained.",
        ),
        tasks_option,
        click.option("--hidden", type=click.IntRange(1, 65_536), help="Units of a branch."),
        click.option(
            "--image-size",
            type=click.IntRange(32, 4096),
            help="Height and width in pixels.  [default: each backbone's own]",
        ),
        click.option(
            "--crop", help="As of train: none, cell, cell-wide or white-cell.  [default: none]"
        ),
        click.option(
            "--weights",
            type=click.Choice(["imagenet", "none"]),
            default="imagenet",
            show_default=True,
            help="The backbones' initial weights.",
        ),
        *(
            setting(name, **_CHANGED.get(name, {}))
            for name in TrainConfig.model_fields
            if name not in _OTHERWISE
        ),
    )


# Frozen backbones are computed once for all seeds and rates where nothing else is asked.
_CHANGED: dict[str, dict[str, Any]] = {"precision": {"default": "fp32"}}


def plan_from(options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `new_plan` from all of `plan_options`; settings by default are left out."""
    data: Path | dict[str, Path] = data_from(options)
    options["protocols"] = options["protocols"] or (
        ("laboratory",) if isinstance(data, dict) else ("grouped",)
    )
    fields = TrainConfig.model_fields
    said = {
        name: value
        for name, value in options.items()
        if name not in fields or name == "dataset" or value != fields[name].default
    }
    return {"data": data, **said}

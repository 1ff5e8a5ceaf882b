"""Options that say which data are read, where they lie and how they are split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from wbczoo.cli.options import F, pairs_option, parse_pairs, together
from wbczoo.errors import UsageError

if TYPE_CHECKING:  # `list` and --help start without pydantic
    from wbczoo.config import Part, TrainConfig
    from wbczoo.registry.entry import Entry
    from wbczoo.specs import DatasetSpec

# Options of the data set `folder`, and their flags.
_FOLDER = {
    "photograph_from": "--photograph-from",
    "each_file_a_photograph": "--each-file-a-photograph",
    "labels": "--label",
    "labels_from": "--labels",
}


def _parse_paths(
    ctx: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, Path]:
    return {name: Path(path) for name, path in parse_pairs(ctx, parameter, texts).items()}


def data_option(told: str, **settings: Any) -> Callable[[F], F]:
    """`--data`, in `given`: data set -> where it lies."""
    return click.option(
        "--data", "given", multiple=True, metavar="DATASET=PATH", callback=_parse_paths,
        help=told, **settings,
    )  # fmt: skip


dataset_options = together(
    click.option("--dataset", default="folder", show_default=True, help="A data set's name."),
    click.option(
        "--photograph-from",
        metavar="REGEX|CSV",
        help="For folder: how a file's photograph is told, by its path or by a table.",
    ),
    click.option(
        "--each-file-a-photograph",
        is_flag=True,
        help="For folder: state that each file is a photograph of its own; the card records it.",
    ),
    click.option(
        "--label",
        "labels",
        multiple=True,
        metavar="RAW=CLASS",
        help="For folder: what a folder's name means, such as 0=neutrophil; repeat it.",
    ),
    click.option(
        "--labels",
        "labels_from",
        metavar="CSV",
        help="For folder: a table of file and label, and maybe photograph, slide, patient, group, "
        "split and laboratory, instead of class folders.",
    ),
    pairs_option("--dataset-option", "dataset_options"),
)


def _one_place(
    ctx: click.Context, parameter: click.Parameter, paths: tuple[Path, ...]
) -> Path | None:
    if len(paths) > 1:
        named = " ".join(f"--data folder@{path.stem}={path}" for path in paths)
        several = any(each.name == "sources" for each in ctx.command.params)
        cure = (
            f"Name each, and whose it is, in its place: {named}"
            if several
            else f"Ask of each by itself: {ctx.command_path} {paths[0]}. Several are joined by the "
            f"verbs that train and evaluate: {named}"
        )
        raise UsageError(f"DATA is one data set, and {len(paths)} were given. {cure}")
    return paths[0] if paths else None


data_argument = click.argument(
    "data", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="DATA",
    callback=_one_place,
)  # fmt: skip

data_sources = together(
    click.argument(
        "data", type=click.Path(path_type=Path), nargs=-1, metavar="[DATA]", callback=_one_place
    ),
    click.option(
        "--data",
        "sources",
        multiple=True,
        metavar="NAME[@LABORATORY]=PATH",
        callback=_parse_paths,
        help="Instead of DATA, a data set's name and its folder or archive; repeat it for several.",
    ),
)


def data_from(options: dict[str, Any]) -> Path | dict[str, Path]:
    """The data of `data_sources`, which are taken out; of one data set its name and options stay.

    Raises:
        UsageError: unless either DATA or --data is given, and for --dataset beside --data.
    """
    data, sources = options.pop("data"), options.pop("sources")
    if (data is None) == (not sources):
        if data is None:
            raise UsageError("Name the data: a folder, or each data set by --data NAME=PATH.")
        raise UsageError(
            f"{data} is given alone and others by name. Name it too: --data folder={data}"
        )
    name = options["dataset"]
    if sources and name != "folder":
        raise UsageError("--data names its data sets: leave out --dataset.")
    _, values = _named_dataset(options)
    if not sources or values:
        options.update(dataset=name, dataset_options=values)
    return cast(dict[str, Path], sources) or cast(Path, data)


def dataset_from(options: dict[str, Any]) -> Part:
    """The data set as a config's part, from `dataset_options`, which are taken out."""
    from wbczoo.config import Part

    return Part.of(*_named_dataset(options))


def _named_dataset(options: dict[str, Any]) -> tuple[Entry[DatasetSpec], dict[str, object]]:
    from wbczoo.registry import datasets

    entry = datasets.find(options.pop("dataset"))
    assert entry.spec is not None
    values = options.pop("dataset_options")
    options["labels"] = "/".join(sorted(options["labels"]))
    for name, flag in _FOLDER.items():
        given = options.pop(name)
        if not given:
            continue
        if name not in entry.spec.options:
            raise UsageError(
                f"The data set {entry.name!r} tells its photographs and labels; leave out {flag}."
            )
        values[name] = given
    return entry, values


def parse_fold(text: str | None) -> int | Literal["all"] | None:
    """`--fold`: a number, `all`, or None; UsageError for anything else."""
    if text is None:
        return None
    if text == "all":
        return "all"
    if not text.isdecimal():
        raise UsageError(f"--fold takes a number from 0, or all; it was given {text!r}.")
    return int(text)


def split_from(options: dict[str, Any]) -> TrainConfig:
    """What a split is drawn by, from all options but tasks; of `grouped` fold 0 unless named.

    Raises:
        UsageError: for a fold that is none, or where the protocol has none.
    """
    from wbczoo.config import train_config

    protocol, number = options.pop("protocol"), parse_fold(options.pop("fold"))
    if number is not None and protocol != "grouped":
        raise UsageError(f"--fold belongs to --protocol grouped, not to {protocol or 'none'}.")
    return train_config(
        dataset=dataset_from(options),
        protocol=protocol or "official",
        fold=0 if number in (None, "all") else number,
        **options,
    )

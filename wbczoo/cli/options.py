"""Options that several commands share, each declared once, and how results are printed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import click

from wbczoo.cli.results import echo, stream
from wbczoo.errors import UsageError
from wbczoo.tasks import DEFAULT, parse

if TYPE_CHECKING:  # `list` and --help start without pydantic
    from wbczoo.config import ModelConfig, Part, TrainConfig
    from wbczoo.registry.entry import Entry
    from wbczoo.specs import DatasetSpec

# Options of the data set `folder`, and their flags.
_FOLDER = {
    "photograph_from": "--photograph-from",
    "each_file_a_photograph": "--each-file-a-photograph",
    "labels": "--label",
    "labels_from": "--labels",
}

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


def _parse_tasks(ctx: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> Any:
    return parse(texts) if texts else ()


def _parse_pairs(
    ctx: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value) or name in found:
            told = f"{parameter.opts[0]} takes {parameter.metavar}, each once"
            raise UsageError(f"{told}; it was given {text!r}.")
        found[name] = value
    return found


def _parse_paths(
    ctx: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, Path]:
    return {name: Path(path) for name, path in _parse_pairs(ctx, parameter, texts).items()}


def _pairs_option(flag: str, name: str) -> Callable[[F], F]:
    return click.option(flag, name, multiple=True, metavar="NAME=VALUE", callback=_parse_pairs)


def data_option(told: str, **settings: Any) -> Callable[[F], F]:
    """`--data`, in `given`: data set -> where it lies."""
    return click.option(
        "--data", "given", multiple=True, metavar="DATASET=PATH", callback=_parse_paths,
        help=told, **settings,
    )  # fmt: skip


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
            "cell, or the older white-cell.",
        ),
        _pairs_option("--backbone-option", "backbone_options"),
        _pairs_option("--seq-option", "sequence_options"),
        click.option(
            "--weights",
            default=default_weights,
            show_default=True,
            help="The backbone's initial weights: none, imagenet, pretrained for its plugin's own, "
            "or a safetensors file.",
        ),
    )


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
    _pairs_option("--dataset-option", "dataset_options"),
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

data_argument = click.argument("data", type=click.Path(path_type=Path))


def _one_place(
    ctx: click.Context, parameter: click.Parameter, paths: tuple[Path, ...]
) -> Path | None:
    if len(paths) > 1:
        named = " ".join(f"--data folder@{path.stem}={path}" for path in paths)
        raise UsageError(
            f"DATA is one data set, and {len(paths)} were given. Name each, and whose it is, in "
            f"its place: {named}"
        )
    return paths[0] if paths else None


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


def compose_from(options: dict[str, Any]) -> ModelConfig:
    """The composition of `composition_options`, which are taken out of `options`."""
    from wbczoo.model.compose import compose

    names = ("backbone", "sequence", "tasks", "hidden", "image_size", "crop")
    chosen = {name: options.pop(name) for name in (*names, "backbone_options", "sequence_options")}
    chosen["tasks"] = chosen["tasks"] or DEFAULT
    return compose(**chosen)


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

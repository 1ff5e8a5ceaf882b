"""Trained models are found here by their names: those that come with wbczoo, and one's own.

A checkout keeps the published ones in `exports/`, where `published.toml` names them; the wheel
brings that file and those folders along as `wbczoo/runtime/models/`. What the user exported or
pulled is looked for in `exports/` of the working folder.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from wbczoo import files
from wbczoo.errors import UsageError, WbczooError
from wbczoo.text import count_sources, describe_error, format_figure, format_sources, printable

LIST = "published.toml"
OWN = Path("exports")
ADAPTED = "adapted"  # the protocol of what adapting measured

# What an export's folder holds; `wbczoo.runtime.folder` opens it.
_MODEL, _OF_TRITON, _CARD = "model.onnx", "1/model.onnx", "card.json"


@dataclass(frozen=True)
class Published:
    """The models that are published.

    Attributes:
        folder: where their folders lie.
        names: of the models that this installation has, the default first.
        good_for: name -> a line of what a model is for.
        elsewhere: of those that the repository has and this installation has not, for their size.
    """

    folder: Path
    names: tuple[str, ...]
    good_for: Mapping[str, str] = field(default_factory=dict)
    elsewhere: tuple[str, ...] = ()

    @property
    def default(self) -> Path:
        """The folder of the model that answers where nobody names one."""
        return self.folder / self.names[0]


@dataclass(frozen=True)
class Headline:
    """The one figure that stands for a model: the macro-F1 of its first task.

    It is what adapting measured, of an adapted model; else of the model's own protocol and part
    where it was evaluated under them, else of the first evaluation on its card that does not leak.

    Attributes:
        value, low, high: with its 95 % interval; None where the rows leave it undefined.
        photographs: that it was measured on; None where nobody knows how many.
        unit: what a group is at least: `photograph`, `slide`, `patient` or `unknown`.
    """

    task: str
    value: float | None
    low: float | None
    high: float | None
    protocol: str
    leaky: bool
    dataset: str
    part: str
    photographs: int | None
    files: int
    groups: int | None
    unit: str

    def __str__(self) -> str:
        if self.protocol == ADAPTED:
            return (
                f"macro-F1 of {self.task} {format_figure(asdict(self))}, after adapting, on "
                f"{self.files} files of {self.dataset}, {self.part}"
            )
        told = {"photographs": self.photographs, "groups": self.groups}
        known = count_sources(told, self.unit) is not None
        counted = format_sources(told, self.unit) if known else f"{self.files} files"
        return (
            f"{'LEAKY ' if self.leaky else ''}macro-F1 of {self.task} "
            f"{format_figure(asdict(self))}, {self.protocol} on {counted} of {self.dataset}, "
            f"{self.part}"
        )


@dataclass(frozen=True)
class TrainedModel:
    """A model that can be opened.

    Attributes:
        name: what `wbczoo.load` and `--model` take: a published name, or a folder.
        published: whether it came with wbczoo.
        tasks: task -> its classes.
        bytes: of the ONNX file.
        laboratories: whose images it learned from, as far as its card says.
        headline: None where it was never evaluated. Of one that was adapted, after that, on the
            cells that it has not seen, or else in folds of those that it was adapted to.
        reason: why its card tells nothing; empty where it does.
        adapted_to: to how many files, and of what; empty where it was not adapted.
    """

    name: str
    published: bool
    bytes: int
    tasks: Mapping[str, list[str]]
    laboratories: list[str]
    headline: Headline | None
    reason: str = ""
    adapted_to: str = ""

    def row(self) -> dict[str, Any]:
        """What `wbczoo list --json` says of it."""
        return asdict(self)


def list_models() -> list[TrainedModel]:
    """The published models, the default first, and those below `exports/` of the working folder."""
    found: dict[Path, TrainedModel] = {}
    try:
        known = published()
    except WbczooError:
        known = Published(OWN, ())
    named = [(name, known.folder / name, True) for name in known.names]
    own = sorted({*OWN.glob("*"), *OWN.glob("*/*")})
    for name, folder, ours in [*named, *((str(path), path, False) for path in own)]:
        for graph in (folder / _MODEL, folder / _OF_TRITON):
            if graph.is_file() and graph.resolve() not in found:
                found[graph.resolve()] = _describe(name, folder, graph, ours)
    return [*found.values()]


def published() -> Published:
    """The models of this installation.

    Raises:
        WbczooError: if there are none, or what names them cannot be read.
    """
    package = Path(__file__).parent
    for folder in (package / "models", package.parents[1] / "exports"):
        if (folder / LIST).is_file():
            names, good_for = _read_list(folder / LIST)
            here = tuple(name for name in names if (folder / name / _MODEL).is_file())
            if here:
                left = tuple(name for name in names if name not in here)
                return Published(folder, here, good_for, left)
    raise WbczooError(
        "This installation of wbczoo has no published model. Name one with --model, or install "
        "wbczoo again."
    )


def find_published(name: str) -> Path:
    """The folder of a published model; UsageError with the names that there are.

    One that did not come with this installation is looked for in `exports/` of the working folder,
    where a clone of the repository has it.
    """
    found = published()
    if name in found.elsewhere:
        if all((OWN / name / each).is_file() for each in (_MODEL, _CARD)):
            return OWN / name
        raise UsageError(
            f"{name} is published, but too large to come with this installation. Take its folder "
            f"exports/{name} from wbczoo's repository, and give that, or run this where the folder "
            f"lies; here are {', '.join(found.names)}."
        )
    if name not in found.names:
        near = get_close_matches(name, (*found.names, *found.elsewhere), 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(
            f"{name} is neither a path nor a published model; there is {', '.join(found.names)}."
            f"{hint}"
        )
    return found.folder / name


def published_name(model: Path) -> str | None:
    """The name of a published model, of which this is the file; None of any other file."""
    try:
        known = published()
    except WbczooError:
        return None
    folder = model.resolve().parent
    found = [
        *((n, known.folder / n) for n in known.names),
        *((n, OWN / n) for n in known.elsewhere),
    ]
    return next((name for name, place in found if place.resolve() == folder), None)


def _read_list(path: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        names, good_for = document["models"], document.get("good_for", {})
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError) as error:
        raise WbczooError(f"{path} names no published models: {error}.") from None
    if not names or not all(isinstance(name, str) for name in names):
        raise WbczooError(f"{path} names no published models: `models` is {names!r}.")
    return tuple(names), good_for


def _describe(name: str, folder: Path, graph: Path, ours: bool) -> TrainedModel:
    """A model by its card, which may be a stranger's, damaged, or not there."""
    size = graph.stat().st_size
    try:
        card = files.read_json(folder / _CARD)
        tasks = {printable(task): [*map(printable, card["tasks"][task])] for task in card["tasks"]}
        data = card["data"] or {}
        headline = next((_headline(found) for found in _by_merit(card)), None)
        adapted = ""
        if adaptation := card.get("adaptation"):
            dataset = printable(str(adaptation["dataset"]))
            adapted = f"{adaptation['files']} files of {dataset}"
            headline = _headline_of_adapted(adaptation)
        laboratories = [*_laboratories(data)]
        return TrainedModel(name, ours, size, tasks, laboratories, headline, adapted_to=adapted)
    except (WbczooError, KeyError, TypeError, AttributeError, ValueError) as error:
        why = str(error) if isinstance(error, WbczooError) else describe_error(error)
        return TrainedModel(name, ours, size, {}, [], None, printable(why))


def _laboratories(data: Mapping[str, Any]) -> Iterator[str]:
    told = data.get("laboratories") or [data.get("laboratory") or data.get("dataset")]
    if isinstance(told, Mapping):  # one that was held out taught nothing
        told = [name for name, roles in told.items() if roles["train"]["files"]]
    # `folder` is a way to read a data set, and names no laboratory.
    yield from (printable(str(each)) for each in told if each not in (None, "folder"))


def _by_merit(card: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    own = (card["protocol"], (card["data"] or {}).get("part"))

    def merit(found: Mapping[str, Any]) -> tuple[bool, bool]:
        return found["leaky"], (found["protocol"], found["part"]) != own

    return sorted(card["evaluations"], key=merit)


def _headline(found: Mapping[str, Any]) -> Headline:
    if not found["tasks"]:
        raise WbczooError("An evaluation on its card measured no task.")
    task, figures = next(iter(found["tasks"].items()))
    score = figures["macro_f1"]
    return Headline(
        task=printable(task),
        value=score["value"],
        low=score["low"],
        high=score["high"],
        protocol=printable(found["protocol"]),
        leaky=bool(found["leaky"]),
        dataset=printable(found["dataset"]),
        part=printable(found["part"]),
        photographs=found["photographs"],
        files=found["files"],
        groups=found.get("groups"),
        unit=printable(found.get("unit", "photograph")),
    )


def _headline_of_adapted(adaptation: Mapping[str, Any]) -> Headline:
    rest = adaptation["rest"]
    found = rest or adaptation["crossed"]
    task, figures = next(iter(found["tasks"].items()))
    score = figures["after"]["macro_f1"]
    return Headline(
        task=printable(task),
        value=score["value"],
        low=score["low"],
        high=score["high"],
        protocol=ADAPTED,
        leaky=False,
        dataset=printable(str(adaptation["dataset"])),
        part="which it has not seen" if rest else "in folds",
        photographs=None,
        files=found["files"],
        groups=found["groups"],
        unit=printable(str(adaptation.get("unit", "photograph"))),
    )

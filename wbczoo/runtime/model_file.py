"""What an exported file says of itself: its metadata are read here and held against its graph.

Each start of `predict` passes through here, so what it needs is read by msgspec, which is imported
in a tenth of pydantic's time; the whole config, which pydantic reads, only where it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from wbczoo import __version__, files
from wbczoo.errors import UsageError, WbczooError
from wbczoo.images import CROPS
from wbczoo.runtime.card import Card
from wbczoo.runtime.flags import Limits
from wbczoo.runtime.sets import Sets
from wbczoo.specs import Preprocessing, name_composition
from wbczoo.tasks import Task
from wbczoo.text import one_line

if TYPE_CHECKING:
    from wbczoo.config import RunConfig

FORMAT = "1"
INPUT = "images"
NOVELTY = "novelty"

T = TypeVar("T")

MOST_TASKS = 100
LARGEST_SIDE = 4096  # pixels, as of `--image-size`
_LONGEST = 100  # characters of what a file says of itself, in a sentence


class _Part(msgspec.Struct, frozen=True):
    name: str = "none"


class _Composition(msgspec.Struct, frozen=True):
    """Of a `wbczoo.config.ModelConfig`, what answering needs."""

    backbone: _Part = _Part()
    sequence: _Part = _Part()
    finder_sha256: str = ""


class _Run(msgspec.Struct, frozen=True):
    """Of a `wbczoo.config.RunConfig`, what answering needs."""

    format: int
    model: _Composition


_RUN = msgspec.json.Decoder(_Run).decode
_TASKS = msgspec.json.Decoder(tuple[Task, ...]).decode
_PREPROCESSING = msgspec.json.Decoder(Preprocessing).decode
_NAMES = msgspec.json.Decoder(dict[str, Any]).decode
_REVIEWED = msgspec.json.Decoder(frozenset[str]).decode


@dataclass(frozen=True)
class ModelFile:
    """An export's own description.

    Attributes:
        name: the composition's, or that of several which answer together.
        backbone: its name; `none` of a composition without. Of several the first one's, as of
            the next two.
        sequence: the branch's, likewise.
        finder_sha256: of the network that finds the cell; empty where none is found.
        precision: of its weights: fp32, fp16 or int8.
        embedded: whether the graph resizes images itself. It then reads uint8 (N, H, W, 3) as
            they come from the camera, else uint8 (N, 3, H, W) that were resized before.
        size: (H, W) of the images that it reads, in pixels; None where it reads any.
        limits: of flags; None where it was exported without.
        sets: what it promises of each class; None where nothing was fitted.
        has_novelty: whether it tells how far an image lies from all that it learned.
        ensemble: whether several networks answer together.
        reviewed: SHA-256 of each file that it was adapted to, if it was.
    """

    path: Path
    name: str
    tasks: tuple[Task, ...]
    preprocessing: Preprocessing
    backbone: str
    sequence: str
    finder_sha256: str
    version: str
    weights_sha256: str
    precision: str
    embedded: bool
    size: tuple[int, int] | None
    limits: Limits | None = None
    has_novelty: bool = False
    ensemble: bool = False
    reviewed: frozenset[str] = frozenset()
    sets: Sets | None = None
    _config: str = ""

    @cached_property
    def config(self) -> RunConfig:
        """The run's; of several the first one's.

        Raises:
            WbczooError: if this version does not read it.
        """
        from wbczoo.config import RunConfig

        return RunConfig.parse(self._config, f"The metadata wbczoo.config of {self.path}")

    def refuse_ensemble(self, what: str) -> None:
        """See that one network can be asked for what lies within it.

        Raises:
            UsageError: if there are several, with `what` each has of its own.
        """
        if self.ensemble:
            raise UsageError(
                f"{self.path} is an ensemble, whose members have {what} each of their own. Export "
                "one of its runs without --ensemble, and ask that."
            )

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Each output's name, and its shape behind the batch."""
        shapes: dict[str, tuple[int, ...]] = {
            f"{task.name}_{kind}": (len(task.classes),)
            for task in self.tasks
            for kind in ("logits", "probabilities")
        }
        return {**shapes, NOVELTY: ()} if self.has_novelty else shapes

    @property
    def shape(self) -> str:
        """The shape of what the graph reads, for a reader."""
        sides = ("H", "W") if self.size is None else tuple(map(str, self.size))
        return f"(N, {', '.join((*sides, '3') if self.embedded else ('3', *sides))})"

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether the graph reads pixels of this shape."""
        if len(shape) != 4:
            return False
        sides, channels = (shape[1:3], shape[3]) if self.embedded else (shape[2:], shape[1])
        return channels == 3 and self.size in (None, sides)


def check_against_card(path: Path) -> None:
    """Refuse a file that its card disowns, before a damaged graph asks for all memory.

    A file without a card, or with one that cannot be read or does not name it, stands alone.

    Raises:
        WbczooError: if `card.json` gives another SHA-256.
    """
    try:
        card = Card.beside(path)
    except WbczooError:
        return
    told = card.document.get("files") if card else None
    expected = told.get(path.name) if isinstance(told, dict) else None
    if card and isinstance(expected, str) and expected != files.sha256_of(path):
        raise WbczooError(
            f"{path} is not the file that {card.path} describes: it was damaged or exchanged. "
            "Fetch or export it again."
        )


def describe(path: Path, session: Any) -> ModelFile:
    """Read the description from an onnxruntime session on `path`, which must keep to it.

    Raises:
        WbczooError: if metadata are missing, damaged, or of another version of wbczoo; or if the
            graph is not the one that they describe.
    """
    try:
        metadata: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
        inputs = [(node.name, node.type, node.shape) for node in session.get_inputs()]
        outputs = {node.name: (node.type, node.shape) for node in session.get_outputs()}
    except UnicodeDecodeError:
        raise WbczooError(
            f"The metadata of {path} are damaged: they are no text in UTF-8. Export the run again."
        ) from None

    def value(key: str) -> str:
        if f"wbczoo.{key}" not in metadata:
            raise WbczooError(
                f"{path} is an ONNX model without the metadata wbczoo.{key}; "
                "give one that `wbczoo export` wrote."
            )
        return metadata[f"wbczoo.{key}"]

    def check_format(what: str, found: str) -> None:
        if found != FORMAT:
            writer = _quoted(metadata.get("wbczoo.version", "unknown"))
            raise WbczooError(
                f"{path} {what} of format {_quoted(found)}, written by wbczoo {writer}; this is "
                f"wbczoo {__version__}, which reads format {FORMAT}. Use a version that fits, or "
                "export the run again."
            )

    check_format("is an export", value("format"))
    version, weights_sha256 = value("version"), value("weights_sha256")

    def read(key: str, decode: Callable[[str], T], missing: str | None = None) -> T:
        text = value(key) if missing is None else metadata.get(f"wbczoo.{key}", missing)
        try:
            return decode(text)
        except (msgspec.MsgspecError, RecursionError, UsageError) as error:
            raise WbczooError(
                f"The metadata wbczoo.{key} of {path} are damaged: {one_line(error)}. Export the "
                "run again."
            ) from None

    config = read("config", _RUN)
    check_format("has a config", str(config.format))
    run = config.model
    tasks = read("tasks", _TASKS)
    preprocessing = read("preprocessing", _PREPROCESSING)
    limits, sets = read("limits", Limits.read, "null"), read("sets", Sets.read, "null")
    reviewed = read("reviewed", _REVIEWED, "[]")
    strange = read("preprocessing", _NAMES).keys() - {each.name for each in fields(Preprocessing)}
    if strange or preprocessing.crop not in CROPS:
        what = ", ".join(sorted(strange)) or f"the crop {preprocessing.crop}"
        raise WbczooError(
            f"{path} prepares images in a way that wbczoo {__version__} does not know "
            f"({_quoted(what)}); use wbczoo {_quoted(version)}, which wrote it."
        )
    if len(tasks) > MOST_TASKS or not all(0 < side <= LARGEST_SIDE for side in preprocessing.size):
        height, width = preprocessing.size
        raise WbczooError(
            f"The metadata of {path} are damaged: {len(tasks)} tasks about images of {height} by "
            f"{width} pixels; at most {MOST_TASKS} tasks and {LARGEST_SIDE} pixels are possible."
        )
    if len({task.name for task in tasks}) < len(tasks):
        raise WbczooError(
            f"The metadata wbczoo.tasks of {path} are damaged: two have one name. Export the run "
            "again."
        )
    embedded, size = _reads(inputs, preprocessing)
    described = ModelFile(
        path,
        metadata.get("wbczoo.name", name_composition(run.backbone.name, run.sequence.name)),
        tasks,
        preprocessing,
        run.backbone.name,
        run.sequence.name,
        run.finder_sha256,
        version,
        weights_sha256,
        metadata.get("wbczoo.precision", "fp32"),
        embedded,
        size,
        limits,
        NOVELTY in outputs,
        "wbczoo.name" in metadata,
        reviewed,
        sets,
        value("config"),
    )
    kept = {
        name: tuple(shape[1:])
        for name, (kind, shape) in outputs.items()
        if kind == "tensor(float)" and shape
    }
    if size == (0, 0) or not tasks or described.outputs.items() - kept.items():
        height, width = preprocessing.size
        promised = ", ".join(described.outputs) or "tasks"
        raise WbczooError(
            f"The graph in {path} is not the one that its metadata describe: uint8 "
            f"{INPUT} (batch, 3, {height}, {width}) to {promised}. Export the run again."
        )
    return described


def _quoted(text: str) -> str:
    """What a file says, as much of it as a sentence can hold."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _reads(inputs: Any, preprocessing: Preprocessing) -> tuple[bool, tuple[int, int] | None]:
    """Whether the graph resizes, and the (H, W) that it reads; (0, 0) if it is no export's."""
    if [each[:2] for each in inputs] != [(INPUT, "tensor(uint8)")] or not inputs[0][2]:
        return False, (0, 0)
    _, *shape = inputs[0][2]
    if shape == [3, *preprocessing.size]:
        return False, preprocessing.size
    if len(shape) == 3 and shape[2] == 3:
        fixed = [side for side in shape[:2] if isinstance(side, int)]
        if not fixed:
            return True, None
        if len(fixed) == 2:
            return True, (fixed[0], fixed[1])
    return False, (0, 0)

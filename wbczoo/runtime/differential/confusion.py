"""Which of a model's measured errors may correct a differential is chosen and read here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from wbczoo import registry
from wbczoo.config import Protocol
from wbczoo.errors import UsageError, WbczooError
from wbczoo.files import sha256_of
from wbczoo.images.tables import plain, read_rows
from wbczoo.runtime.card import Card
from wbczoo.runtime.rows import Row
from wbczoo.runtime.session import Session
from wbczoo.tasks import Task, class_of
from wbczoo.text import format_sources, printable

Predict = Callable[[Sequence[str]], Iterable[Row]]


@dataclass(frozen=True)
class Confusion:
    """How often each true class got each answer, for one task.

    Attributes:
        counts: (K, K) by truth and answer. A row adds up to the independent photographs behind
            it, for files of one photograph err together; it is empty where there was none.
        description: where they come from, with their counts, in words.
        name: what `--errors` takes for them.
        among: whether they are of one laboratory of an evaluation of several.
    """

    counts: NDArray[np.float64]
    description: str
    name: str
    among: bool = False


def read_card(session: Session) -> Mapping[str, Any]:
    """The card beside the model; empty where there is none, or it is another model's.

    Raises:
        WbczooError: if it cannot be read.
    """
    card = Card.beside(session.path)
    return card.document if card and card.speaks_of(session.weights_sha256) else {}


def measured_errors(card: Mapping[str, Any], task: Task) -> list[Confusion]:
    """The errors of each evaluation on a card that does not leak, one for each laboratory.

    An evaluation of several laboratories stands beside the figures that it has of each. Of several
    under one protocol in one laboratory those count whose files are photographs
    rather than views of them, and then those of most photographs.

    Raises:
        WbczooError: if the card's evaluations are damaged.
    """
    best: dict[str, tuple[tuple[float, float], Confusion]] = {}
    try:
        for found in _each_and_its_laboratories(card.get("evaluations", ())):
            measured = found["tasks"].get(task.name)
            if found["leaky"] or measured is None or measured["classes"] != list(task.classes):
                continue
            confusion, photographs = _of_evaluation(found, measured, task)
            rank = (-found["files"] / photographs, photographs)
            if confusion.name not in best or rank > best[confusion.name][0]:
                best[confusion.name] = (rank, confusion)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise WbczooError(
            f"The card's evaluations are damaged ({error}). Export the run again."
        ) from None
    return [confusion for _, confusion in best.values()]


def choose_errors(choice: str, session: Session, task: Task, predict: Predict) -> Confusion:
    """The errors that a user names.

    Args:
        choice: `PROTOCOL` or `PROTOCOL:LABORATORY` of an evaluation on the model's card; a folder
            of reviewed cells, in folders named after their classes as the data set `folder` has
            them; or a CSV file of reviewed cells with the columns `truth` and `answer`, and
            `photograph` where several cells come from one, or as `evaluate --out` leaves it.
        predict: answers images, for a folder.

    Raises:
        UsageError: if there is nothing of that name, or it fits several evaluations.
        WbczooError: if it cannot be read, or holds no cell with a class of the task.
    """
    protocol, _, laboratory = choice.partition(":")
    if protocol in get_args(Protocol):
        return _of_card(choice, bool(laboratory), session, task)
    path = Path(choice)
    if path.is_dir():
        return _of_folder(path, task, predict)
    if path.suffix.lower() == ".csv":
        return _of_table(path, task)
    raise UsageError(
        f"--errors takes a protocol of the model's card ({_names(session, task) or 'it has none'}),"
        f" a folder of reviewed cells, or a CSV file with truth and answer; {choice} is none of "
        "them."
    )


def explain_none(session: Session, task: Task) -> str:
    """Why nothing is corrected where no errors were named, and what would be needed."""
    names = _names(session, task)
    named = (
        "If these images come from the laboratory of an evaluation on the model's card, name it: "
        f"--errors {names}. Otherwise review"
        if names
        else "The model's card has no evaluation without leak to name. Review"
    )
    return (
        "no errors were named, and errors that were measured elsewhere correct nothing. "
        f"{named} some hundred of these cells and name their folder: --errors FOLDER."
    )


def _names(session: Session, task: Task) -> str:
    return " or ".join(each.name for each in measured_errors(read_card(session), task))


def _each_and_its_laboratories(
    evaluations: Iterable[Mapping[str, Any]],
) -> Iterator[Mapping[str, Any]]:
    for found in evaluations:
        yield found
        for name, own in found.get("laboratories", {}).items():
            yield {**found, **own, "laboratory": name, "among": True}


def _of_evaluation(
    found: Mapping[str, Any], measured: Mapping[str, Any], task: Task
) -> tuple[Confusion, float]:
    """An evaluation's errors, and how many photographs it has."""
    matrix = np.array(measured["confusion"], np.int64)
    groups = np.array([measured["per_class"][name]["groups"] for name in task.classes], np.int64)
    side = len(task.classes)
    if matrix.shape != (side, side) or matrix.min() < 0 or groups.min() < 0:
        raise ValueError("a confusion matrix is none")
    laboratory = found.get("laboratory") or found["dataset"]
    name = f"{found['protocol']}:{laboratory}"
    told = {"photographs": found["photographs"], "groups": found.get("groups")}
    of = format_sources(told, found.get("unit", "photograph"))
    where = f"{name}, {found['part']}: {found['files']} files of {of}"
    counts = matrix * (groups / np.maximum(matrix.sum(1), 1))[:, None]
    description = printable(_with_unseen(where, counts, task))
    confusion = Confusion(counts, description, printable(name), "among" in found)
    return confusion, float(groups.sum() or 1)


def _of_card(choice: str, laboratory: bool, session: Session, task: Task) -> Confusion:
    card = read_card(session)
    if not card:
        raise UsageError(
            f"--errors {choice} names an evaluation on the model's card, and no card of it lies "
            "beside the model. Give the export's whole folder, or review some cells and name "
            "their folder."
        )
    measured = measured_errors(card, task)
    fitting = [
        each
        for each in measured
        if (each.name == choice if laboratory else _is_whole(each, choice))
    ]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(each.name for each in fitting or measured) or "none"
    if fitting:
        raise UsageError(f"--errors {choice} fits several evaluations; name one of {names}.")
    raise UsageError(
        f"The card has no evaluation {choice} without leak for the task {task.name}; "
        f"it has {names}."
    )


def _is_whole(found: Confusion, protocol: str) -> bool:
    return not found.among and found.name.partition(":")[0] == protocol


def _of_folder(root: Path, task: Task, predict: Predict) -> Confusion:
    spec = registry.datasets.spec("folder")
    found = [(s, class_of(task, s.label, spec.labels)) for s in spec.samples(root, **spec.options)]
    labelled = [(sample, truth) for sample, truth in found if truth is not None]
    rows = predict([str(root / sample.path) for sample, _ in labelled])
    met: dict[str, tuple[str, str]] = {}  # content -> class and path
    answered = []
    for (sample, truth), row in zip(labelled, rows, strict=True):
        if "tasks" not in row:
            continue
        content = sha256_of(root / sample.path)
        said, path = met.setdefault(content, (truth, sample.path))
        if said != truth:
            raise UsageError(
                f"{root} has one image in two classes: {path} ({said}) = {sample.path} ({truth}). "
                "Keep the right one."
            )
        # A copy of an image tells nothing that the image did not.
        answered.append((truth, row["tasks"][task.name]["class"], content))
    return _of_cells(answered, len(found) - len(answered), root.resolve().name, task, False)


def _of_table(path: Path, task: Task) -> Confusion:
    labels = registry.datasets.spec("folder").labels
    cells = []
    columns = ("truth", "answer")
    evaluated = (f"{task.name}_truth", task.name)  # of what `evaluate --out` leaves
    rows = read_rows(path, (), (), further=True)
    if rows and {*evaluated} <= rows[0][1].keys() and not {*columns} <= rows[0][1].keys():
        columns = evaluated
        rows = [(line, {"photograph": "", **row}) for line, row in rows]
    else:
        rows = read_rows(path, columns, ("photograph",))
    for line, row in rows:
        truth, answer = (class_of(task, row[each], labels) for each in columns)
        if columns is evaluated and not row[columns[1]]:
            continue  # it was refused
        if answer is None:
            raise UsageError(
                f"{path} has the answer {row[columns[1]]!r} in line {line}; the model answers "
                f"{', '.join(task.classes)}."
            )
        if truth is not None:
            cells.append((truth, answer, plain(row["photograph"]) or f"line {line}"))
    known = any(row["photograph"] for _, row in rows)
    return _of_cells(cells, len(rows) - len(cells), path.name, task, known)


def _of_cells(
    cells: Sequence[tuple[str, str, str]], left_out: int, name: str, task: Task, known: bool
) -> Confusion:
    """Counts of (truth, answer, photograph), each photograph of a class weighing 1."""
    if not cells:
        raise WbczooError(
            f"{name} holds no reviewed cell that is answered and has a class of {task.name}: "
            f"{', '.join(task.classes)}."
        )
    together = Counter((truth, photograph) for truth, _, photograph in cells)
    counts = np.zeros((len(task.classes), len(task.classes)))
    for truth, answer, photograph in cells:
        place = task.classes.index(truth), task.classes.index(answer)
        counts[place] += 1 / together[truth, photograph]
    photographs = len({photograph for _, _, photograph in cells})
    words = (
        f"{len(cells)} reviewed cells in {name} of {photographs} photographs"
        if known
        else f"{photographs} reviewed cells in {name}, each taken as a photograph of its own"
    )
    if left_out:
        words += f"; {left_out} more were left out, refused or of no class of {task.name}"
    return Confusion(counts, printable(_with_unseen(words, counts, task)), name)


def _with_unseen(words: str, counts: NDArray[Any], task: Task) -> str:
    unseen = [name for name, row in zip(task.classes, counts, strict=True) if not row.sum()]
    return f"{words}; no cell of {' and '.join(unseen)}, whose errors are open" if unseen else words

"""Answers about many images become a differential: how many cells of each class, and how sure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from wbczoo.errors import UsageError, WbczooError
from wbczoo.images.tables import read_table
from wbczoo.runtime.card import Card
from wbczoo.runtime.differential.shares import correct, multinomial_intervals
from wbczoo.runtime.rows import Row
from wbczoo.runtime.session import Session
from wbczoo.tasks import INTENDED, NOT_INTENDED, NUCLEUS_OF, Task

FEWEST = 100  # cells; under it a laboratory does not report a differential

GroupOf = Callable[[str], str]


@dataclass
class Tally:
    """What became of the images of one group.

    Attributes:
        classes: class -> images that count for it.
        answered: class -> all images that were given it, put aside or not.
        refused, unsure, contradicted: images that count for none, by path.
    """

    classes: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)
    contradicted: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Confusion:
    """A model's own errors on photographs that it never saw, for one task.

    Attributes:
        matrix: (K, K) files, rows truth, columns answer.
        photographs: (K,) independent groups of each true class.
        told: protocol, part and counts in words.
    """

    matrix: np.ndarray[Any, np.dtype[np.int64]]
    photographs: np.ndarray[Any, np.dtype[np.int64]]
    told: str


def group_by(choice: str | None, given: Sequence[str]) -> GroupOf:
    """How an image's group is told from its path.

    Args:
        choice: None, one group; `folder`, the folder that the image lies in; or a CSV file with
            the columns `file` and `group`, where `file` is the path as it is printed, or below
            a folder that was given.
        given: what the user named, as `find_images` takes it.

    Raises:
        UsageError: if the table is not there or has not these columns; and, from the function, if
            it says nothing about an image.
    """
    if choice is None:
        return lambda path: "all"
    if choice == "folder":
        return lambda path: str(Path(path).parent)
    if not Path(choice).exists():
        raise UsageError(f"--by takes folder or a CSV file; {choice} is not there.")
    table = read_table(Path(choice), ["group"])

    def sample_of(path: str) -> str:
        row = table.find(path, *(_below(path, root) for root in given))
        if row is not None:
            return row["group"]
        raise UsageError(f"{choice} says nothing about {path}. Give every image its group.")

    return sample_of


def count(
    rows: Iterable[Row], task: Task, tasks: Sequence[Task], group_of: GroupOf, least: float
) -> dict[str, Tally]:
    """Count the answers of each group, in the order in which groups are met.

    An image counts for its class unless it was refused, its class is less likely than `least`,
    or the answer to another task denies it, such as a polynuclear lymphocyte.

    Args:
        rows: of `predict_paths`.
        task: whose classes are counted.
        tasks: all tasks of the model.
        least: probability in [0, 1].
    """
    tallies: dict[str, Tally] = {}
    nucleus = next((each for each in tasks if each.name == "nucleus"), None)
    for row in rows:
        tally = tallies.setdefault(group_of(row["path"]), Tally())
        if "error" in row:
            tally.refused.append(row["path"])
            continue
        answer = row["tasks"][task.name]
        tally.answered[answer["class"]] += 1
        implied = NUCLEUS_OF.get(answer["class"])
        if answer["probability"] < least:
            tally.unsure.append(row["path"])
        elif (
            nucleus is not None
            and task is not nucleus
            and implied in nucleus.classes
            and row["tasks"]["nucleus"]["class"] != implied
        ):
            tally.contradicted.append(row["path"])
        else:
            tally.classes[answer["class"]] += 1
    return tallies


def check_card(session: Session, task: Task) -> None:
    """Raise of a damaged card what `describe` would raise after all images were answered."""
    _confusion_of(_card_of(session), task)


def describe(
    tallies: Mapping[str, Tally], task: Task, session: Session, least: float
) -> dict[str, Any]:
    """The differential of each group as JSON holds it, with intervals and what it must not be
    used for.
    """
    card = _card_of(session)
    confusion, why_none = _confusion_of(card, task)
    return {
        "model": session.config.model.name,
        "weights_sha256": session.weights_sha256,
        "task": task.name,
        "classes": list(task.classes),
        "least_probability": least,
        "interval": "95 %, of all classes at once (Goodman 1965), by image: it speaks of chance "
        "in which cells were photographed, not of the model's errors",
        "correction": confusion.told if confusion else None,
        "why_no_correction": why_none,
        "groups": [_describe_group(name, t, task, confusion) for name, t in tallies.items()],
        "intended_use": _printable(card.get("intended_use", INTENDED)),
        "not_for": _printable(card.get("not_for", NOT_INTENDED)),
    }


def _describe_group(
    name: str, tally: Tally, task: Task, confusion: Confusion | None
) -> dict[str, Any]:
    counts = np.array([tally.classes[each] for each in task.classes], np.int64)
    total = int(counts.sum())
    limits = multinomial_intervals(counts)
    corrected = None
    if confusion is not None and tally.answered:
        # The errors were measured on all answers, so they correct all answers.
        answered = np.array([tally.answered[each] for each in task.classes], np.int64)
        corrected = correct(answered, confusion.matrix, confusion.photographs)
    classes = {}
    for place, each in enumerate(task.classes):
        classes[each] = {
            "count": int(counts[place]),
            "percent": 100 * int(counts[place]) / total if total else None,
            "low": 100 * float(limits[place, 0]),
            "high": 100 * float(limits[place, 1]),
            "corrected": None if corrected is None else _percents(corrected[place]),
        }
    aside = {kind: getattr(tally, kind) for kind in ("refused", "unsure", "contradicted")}
    warnings = []
    if total < FEWEST:
        warnings.append(
            f"{total} cells were counted; a differential of fewer than {FEWEST} says little."
        )
    put_aside = sum(map(len, aside.values()))
    if put_aside > total:
        warnings.append("More images were put aside than counted; the rest may be no fair sample.")
    return {
        "name": name,
        "images": total + put_aside,
        "counted": total,
        **{kind: len(paths) for kind, paths in aside.items()},
        "classes": classes,
        "put_aside": aside,
        "warnings": warnings,
    }


def _percents(shares: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float]:
    value, low, high = (100 * float(each) for each in shares)
    return {"percent": value, "low": low, "high": high}


def _card_of(session: Session) -> dict[str, Any]:
    card = Card.beside(session.path)
    # A card beside another model's file speaks of another model.
    return dict(card.document) if card and card.speaks_of(session.weights_sha256) else {}


def _confusion_of(card: Mapping[str, Any], task: Task) -> tuple[Confusion | None, str | None]:
    """The errors on the card's first evaluation that does not leak, or why there are none."""
    if not card:
        return None, "The model has no card beside it, which would tell its errors."
    try:
        for found in card["evaluations"]:
            measured = found["tasks"].get(task.name)
            if found["leaky"] or measured is None or measured["classes"] != list(task.classes):
                continue
            matrix = np.array(measured["confusion"], np.int64)
            groups = [measured["per_class"][name]["groups"] for name in task.classes]
            side = len(task.classes)
            if matrix.shape != (side, side) or matrix.min() < 0 or min(groups) < 0:
                raise ValueError("a confusion matrix is none")
            if (matrix.sum(1) == 0).any():
                continue
            photographs = found["photographs"]
            unit = "an unknown number of" if photographs is None else photographs
            told = (
                "from all answered images, by the model's errors under the protocol "
                f"{found['protocol']}, {found['part']}: {found['files']} files of {unit} "
                "photographs"
            )
            return Confusion(matrix, np.array(groups, np.int64), _printable(told)), None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise WbczooError(
            f"The card's evaluations are damaged ({error}). Export the run again."
        ) from None
    return None, (
        "The card has no evaluation without leak in which every class occurs. Evaluate the run, "
        "and export it again."
    )


def _printable(text: object) -> str:
    """A stranger's words without what a terminal would obey."""
    return "".join(sign if sign.isprintable() else " " for sign in str(text))


def _below(path: str, root: str) -> str:
    try:
        return Path(path).relative_to(root).as_posix()
    except ValueError:
        return path

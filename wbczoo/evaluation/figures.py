"""An evaluation's figures: as objects for Python, as a table for a person, as JSON for a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from tabulate import tabulate

from wbczoo.evaluation import novelty, sets
from wbczoo.metrics.formulas import COVERAGES
from wbczoo.text import format_figure, format_sources

_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "ece": "calibration error (ECE)",
}


@dataclass(frozen=True)
class Figure:
    """A number with its 95 % interval; all three are None where the rows leave it undefined."""

    value: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        return format_figure(vars(self))


@dataclass(frozen=True)
class ClassFigures:
    """How well one class is told from the others, and on how many files and groups."""

    files: int
    groups: int
    precision: Figure
    recall: Figure
    auroc: Figure


@dataclass(frozen=True)
class TaskFigures:
    """How well one task was answered.

    Attributes:
        ece: the expected calibration error.
        per_class: by the class's name.
        confusion: files, a row for each true class, a column for each answer.
    """

    classes: list[str]
    files: int
    groups: int
    accuracy: Figure
    balanced_accuracy: Figure
    macro_f1: Figure
    ece: Figure
    per_class: dict[str, ClassFigures]
    confusion: list[list[int]]


class Evaluation:
    """What `wbczoo.evaluate` measured; `evaluation["cell"].accuracy.low` is one of its numbers."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = dict(document)

    def __getitem__(self, task: str) -> TaskFigures:
        found = self._document["tasks"][task]
        classes = {
            name: ClassFigures(**_figures_of(ClassFigures, own))
            for name, own in found["per_class"].items()
        }
        return TaskFigures(**{**_figures_of(TaskFigures, found), "per_class": classes})

    def __iter__(self) -> Iterator[str]:
        """The tasks that were measured."""
        return iter(self._document["tasks"])

    def to_dict(self) -> dict[str, Any]:
        """The whole document, as the run's folder keeps it and `--json` prints it."""
        return self._document

    def table(self) -> str:
        """The figures for a person to read."""
        return table(self._document)

    def __str__(self) -> str:
        return self.table()


def _figures_of(kind: Any, found: Mapping[str, Any]) -> dict[str, Any]:
    """What a document says of a dataclass's fields, each number with its interval as a Figure."""
    values = {field.name: found[field.name] for field in fields(kind)}
    return {
        name: Figure(**value) if isinstance(value, dict) and "low" in value else value
        for name, value in values.items()
    }


def table(document: Mapping[str, Any]) -> str:
    """An evaluation for a person to read: `0.571 [0.45, 0.68]`, limits rounded outwards.

    Args:
        document: what an evaluation's JSON holds.
    """
    tasks: dict[str, Any] = {}
    for task, found in document["tasks"].items():
        tasks[task] = found
        # `external` measures twice; a note stands there where both are the same.
        if "accuracy" in found.get("shared_classes", {}):
            tasks[f"{task}, shared classes"] = found["shared_classes"]
    rows: list[list[object]] = [["files", *(found["files"] for found in tasks.values())]]
    rows += [
        [name, *(format_figure(found[key]) for found in tasks.values())]
        for key, name in _NAMES.items()
    ]
    for place, share in enumerate(COVERAGES):
        errors = [format_figure(found["coverage"][place]["error"]) for found in tasks.values()]
        rows.append([f"error at coverage {share:.0%}", *errors])
    parts = [heading(document), *_laboratories(document)]
    if tasks:
        parts.append(tabulate(rows, ["", *tasks], disable_numparse=True))
    for task, found in tasks.items():
        rows = [
            [name, own["files"], own["groups"]]
            + [format_figure(own[figure]) for figure in ("precision", "recall", "auroc")]
            for name, own in found["per_class"].items()
        ]
        headers = [task, "files", "groups", "precision", "recall", "AUROC"]
        parts.append(tabulate(rows, headers, disable_numparse=True))
        names = found["classes"]
        rows = [[name, *counts] for name, counts in zip(names, found["confusion"], strict=True)]
        parts.append(tabulate(rows, ["truth \\ answer", *names]))
    if document.get("contradictions"):
        rate = document["contradictions"]
        parts.append(
            f"The tasks contradict each other: {format_figure(rate)} of {rate['files']} files."
        )
    if "novelty" in document:
        parts.append(novelty.table(document["novelty"]))
    if any(document.get("sets", {}).values()):
        parts.append(sets.table(document["sets"]))
    for task, labels in document.get("left_out", {}).items():
        counted = ", ".join(f"{count} of {label or 'no label'}" for label, count in labels.items())
        parts.append(f"The task {task} leaves out files by their labels: {counted}.")
    parts += [f"Refused {path}: {reason}" for path, reason in document.get("refused", {}).items()]
    parts.append(f"Intervals: {document['interval']}.")
    return "\n\n".join(parts)


def _laboratories(document: Mapping[str, Any]) -> Iterator[str]:
    """For each task a table of laboratories, with their mean and the worst where they are some."""
    found_of = document.get("laboratories", {})
    for task in document["tasks"] if found_of else ():
        rows: list[list[object]] = []
        for name, found in found_of.items():
            if own := found["tasks"].get(task):
                figures = [format_figure(own[key]) for key in ("accuracy", "macro_f1")]
                classes = ", ".join(own["classes"])
                rows.append([name, own["files"], own["groups"], *figures, classes])
        over = document["over_laboratories"].get(task, {})
        for how in ("mean", "worst") if over else ():
            figures = [format_figure(over[key][how]) for key in ("accuracy", "macro_f1")]
            rows.append([how, "", "", *figures, ""])
        headers = [task, "files", "groups", "accuracy", "macro-F1", "over the classes"]
        if rows:
            yield tabulate(rows, headers, disable_numparse=True)


def heading(document: Mapping[str, Any]) -> str:
    """What a document's figures are of: protocol, files, photographs and groups."""
    fold = "" if document.get("fold") is None else f", fold {document['fold']}"
    return (
        f"{'LEAKY ' if document['leaky'] else ''}{document['protocol']}, {document['part']}{fold}: "
        f"{document['files']} files of "
        f"{format_sources(document, document['unit'])}, {document['groups']} groups"
    )

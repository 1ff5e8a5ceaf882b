"""Photographs are answered by a model here, once, and a review of the cells begins or goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wbczoo import __version__, files
from wbczoo.cells.crop import finder_sha256
from wbczoo.errors import UsageError, WbczooError
from wbczoo.images.identity import Distinct
from wbczoo.images.walk import Found
from wbczoo.review.cells import Box, Cell, Photograph, by_path, cells_of
from wbczoo.review.crops import has_crops, write_crops
from wbczoo.review.log import Log
from wbczoo.runtime.cells import FOUND, NO_CELL, Cells, choose_cells
from wbczoo.runtime.differential.confusion import read_card
from wbczoo.runtime.published import published_name
from wbczoo.runtime.resume import write_rows
from wbczoo.runtime.rows import Row
from wbczoo.runtime.session import Session
from wbczoo.tasks import INTENDED, NOT_INTENDED, Task
from wbczoo.text import printable

ANSWERS = "answers.jsonl"

Advance = Callable[[str, int, int | None], object]


@dataclass(frozen=True)
class Prepared:
    """What a review is of.

    Attributes:
        begun: the log's first line.
        cells: in the order of the answers.
        images: path -> the file, or the archive's member, where it is.
    """

    begun: Mapping[str, Any]
    task: Task
    photographs: tuple[Photograph, ...]
    cells: tuple[Cell, ...]
    images: Mapping[str, Found]


def now() -> str:
    """The time, as lines of a log have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def choose_task(tasks: Sequence[Task], name: str | None) -> Task:
    """The task whose classes a person tells: the one that is named, else that of most classes.

    Raises:
        UsageError: if the model has no task of that name.
    """
    found = {task.name: task for task in tasks}
    if name is None:
        return max(tasks, key=lambda task: len(task.classes))
    if name not in found:
        raise UsageError(f"The model has no task {name!r}; it has {', '.join(found)}.")
    return found[name]


def prepare(
    folder: Path,
    log: Log,
    images: Sequence[Found],
    model: Path,
    open_session: Callable[[], Session],
    *,
    task_name: str | None = None,
    cells: Cells | None = None,
    check: Callable[[Task], object] = lambda task: None,
    advance: Advance = lambda stage, done, total: None,
) -> Prepared:
    """Answer the photographs, or take up the answers that a folder has.

    Args:
        log: of the folder; its first line is written if there is none.
        model: the file, to be compared with the one that answered.
        open_session: opens it, if anything is to be answered.
        cells: which ones the model is asked about; each cell where it was trained on cells.
        check: is given the task before anything is answered, and may raise.
        advance: is told the stage, how many photographs are done, and of how many.

    Raises:
        UsageError: if the folder holds the review of other images, or by another model or task.
        WbczooError: if the answers are not those that the review began with.
    """
    known = by_path(images)
    if log.entries:
        begun = log.entries[0]
        _check_same(folder, begun, known, model, task_name)
        task = Task(begun["task"], tuple(begun["classes"]))
        check(task)
        photographs = tuple(map(Photograph.of, begun["photographs"]))
        found = cells_of(_read_answers(folder), photographs, task)
        if not has_crops(folder, len(found)):
            shown = [(known[each.path], list[Box | None]()) for each in photographs]
            for cell in found:
                shown[cell.photograph][1].append(_shown(cell, begun["cells"]))
            write_crops(folder, shown, _counter(advance, "Cutting out cells", len(shown)))
        return Prepared(begun, task, photographs, tuple(found), known)
    session = open_session()
    task = choose_task(session.tasks, task_name)
    check(task)
    kind = choose_cells(cells or ("all" if session.preprocessing.finds_cell else None),
                        session.file)  # fmt: skip
    if not (folder / ANSWERS).exists():
        _answer(folder, session, images, kind, advance)
    rows = _read_answers(folder)
    shown = _boxes(rows, known, kind)
    told = write_crops(folder, shown, _counter(advance, "Cutting out cells", len(shown)))
    photographs = tuple(
        Photograph(str(image), each["sha256"], each.get("width", 0), each.get("height", 0),
                   each.get("error"))
        for (image, _), each in zip(shown, told, strict=True)
    )  # fmt: skip
    errors = {row["path"]: row["error"] for row in rows if "error" in row}
    photographs = tuple(
        replace(each, error=each.error or errors.get(each.path)) for each in photographs
    )
    found = cells_of(rows, photographs, task)
    card = read_card(session)
    (begun,) = log.append(
        [
            {
                "format": 1, "what": "begin", "at": now(), "wbczoo": __version__,
                "model": {
                    "name": published_name(session.path) or session.config.model.name,
                    "sha256": files.sha256_of(session.path),
                    "weights_sha256": session.weights_sha256,
                    "finder_sha256": finder_sha256() if kind in FOUND else None,
                },
                "task": task.name, "classes": [*task.classes], "cells": kind,
                "answers_sha256": files.sha256_of(folder / ANSWERS),
                "photographs": [asdict(each) for each in photographs],
                "intended_use": printable(str(card.get("intended_use", INTENDED))),
                "not_for": printable(str(card.get("not_for", NOT_INTENDED))),
            }
        ]
    )  # fmt: skip
    return Prepared(begun, task, photographs, tuple(found), known)


def _answer(
    folder: Path, session: Session, images: Sequence[Found], kind: Cells | None, advance: Advance
) -> None:
    @contextmanager
    def watch(done: int) -> Iterator[Callable[[int], object]]:
        yield _counter(advance, "Finding and answering cells", len(images), done)

    distinct = Distinct(images, lambda path: "all")
    write_rows(folder / ANSWERS, session, distinct, layout="jsonl", resume=True, cells=kind,
               watch=watch)  # fmt: skip


def _counter(advance: Advance, stage: str, total: int, done: int = 0) -> Callable[[int], object]:
    count = done
    advance(stage, count, total)

    def add(more: int) -> None:
        nonlocal count
        count += more
        advance(stage, count, total)

    return add


def _read_answers(folder: Path) -> list[Row]:
    try:
        with (folder / ANSWERS).open(encoding="utf-8") as stream:
            return [json.loads(line) for line in stream]
    except (OSError, ValueError) as error:
        raise WbczooError(
            f"{folder / ANSWERS}, the answers that are reviewed, cannot be read: {error}. "
            "Put back a copy."
        ) from None


def _boxes(
    rows: Sequence[Row], known: Mapping[str, Found], kind: Cells | None
) -> list[tuple[Found, list[Box | None]]]:
    """Each photograph that was answered, with what is to be cut out of it."""
    shown: dict[str, list[Box | None]] = {}
    for row in rows:
        boxes = shown.setdefault(row["path"], [])
        if "error" not in row:
            box = row.get("box")
            boxes.append((box[0], box[1], box[2], box[3]) if box else None)
    return [(known[path], boxes) for path, boxes in shown.items()]


def _shown(cell: Cell, kind: Cells | None) -> Box | None:
    return cell.box if kind in FOUND and NO_CELL not in cell.flags else None


def _check_same(
    folder: Path,
    begun: Mapping[str, Any],
    known: Mapping[str, Found],
    model: Path,
    task_name: str | None,
) -> None:
    """See that a folder's review is the one that is asked for."""
    other = [each["path"] for each in begun["photographs"] if each["path"] not in known]
    if other:
        raise UsageError(
            f"{folder} holds a review in which {other[0]} is looked at, and now it is not among "
            "the images. Name the same images, or another --out."
        )
    if files.sha256_of(model) != begun["model"]["sha256"]:
        raise UsageError(
            f"{folder} holds the review of what {begun['model']['name']} answered, and {model} is "
            "another model. Name the same one, or another --out."
        )
    if task_name not in (None, begun["task"]):
        raise UsageError(
            f"{folder} holds the review of the task {begun['task']}. Leave out --task, or name "
            "another --out."
        )
    if files.sha256_of(folder / ANSWERS) != begun["answers_sha256"]:
        raise WbczooError(
            f"{folder / ANSWERS} is not what the review began with. Put back a copy, or begin "
            "another review in a new folder."
        )

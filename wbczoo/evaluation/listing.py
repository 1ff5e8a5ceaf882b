"""What each test image was answered stands here, row by row, and becomes a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from wbczoo import images
from wbczoo.errors import ImageRefused, WbczooError
from wbczoo.evaluation.score import Scored
from wbczoo.images import Pixels
from wbczoo.runtime.answers import Answer, answer_of
from wbczoo.runtime.flags import Limits
from wbczoo.runtime.model_file import NOVELTY
from wbczoo.specs import Preprocessing
from wbczoo.tasks import Task
from wbczoo.text import csv_line

_COLUMNS = ("path", "label", "photograph", "group", "laboratory", "fold")


@dataclass(frozen=True)
class Listed:
    """A test image and its answer.

    Attributes:
        path, label, photograph, group, laboratory: the data set's own; "" where there is none.
        fold: of `grouped`; else "".
        truth: task -> class, "" where the task leaves the image out.
        answer: as `Session.answers` yields it.
    """

    path: str
    label: str
    photograph: str
    group: str
    laboratory: str
    fold: int | str
    truth: dict[str, str]
    answer: Answer
    _scored: Scored

    def show(self, preprocessing: Preprocessing) -> Pixels | None:
        """The image, or what the model sees of it where it crops; None if it is gone."""
        try:
            content = self._scored.rows.source.read(self.path)
            if preprocessing.crop == "none":
                return images.decode(content)
            return images.pixels(content, preprocessing)
        except (ImageRefused, WbczooError):
            return None


def list_answers(
    tasks: Sequence[Task], scored: Sequence[Scored], limits: Sequence[Limits | None]
) -> Iterator[Listed]:
    """Every test image that was answered, in order; of several folds one after the other.

    Args:
        limits: of the flags of each fold's model.
    """
    for fold, own in zip(scored, limits, strict=True):
        rows = fold.rows
        answer = partial(answer_of, tasks, own)
        named = {f"{t.name}_probabilities": fold.probabilities[t.name] for t in tasks}
        outputs = named | {n: v for n, v in fold.probabilities.items() if n == NOVELTY}
        for place, row in enumerate(fold.chosen):
            sample = rows.samples[row]
            yield Listed(
                path=sample.path,
                label=sample.label,
                photograph=sample.photograph or "",
                group=rows.groups[row],
                laboratory=rows.laboratories[row],
                fold="" if fold.plan.fold is None else fold.plan.fold,
                truth={task.name: rows.class_of(task, row) or "" for task in tasks},
                answer=answer({name: values[place] for name, values in outputs.items()}),
                _scored=fold,
            )


def table_of(tasks: Sequence[Task], listed: Sequence[Listed]) -> str:
    """The rows as CSV: where each image is from, then for each task its truth and its answer.

    The columns of answers are those of `predict`.
    """
    novelty = any(NOVELTY in each.answer for each in listed)
    columns = [*_COLUMNS, *([NOVELTY] if novelty else []), "flags"]
    for task in tasks:
        columns += [f"{task.name}_truth", task.name, f"{task.name}_probability"]
        columns += [f"{task.name}_{name}" for name in task.classes]
    lines = [csv_line(columns)]
    for each in listed:
        answer = each.answer
        cells: list[Any] = [getattr(each, name) for name in _COLUMNS]
        cells += [answer.get(NOVELTY, "")] if novelty else []
        cells.append(" ".join(answer.get("flags", ())))
        for task in tasks:
            found = answer["tasks"][task.name] if "tasks" in answer else None
            cells.append(each.truth[task.name])
            if found is None:
                cells += [""] * (2 + len(task.classes))
            else:
                cells += [found["class"], found["probability"], *found["probabilities"].values()]
        lines.append(csv_line(cells))
    return "".join(lines)

"""What an evaluation leaves for a reader: each image's answer, drawings, and the worst errors."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wbczoo import files
from wbczoo.evaluation import drawings
from wbczoo.evaluation.figures import heading
from wbczoo.evaluation.listing import Listed, list_answers, table_of
from wbczoo.evaluation.score import Scored
from wbczoo.runtime.flags import Limits
from wbczoo.runtime.templates import render
from wbczoo.specs import Preprocessing
from wbczoo.tasks import Task
from wbczoo.text import format_figure, name_source, printable

MOST_ERRORS = 200  # of a task that the page shows
DRAWINGS = ("confusion", "reliability", "coverage")
SIDE = 160  # pixels of a picture on it


def write_results(
    folder: Path,
    document: Mapping[str, Any],
    tasks: Sequence[Task],
    scored: Sequence[Scored],
    limits: Sequence[Limits | None],
    preprocessing: Preprocessing,
    *,
    drawn: bool = True,
) -> None:
    """Write `evaluation.json`, `predictions.csv`, drawings and `errors.html` into a folder.

    Args:
        document: the evaluation's.
        scored, limits: of each fold, or of one test.
        preprocessing: of the model, for what it saw where it crops.
        drawn: whether the drawings are made, which need matplotlib.
    """
    listed = list(list_answers(tasks, scored, limits))
    files.write_json(folder / "evaluation.json", dict(document))
    # A path whose bytes are no text is written with backslashes, as `predict` does.
    table = table_of(tasks, listed).encode("utf-8", "backslashreplace")
    files.write_bytes(folder / "predictions.csv", table)
    measured = document["tasks"]
    if not drawn:  # those of an earlier evaluation are of other figures
        for name in DRAWINGS:
            for suffix in drawings.SUFFIXES:
                (folder / f"{name}.{suffix}").unlink(missing_ok=True)
    elif measured:
        title = f"{document['name']}, {document['dataset']}\n{heading(document)}"
        drawings.draw_confusion(folder, title, measured)
        answers = {task: _confidences(listed, task) for task in measured}
        drawings.draw_reliability(folder, title, measured, answers)
        drawings.draw_coverage(folder, title, measured, answers)
    files.write_text(folder / "errors.html", _errors_page(document, listed, preprocessing))


def _known(listed: Sequence[Listed], task: str) -> list[Listed]:
    return [each for each in listed if each.truth[task] and "tasks" in each.answer]


def _confidences(listed: Sequence[Listed], task: str) -> tuple[Any, Any]:
    known = _known(listed, task)
    answers = [each.answer["tasks"][task] for each in known]
    right = [each.truth[task] == own["class"] for each, own in zip(known, answers, strict=True)]
    return np.array([own["probability"] for own in answers]), np.array(right, bool)


def _errors_page(
    document: Mapping[str, Any], listed: Sequence[Listed], preprocessing: Preprocessing
) -> str:
    sections = []
    pictures: dict[str, bytes | None] = {}
    for task, found in document["tasks"].items():
        known = _known(listed, task)
        wrong = [each for each in known if each.truth[task] != each.answer["tasks"][task]["class"]]
        # The surest of what is wrong first: the least probability was given to the truth.
        wrong.sort(key=lambda each: each.answer["tasks"][task]["probabilities"][each.truth[task]])
        shown = []
        for each in wrong[:MOST_ERRORS]:
            if each.path not in pictures:
                pictures[each.path] = _thumbnail(each, preprocessing)
            own = each.answer["tasks"][task]
            shown.append(
                {
                    "picture": pictures[each.path],
                    "path": printable(each.path),
                    "truth": each.truth[task],
                    "answer": own["class"],
                    "probability": own["probability"],
                    "of_truth": own["probabilities"][each.truth[task]],
                    "photograph": printable(each.photograph),
                    "fold": each.fold,
                    "flags": each.answer.get("flags", []),
                }
            )
        sections.append(
            {
                "task": task,
                "files": len(known),
                "errors": len(wrong),
                "accuracy": format_figure(found["accuracy"]),
                "shown": shown,
            }
        )
    return render(
        "errors.html",
        title=f"Errors of {document['name']}",
        heading=heading(document),
        document=document,
        source=name_source(document["unit"]),
        sections=sections,
    )


def _thumbnail(each: Listed, preprocessing: Preprocessing) -> bytes | None:
    pixels = each.show(preprocessing)
    if pixels is None:
        return None
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    image.save(stream, format="JPEG", quality=80)
    return stream.getvalue()

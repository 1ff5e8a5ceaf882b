"""The ways of answering fields that `bench fields` compares; each lives in a process of its own."""

from __future__ import annotations

import contextlib
import csv
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from wbczoo import images, machine
from wbczoo.bench.finder_speed import network_alone
from wbczoo.cells.crop import best_cell, crop_cell
from wbczoo.runtime import Session, predict_paths
from wbczoo.runtime.batches import BATCH
from wbczoo.runtime.cells import Cells, decode_and_find
from wbczoo.runtime.devices import cores
from wbczoo.runtime.rows import BOX_COLUMNS, further_columns, write_csv
from wbczoo.text import first_line


class Contestant(Protocol):
    """One way of answering fields."""

    def answer_folder(self, paths: Sequence[str], batch: int, out: Path) -> None:
        """Answer image files into a CSV file with `path`, `BOX_COLUMNS` and predict's answers."""


class Runtime:
    """`wbczoo predict` as it is: `Session` and the rows that it writes."""

    def __init__(self, model: str, cells: Cells, threads: int | None) -> None:
        parallel = threads or cores()
        self._session = Session(model, device="cpu", threads=threads, parallel=parallel)
        self._cells = cells

    def answer_folder(self, paths: Sequence[str], batch: int, out: Path) -> None:
        session = self._session
        with out.open("w", newline="") as stream:
            rows = predict_paths(session, paths, batch_size=batch, cells=self._cells)
            further = further_columns(session.file, session.limits, self._cells)
            write_csv(rows, session.tasks, stream, further=further)


def _loop(**options: Any) -> Contestant:
    from wbczoo.bench.plain_fields import PlainLoop  # which imports PyTorch and scikit-image

    return PlainLoop(**options)


_KINDS: dict[str, Callable[..., Contestant]] = {"runtime": Runtime, "loop": _loop}
_opened: dict[str, Contestant] = {}


def do(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job in this process: `JobProcess` calls it with what `bench.field_speed` asks for."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            answer: dict[str, Any] = _JOBS[job.pop("do")](**job)
    except Exception as error:  # a library that is missing, an operator that is not known, ...
        return {"error": f"{type(error).__name__}: {first_line(error)}"}
    return answer


def _open(kind: str, options: dict[str, Any]) -> dict[str, Any]:
    _opened["contestant"] = _KINDS[kind](**options)
    return {}


def _folder(paths: list[str], batch: int) -> dict[str, Any]:
    """Seconds from files to the end of their CSV file, and processor seconds of all threads."""
    with tempfile.TemporaryDirectory() as folder:
        begun, spent = time.perf_counter(), time.process_time()
        _opened["contestant"].answer_folder(paths, batch, Path(folder) / "answers.csv")
        return {
            "seconds": time.perf_counter() - begun,
            "processor_seconds": time.process_time() - spent,
            "images": len(paths),
        }


def _answers(paths: list[str], tasks: dict[str, list[str]]) -> dict[str, Any]:
    """Each cell: its field's place, its box, its classes, and all its probabilities in a row."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "answers.csv"
        _opened["contestant"].answer_folder(paths, BATCH, out)
        with out.open(newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if row["left"]]
    places = {path: place for place, path in enumerate(paths)}
    columns = [f"{task}_{name}" for task, classes in tasks.items() for name in classes]
    return {
        "places": [places[row["path"]] for row in rows],
        "boxes": [[int(row[side]) for side in BOX_COLUMNS] for row in rows],
        "classes": [[row[task] for task in tasks] for row in rows],
        "probabilities": [[float(row[name]) for name in columns] for row in rows],
    }


def _bound(model: str, paths: list[str]) -> dict[str, Any]:
    """Processor seconds of a field's steps that nothing spares, each alone with one thread.

    They are decoding, the finder's network on all its levels, and the classifier for one cell in
    a batch.
    """
    session = Session(model, device="cpu", threads=1)
    whole = replace(session.preprocessing, crop="none")
    crops = []
    for path in paths[: 2 * BATCH]:
        image, found, slide = decode_and_find(path)
        if found:
            square = crop_cell(image, best_cell(found), session.preprocessing.crop, slide=slide)
            crops.append(images.preprocess(square, whole).transpose(2, 0, 1))
    decoded = [images.decode(path) for path in paths[:3]]
    finder = [network_alone(image, looks=2) for image in decoded]
    shown = np.ascontiguousarray(np.stack((crops * BATCH)[:BATCH])) if crops else None
    steps: dict[str, tuple[Callable[[int], object], int]] = {
        "decoding": (lambda turn: images.decode(paths[turn % len(paths)]), 1),
        "finder": (lambda turn: finder[turn % len(finder)](), 1),
    }
    if shown is not None:
        steps["classifier"] = (lambda _: session.run(shown), BATCH)
    told = {}
    for name, (step, each) in steps.items():
        seconds = []
        for turn in range(3 + 15):
            begun = time.thread_time()
            step(turn)
            seconds.append((time.thread_time() - begun) / each)
        told[name] = float(np.mean(seconds[3:]))
    return told


_JOBS: dict[str, Callable[..., dict[str, Any]]] = {
    "open": _open,
    "folder": _folder,
    "answers": _answers,
    "bound": _bound,
    "memory": lambda: {"peak_bytes": machine.peak_memory()},
}

"""`wbczoo predict` on fields, cells found, is timed in turn with a plain loop of the same steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from wbczoo import images, machine
from wbczoo.bench.turns import ask
from wbczoo.cells.overlap import overlap
from wbczoo.errors import ImageRefused, UsageError, WbczooError
from wbczoo.images.walk import Found
from wbczoo.process import JobProcess
from wbczoo.progress import Tell, bar
from wbczoo.runtime import Session
from wbczoo.runtime.batches import BATCH
from wbczoo.runtime.cells import Cells, choose_cells

_WORK = "wbczoo.bench.field_contestants:do"
_LIMIT = 900.0  # seconds of one job
_FEWEST = 2  # fields
SAME = 0.9  # of what two boxes cover together both cover (IoU), where they are one cell's

OURS = "wbczoo predict"


@dataclass
class Contestant:
    """One way of answering fields, and what was measured of it.

    Attributes:
        name: for the table.
        kind, options: what `bench.field_contestants` opens.
        batches: fields at once, each of which is timed.
        turns: batch -> what each round's turn took.
        error: why it could not be measured.
    """

    name: str
    kind: str
    options: dict[str, Any]
    batches: tuple[int, ...]
    turns: dict[int, list[dict[str, float]]] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    peak_bytes: int | None = None
    error: str | None = None

    def per_field(self, what: str) -> dict[int, float]:
        """Batch -> seconds of a field over all rounds, by the clock or by processor time."""
        return {
            batch: sum(turn[what] for turn in turns) / sum(turn["images"] for turn in turns)
            for batch, turns in self.turns.items()
        }

    def best(self, what: str) -> float | None:
        """Seconds of a field at the batch that suits it best."""
        return min(self.per_field(what).values(), default=None)


def bench_fields(
    paths: Sequence[Found],
    model: Path,
    *,
    cells: Cells = "one",
    threads: int | None = None,
    rounds: int = 3,
    tell: Tell = print,
) -> dict[str, Any]:
    """Compare `wbczoo predict` on fields with a plain loop of the same steps.

    Each lives in a process of its own, and all take turns in each round.

    Args:
        paths: of images; those that cannot be read, or lie within archives, are left out.
        model: an export that was trained on cells that were found.
        cells: of each field the best `one`, or `all`.
        threads: of each; all cores if None.
        rounds: how often each one's turn comes.

    Returns:
        settings, machine, and a row for each contestant: fields/s by batch, milliseconds of
        processor time, both as multiples of the loop that does best, the cells and answers that
        are those of `predict`, and of this one the share of the bound.

    Raises:
        UsageError: if the model finds no cells, or too few images can be read.
        WbczooError: if the model cannot be opened, or nothing can be measured.
    """
    file = Session(model, device="cpu").file
    if cells == "whole" or choose_cells(cells, file) is None or file.embedded:
        raise UsageError(
            f"{model} is shown no cells that are found; name a model that was trained with "
            "--crop cell or cell-wide."
        )
    good = [path for path in paths if isinstance(path, str) and _readable(path)]
    if len(good) < _FEWEST:
        raise UsageError(f"{len(good)} of {len(paths)} images are files that can be read.")
    tasks = {task.name: list(task.classes) for task in file.tasks}
    crop, size = file.preprocessing.crop, list(file.preprocessing.size)
    loop = {"model": str(file.path), "tasks": tasks, "crop": crop, "size": size,
            "threads": threads, "every": cells == "all"}  # fmt: skip
    runtime = {"model": str(model), "cells": cells, "threads": threads}
    both = (1, BATCH)
    contestants = [
        Contestant(OURS, "runtime", runtime, (BATCH,)),
        Contestant("a plain loop", "loop", loop, both),
        Contestant("the same, channels_last", "loop", {**loop, "channels_last": True}, both),
        Contestant("by scikit-image throughout", "loop", {**loop, "by_scikit_image": True}, both),
    ]
    processes = {each.name: JobProcess(_WORK, _LIMIT) for each in contestants}
    try:
        for each in contestants:
            tell(f"opening {each.name}")
            ask(each, processes, "open", kind=each.kind, options=each.options)
            for batch in each.batches:  # what is made ready at first, is made ready now
                ask(each, processes, "folder", paths=good[:BATCH], batch=batch)
        with bar(rounds * len(contestants), "timing", unit="turn") as advance:
            for number in range(rounds):
                for each in contestants if number % 2 else contestants[::-1]:
                    for batch in each.batches:
                        turn = ask(each, processes, "folder", paths=good, batch=batch)
                        if turn:
                            each.turns.setdefault(batch, []).append(turn)
                    advance(1)
        for each in contestants:
            each.peak_bytes = ask(each, processes, "memory").get("peak_bytes")
            each.answers = ask(each, processes, "answers", paths=good, tasks=tasks)
    finally:
        for process in processes.values():
            process.close()
    ours = contestants[0]
    if ours.error:
        raise WbczooError(f"Nothing could be measured: {ours.error}")
    with JobProcess(_WORK, _LIMIT) as alone:
        spent = alone.ask({"do": "bound", "model": str(model), "paths": good})
    if "error" in spent:
        raise WbczooError(f"The bound could not be measured: {spent['error']}")
    # A field has so many cells, each of which the classifier is asked about.
    spent["classifier"] = spent.get("classifier", 0.0) * len(ours.answers["boxes"]) / len(good)
    return {
        "name": file.name,
        "images": len(good),
        "cells": cells,
        "rounds": rounds,
        "threads": threads or machine.cores(),
        **machine.describe(),
        "bound_ms": {step: seconds * 1e3 for step, seconds in spent.items()},
        "rows": [_row(each, contestants, sum(spent.values())) for each in contestants],
    }


def _row(each: Contestant, contestants: Sequence[Contestant], bound: float) -> dict[str, Any]:
    loops = [one for one in contestants if one.kind == "loop"]
    processor = each.best("processor_seconds")
    return {
        "name": each.name,
        "error": each.error,
        "fields_per_second": {
            str(batch): 1 / seconds for batch, seconds in each.per_field("seconds").items()
        },
        "processor_ms": None if processor is None else processor * 1e3,
        "ratio": _times(loops, each, "seconds"),
        "processor_ratio": _times(loops, each, "processor_seconds"),
        "of_bound": bound / processor if processor and each.name == OURS else None,
        "peak_megabytes": each.peak_bytes / 1e6 if each.peak_bytes else None,
        "agreement": compare(contestants[0].answers, each.answers) if each.answers else None,
    }


def _times(loops: Sequence[Contestant], each: Contestant, what: str) -> float | None:
    """How many times as fast it is as the loop that does best."""
    mine = each.best(what)
    theirs = [best for one in loops if (best := one.best(what)) is not None]
    return min(theirs) / mine if mine and theirs else None


def compare(ours: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """How many cells another way finds, which are those of ours, and how many answers are equal.

    Returns:
        `cells` of the other, `same`, `equal`, and the largest `probability_difference` of a cell
        that is the same, None where there is none.
    """
    same = equal = 0
    difference = None
    places = np.array(ours["places"], int)
    boxes = np.array(ours["boxes"], float).reshape(-1, 4)
    for number, (place, box) in enumerate(zip(other["places"], other["boxes"], strict=True)):
        mine = np.flatnonzero(places == place)
        shares = overlap(boxes[mine], np.array([box], float))[:, 0]
        if not len(mine) or shares.max() <= SAME:
            continue
        best = int(mine[shares.argmax()])
        same += 1
        equal += ours["classes"][best] == other["classes"][number]
        both = (np.array(one["probabilities"]) for one in (ours, other))
        apart = np.abs(
            np.subtract(*(one[at] for one, at in zip(both, (best, number), strict=True)))
        )
        difference = max(difference or 0.0, float(apart.max()))
    return {
        "cells": len(other["boxes"]),
        "same": same,
        "equal": equal,
        "probability_difference": difference,
    }


def _readable(path: str) -> bool:
    try:
        images.decode(path)
    except ImageRefused:
        return False
    return True

"""A done trial becomes one row here, with its answers by photograph."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wbczoo import machine
from wbczoo.data.external import shared_classes
from wbczoo.metrics import restrict
from wbczoo.study.plan.trial import Trial
from wbczoo.study.run.roles import Library, Split

BINS = 10
_CURVE = 60  # epochs of a curve that are kept; a reader sees no more, and results are kept in git

Row = dict[str, Any]

_PACKAGES = ("wbczoo", "numpy", "torch", "timm", "torchvision", "onnxruntime-gpu", "onnxruntime",
             "scikit-learn", "scikit-image")  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """One photograph's files and what they were answered as, in one task.

    Attributes:
        truth: class index.
        counts: (classes,) how many of its files were answered as each class.
    """

    photograph: str
    group: str
    label: str
    truth: int
    counts: tuple[int, ...]


def describe_answers(
    split: Split, numbers: Sequence[int], probabilities: Mapping[str, NDArray[np.floating]]
) -> tuple[list[list[Any]], dict[str, NDArray[np.float64]], dict[str, dict[str, str]]]:
    """What a test was answered, by photograph, and how sure the answers were.

    Args:
        numbers: the test rows that were answered, in order.
        probabilities: task -> (N, classes).

    Returns:
        rows of photograph, group (None: the photograph is its own), raw label, and for each task
        the counts of answers (None where the task leaves the label out); and for each task the
        reliability bins (BINS, 3): files, sum of their confidences, files answered rightly; and
        for each task the class of each raw label. Where tasks have labels of their own, a raw
        label is all of an image's, joined.
    """
    rows = split.tested
    targets = split.targets("test", numbers)
    if split.plan.held_out:
        probabilities = _over_shared(split, numbers, probabilities)
    found: dict[tuple[str, str], list[Any]] = {}
    reliability = {task.name: np.zeros((BINS, 3)) for task in split.tasks}
    class_of: dict[str, dict[str, str]] = {task.name: {} for task in split.tasks}
    for place, number in enumerate(numbers):
        sample, group = rows.samples[number], rows.groups[number]
        photograph = sample.photograph or group
        each = (rows.label_of(task, number) for task in split.tasks)
        label = " / ".join(dict.fromkeys(each)) if sample.labels else sample.label
        blank = [photograph, None if group == photograph else group, label]
        row = found.setdefault((photograph, label), [*blank, *[None] * len(split.tasks)])
        for column, task in enumerate(split.tasks, 3):
            truth = int(targets[task.name][place])
            if truth < 0:
                continue
            likely = probabilities[task.name][place]
            answer = int(likely.argmax())
            class_of[task.name][label] = task.classes[truth]
            row[column] = row[column] or [0] * len(task.classes)
            row[column][answer] += 1
            bin_ = min(int(float(likely[answer]) * BINS), BINS - 1)
            reliability[task.name][bin_] += (1, float(likely[answer]), answer == truth)
    return list(found.values()), reliability, class_of


@dataclass(frozen=True)
class Answered:
    """The test of one fold: who was answered, how, and by what kind of training.

    Attributes:
        numbers: rows of `split.tested`.
        probabilities: task -> (N, classes), calibrated where there was a calibration.
        curves: one row for each epoch, as `metrics.jsonl` has them; empty of a baseline.
        best_epoch: from 1; 0 of a baseline.
        weights: where the backbone's first ones came from, as a run's config has it.
    """

    split: Split
    numbers: tuple[int, ...]
    probabilities: Mapping[str, NDArray[np.floating]]
    curves: Sequence[Mapping[str, float]] = ()
    best_epoch: int = 0
    weights: Mapping[str, Any] = field(default_factory=dict)


def run_folds(
    trial: Trial, library: Library, answer: Callable[[Split], Answered], *, device: str
) -> Row:
    """The row of a trial whose folds are trained and tested one after the other.

    Args:
        answer: trains on a fold's split and answers its test.
        device: the name of what computes.
    """
    started = time.perf_counter()
    tested = []
    for fold in trial.folds:
        where = "" if fold is None else f", fold {fold} (of {len(trial.folds)}, from 0)"
        library.tell(f"{trial.model}, {trial.arena}, seed {trial.train.seed}{where}")
        tested.append(answer(library.split(trial, fold)))
    seconds = time.perf_counter() - started
    return make_row(trial, tested, seconds=seconds, device=device)


def make_row(trial: Trial, tested: Sequence[Answered], *, seconds: float, device: str) -> Row:
    """A done trial's line of `results.jsonl` (docs/study.md describes its fields).

    Args:
        tested: of each fold.
        seconds: of wall clock that the trial took; its share, where several were run together.
        device: the name of what computed.
    """
    first = tested[0].split
    answers: list[list[Any]] = []
    bins = {task.name: np.zeros((BINS, 3)) for task in first.tasks}
    class_of: dict[str, dict[str, str]] = {task.name: {} for task in first.tasks}
    for one in tested:
        rows, reliability, meant = describe_answers(one.split, one.numbers, one.probabilities)
        answers += rows
        for name, values in reliability.items():
            bins[name] += values
            class_of[name] |= meant[name]
    described = machine.describe()
    return {
        "format": 1,
        "key": trial.key,
        "settings": trial.fields,
        "model": trial.model,
        "leaky": any(one.split.plan.leaky for one in tested),
        "unit": first.tested.unit,
        "photographs": first.tested.count_photographs(n for one in tested for n in one.numbers),
        "files": sum(len(one.numbers) for one in tested),
        "groups": len({row[1] or row[0] for row in answers}),
        "data": [one.split.describe() for one in tested],
        "seconds": round(seconds, 3),
        "how": trial.how,
        "environment": {
            "device": device,
            "processor": described["processor"],
            "cores": described["cores"],
            "packages": {k: v for k, v in described["packages"].items() if k in _PACKAGES},
        },
        "weights": dict(tested[-1].weights),
        "best_epochs": [one.best_epoch for one in tested],
        "curves": [
            [_short(one.curves[epoch]) for epoch in _shown(len(one.curves), one.best_epoch)]
            for one in tested
        ],
        "tasks": {
            task.name: {
                "classes": list(task.classes),
                "class_of": dict(sorted(class_of[task.name].items())),
                "reliability": np.round(bins[task.name], 4).tolist(),
            }
            for task in first.tasks
        },
        "answers": answers,
    }


def _over_shared(
    split: Split, numbers: Sequence[int], probabilities: Mapping[str, NDArray[np.floating]]
) -> dict[str, NDArray[np.floating]]:
    """Probabilities over the classes that a laboratory shares with the tasks; of others 0."""
    found = {}
    for task in split.tasks:
        shared = shared_classes(task, split.tested, numbers)
        kept = [task.classes.index(name) for name in shared]
        found[task.name] = np.zeros_like(probabilities[task.name])
        if kept:
            found[task.name][:, kept] = restrict(probabilities[task.name], kept)
    return found


def answers_of(row: Row, task: str) -> list[Answers]:
    """The answers to one task of a done trial, by photograph, in the order of its test."""
    column = 3 + list(row["tasks"]).index(task)
    classes, class_name = row["tasks"][task]["classes"], row["tasks"][task]["class_of"]
    return [
        Answers(
            line[0], line[1] or line[0], line[2], classes.index(class_name[line[2]]),
            tuple(line[column]),
        )
        for line in row["answers"]
        if line[column] is not None
    ]  # fmt: skip


def _shown(epochs: int, best: int) -> list[int]:
    """The epochs, from 0, that a result keeps of a curve: all of a short one, 60 of a long one."""
    even = np.linspace(0, max(epochs - 1, 0), min(epochs, _CURVE)).round().astype(int)
    return sorted({*even.tolist(), *([best - 1] if best else [])})


def _short(row: Mapping[str, float]) -> dict[str, float]:
    """A row of a curve in five digits; speeds belong to the machine, not to the curve."""
    return {k: float(f"{v:.5g}") for k, v in row.items() if k not in ("lr", "images_per_second")}

"""How far a graph of lower precision answers as fp32's does, on real images, and how fast."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wbczoo.images import Pixels
from wbczoo.runtime.session import Session

Answers = dict[str, NDArray[np.float32]]  # task -> probabilities (N, classes)

FEWEST = 500  # images that agreement is measured on

_BATCH = 16
_ROUNDS = 9


@dataclass(frozen=True)
class Bound:
    """What agreement is wanted: a share of equal answers, and no probability further off."""

    equal: float
    difference: float


BOUNDS = {"fp16": Bound(0.999, 0.01), "int8": Bound(0.995, 0.05)}


@dataclass(frozen=True)
class TaskAgreement:
    """Of one task: how many images got the same class, and the largest probability difference."""

    equal: int
    difference: float


@dataclass(frozen=True)
class Agreement:
    """What was found on `images` images, each task by its name."""

    images: int
    source: str
    tasks: Mapping[str, TaskAgreement]

    def holds(self, bound: Bound) -> bool:
        """Whether every task is within the bound; NaN is not."""
        return all(
            found.equal >= bound.equal * self.images and found.difference <= bound.difference
            for found in self.tasks.values()
        )

    def describe(self) -> str:
        """For a reader, in one line."""
        return "; ".join(
            f"{task} {found.equal} of {self.images} equal, probabilities within "
            f"{found.difference:.2g}"
            for task, found in self.tasks.items()
        )

    def as_json(self) -> dict[str, Any]:
        """For the card; a difference that is no number is null."""
        tasks = {task: asdict(found) for task, found in self.tasks.items()}
        for found in tasks.values():
            found["difference"] = found["difference"] if np.isfinite(found["difference"]) else None
        return {"images": self.images, "source": self.source, "tasks": tasks}


def ask(session: Session, images: Pixels) -> Answers:
    """Each task's probabilities (N, classes) for preprocessed images (N, 3, H, W)."""
    batches = [session.run(images[at : at + _BATCH]) for at in range(0, len(images), _BATCH)]
    return {
        task.name: np.concatenate([batch[f"{task.name}_probabilities"] for batch in batches])
        for task in session.tasks
    }


def compare_answers(reference: Answers, found: Answers, source: str) -> Agreement:
    """Hold a graph's answers against fp32's, to the same images in the same order."""
    tasks = {
        task: TaskAgreement(
            int((expected.argmax(1) == found[task].argmax(1)).sum()),
            float(np.abs(expected - found[task]).max()),
        )
        for task, expected in reference.items()
    }
    return Agreement(len(next(iter(reference.values()))), source, tasks)


def relative_speeds(graphs: Mapping[str, Path], images: Pixels) -> dict[str, float]:
    """How many times as fast as the first graph each one is, on the CPU with all cores.

    Batches of 16 are timed in turn, so that a machine that slows down slows all of them. The
    shortest of nine rounds are compared, after one that does not count: whatever else the machine
    does can only add to a round.
    """
    sessions = {name: Session(path, device="cpu") for name, path in graphs.items()}
    batch = images[np.arange(_BATCH) % len(images)]
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(_ROUNDS + 1):
        for name, session in sessions.items():
            started = time.perf_counter()
            session.run(batch)
            seconds[name].append(time.perf_counter() - started)
    shortest = {name: min(found[1:]) for name, found in seconds.items()}
    first = next(iter(shortest.values()))
    return {name: first / found for name, found in shortest.items()}

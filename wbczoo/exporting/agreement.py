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
from wbczoo.runtime.flags import LIMIT
from wbczoo.runtime.model_file import NOVELTY
from wbczoo.runtime.session import Session

# task -> probabilities (N, classes), and the novelty (N,) by its own name
Answers = dict[str, NDArray[np.float32]]

ENOUGH = 500  # images; on fewer, the interval of the share of equal answers is said

_BATCH = 16
_ROUNDS = 9


@dataclass(frozen=True)
class Bound:
    """What agreement is wanted: a share of equal answers, and no probability further off."""

    equal: float
    difference: float = 1.0

    def __str__(self) -> str:
        far = f" and no probability further than {self.difference:g}" if self.difference < 1 else ""
        return f"{100 * self.equal:g} % equal answers{far}"


# Of the larger of 1 and the largest logit: how far a logit may differ that is computed otherwise.
TOLERANCE = 1e-4

SAME_SIDE = 0.99  # of the images, by their novelty

BOUNDS = {"fp16": Bound(0.999, 0.01), "int8": Bound(0.995, 0.05)}


@dataclass(frozen=True)
class TaskAgreement:
    """Of one task: how many images got the same class, and the largest probability difference."""

    equal: int
    difference: float


@dataclass(frozen=True)
class Agreement:
    """What was found on `images` images, each task by its name.

    Attributes:
        novelty: how many of them lie on the same side of its limit; None of a model without.
    """

    images: int
    source: str
    tasks: Mapping[str, TaskAgreement]
    novelty: int | None = None

    def holds(self, bound: Bound) -> bool:
        """Whether every task is within the bound, and the novelty in its own; NaN is not."""
        if self.novelty is not None and self.novelty < SAME_SIDE * self.images:
            return False
        return all(
            found.equal >= bound.equal * self.images and found.difference <= bound.difference
            for found in self.tasks.values()
        )

    def describe(self) -> str:
        """For a reader, in one line."""
        told = [
            f"{task} {found.equal} of {self.images} equal, probabilities within "
            f"{found.difference:.2g}"
            for task, found in self.tasks.items()
        ]
        if self.images < ENOUGH:
            least = min(least_share(found.equal, self.images) for found in self.tasks.values())
            told.append(f"by the 95 % interval at least {100 * least:.1f} % are equal")
        if self.novelty is not None:
            told.append(f"novelty {self.novelty} of {self.images} on the same side of its limit")
        return "; ".join(told)

    def as_json(self) -> dict[str, Any]:
        """For the card; a difference that is no number is null."""
        tasks = {task: asdict(found) for task, found in self.tasks.items()}
        for found in tasks.values():
            found["low"] = least_share(found["equal"], self.images)
            found["difference"] = found["difference"] if np.isfinite(found["difference"]) else None
        document = {"images": self.images, "source": self.source, "tasks": tasks}
        return document if self.novelty is None else {**document, "novelty": self.novelty}


def least_share(equal: int, images: int) -> float:
    """How few answers may be equal: the lower end of the exact 95 % interval of their share."""
    from scipy.stats import binomtest

    return round(float(binomtest(equal, images).proportion_ci().low), 4)


def ask(session: Session, images: Pixels) -> Answers:
    """Each task's probabilities, and the novelty if any, of images (N, 3, H, W)."""
    batches = [session.run(images[at : at + _BATCH]) for at in range(0, len(images), _BATCH)]
    outputs = {task.name: f"{task.name}_probabilities" for task in session.tasks}
    if session.file.has_novelty:
        outputs[NOVELTY] = NOVELTY
    return {
        name: np.concatenate([batch[output] for batch in batches])
        for name, output in outputs.items()
    }


def compare_answers(reference: Answers, found: Answers, source: str) -> Agreement:
    """Hold a graph's answers against fp32's, to the same images in the same order."""
    tasks = {
        task: TaskAgreement(
            int((expected.argmax(1) == found[task].argmax(1)).sum()),
            float(np.abs(expected - found[task]).max()),
        )
        for task, expected in reference.items()
        if task != NOVELTY
    }
    images, same = len(next(iter(reference.values()))), None
    if NOVELTY in reference:
        sides = ((answers[NOVELTY] > LIMIT) for answers in (reference, found))
        same = int(np.equal(*sides).sum()) if np.isfinite(found[NOVELTY]).all() else 0
    return Agreement(images, source, tasks, same)


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

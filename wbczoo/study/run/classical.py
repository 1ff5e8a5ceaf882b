"""Trials of baselines are fitted and tested here, on images at their native size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from wbczoo import images, machine, registry
from wbczoo.data.samples import LEFT_OUT, Rows
from wbczoo.errors import ImageRefused, WbczooError
from wbczoo.parts import choose_options
from wbczoo.progress import Tell
from wbczoo.registry.entry import Entry
from wbczoo.registry.sandbox import explained
from wbczoo.specs import BaselineSpec, Option
from wbczoo.study.plan.trial import BaselineTrial
from wbczoo.study.run.roles import Library, Split
from wbczoo.study.run.row import Answered, Row, run_folds


class NativeImages(Sequence[NDArray[np.uint8]]):
    """uint8 RGB (H, W, 3) of these rows, each decoded when it is asked for."""

    def __init__(self, rows: Rows, numbers: Sequence[int]) -> None:
        self._rows, self._numbers = rows, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, place: int) -> NDArray[np.uint8]: ...

    @overload
    def __getitem__(self, place: slice) -> NativeImages: ...

    def __getitem__(self, place: int | slice) -> NDArray[np.uint8] | NativeImages:
        if isinstance(place, slice):
            return NativeImages(self._rows, self._numbers[place])
        return read_image(self._rows, self._numbers[place])

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (read_image(self._rows, number) for number in self._numbers)


def read_image(rows: Rows, number: int) -> NDArray[np.uint8]:
    """One row's image; raises ImageRefused with the reason."""
    return images.decode(rows.source.read(rows.samples[number].path))


def find_baseline(trial: BaselineTrial) -> tuple[Entry[BaselineSpec], dict[str, Option]]:
    """A trial's baseline, with all of its options.

    Raises:
        UsageError: if there is no such baseline, or an option cannot be.
    """
    entry = registry.baselines.find(trial.baseline)
    assert entry.spec is not None
    chosen = choose_options(trial.baseline_options, entry.spec.options, repr(entry.name))
    given = {name: chosen[name] for name in trial.baseline_options}
    return entry, {**chosen, **entry.spec.formerly, **given}


def run_baseline(trial: BaselineTrial, library: Library, tell: Tell) -> Row:
    """Fit a baseline for each task on the training side, and test it.

    A baseline chooses no epoch, so what validates a network trains it too.

    Raises:
        UsageError: if there is no such baseline, or an option cannot be.
        WbczooError: if it fails, or answers with what are no probabilities.
    """
    entry, options = find_baseline(trial)
    assert entry.spec is not None
    build = entry.spec.build

    def answer(split: Split) -> Answered:
        side = _whole(split.rows, training_side(trial, split), tell)
        test = _whole(split.tested, split.test, tell)
        truth = split.rows.targets(split.tasks)
        found = {}
        for task in split.tasks:
            tell(f"{trial.baseline}: {task.name}, {len(side)} images to fit, {len(test)} to answer")
            known = [n for n in side if truth[task.name][n] != LEFT_OUT]
            labels = truth[task.name][known]
            # The contract promises each class at least once; one that nobody shows is no class.
            seen, narrowed = np.unique(labels, return_inverse=True)
            groups = [split.rows.groups[n] for n in known]
            with explained(f"The baseline {entry.name!r} failed"):
                model = build(seed=trial.train.seed, **options)
                model.fit(NativeImages(split.rows, known), narrowed, groups)
                answered = np.asarray(model.predict_proba(NativeImages(split.tested, test)))
            found[task.name] = _spread(answered, seen, len(test), len(task.classes), entry.name)
        return Answered(split, tuple(test), found)

    return run_folds(trial, library, answer, device=machine.processor())


def training_side(trial: BaselineTrial, split: Split) -> list[int]:
    """The rows that a baseline is fitted on: those that train or validate a network.

    With a `train_part` (`grouped` has its own) they are that part's rows of the same photographs.
    """
    side = sorted({*split.numbers("train"), *split.numbers("validation")})
    if trial.train_part is None or split.plan.protocol == "grouped":
        return side
    rows = split.rows
    photographs = {rows.samples[n].photograph or rows.groups[n] for n in side}
    usable = {n for values in rows.targets(split.tasks).values()
              for n in np.flatnonzero(values != LEFT_OUT)}  # fmt: skip
    chosen = [
        n
        for n in sorted(usable)
        if rows.samples[n].part == trial.train_part
        and (rows.samples[n].photograph or rows.groups[n]) in photographs
    ]
    if not chosen:
        raise WbczooError(
            f"{rows.source.root} has no image of the part {trial.train_part!r} among the training "
            "photographs."
        )
    return [int(n) for n in chosen]


def _whole(rows: Rows, numbers: Sequence[int], tell: Tell) -> list[int]:
    """Those of the rows whose images can be read; a refusal is told."""
    good = []
    for number in numbers:
        try:
            read_image(rows, number)
        except (ImageRefused, WbczooError) as refusal:
            tell(f"refused {rows.samples[number].path}: {refusal}")
            continue
        good.append(number)
    return good


def _spread(answered: Any, seen: Any, images: int, classes: int, name: str) -> Any:
    """Probabilities over the classes that were seen, as (N, classes) of the task."""
    good = answered.shape == (images, len(seen)) and np.isfinite(answered).all()
    if not good or (answered < -1e-6).any() or not np.allclose(answered.sum(1), 1, atol=1e-3):
        raise WbczooError(
            f"The baseline {name!r} answered {answered.shape} for {images} images of {len(seen)} "
            "classes, or with what are no probabilities: `wbczoo plugin check` says more."
        )
    whole = np.zeros((images, classes))
    whole[:, seen] = answered
    return whole

"""What a baseline must keep: probabilities, from nothing but the images and the seed."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wbczoo import images, tasks
from wbczoo.images.tree import Tree
from wbczoo.registry import datasets
from wbczoo.specs import BaselineSpec
from wbczoo.testing.subject import CheckFailed, NotApplicable
from wbczoo.text import describe_error

_TRAINED, _ASKED = 16, 8


def check_probabilities(spec: BaselineSpec) -> None:
    """Fitted on images of four classes, it gives (N, 4) probabilities that sum to 1, and leaves
    the images as they were.
    """
    shown, labels, groups = _drawn()
    given = [image.copy() for image in shown]
    named = labels[:_TRAINED].copy()
    try:
        classifier = spec.build(seed=0, **spec.options)
        classifier.fit(given[:_TRAINED], named, groups[:_TRAINED])
        found = np.asarray(classifier.predict_proba(given[_TRAINED:]))
    except Exception as error:
        raise CheckFailed(f"It fails on drawn smears: {describe_error(error)}") from error
    classes = len(tasks.CELL.classes)
    if found.shape != (_ASKED, classes):
        raise CheckFailed(
            f"`predict_proba` of {_ASKED} images gives {found.shape}, not {(_ASKED, classes)}."
        )
    if not np.isfinite(found).all() or found.min() < 0 or np.abs(found.sum(1) - 1).max() > 1e-5:
        raise CheckFailed("Its probabilities are not at least 0, or do not sum to 1.")
    if any(not np.array_equal(one, other) for one, other in zip(given, shown, strict=True)):
        raise CheckFailed("It changes the images that it is given.")
    if not np.array_equal(named, labels[:_TRAINED]):
        raise CheckFailed("It changes the labels that it is given.")


def check_baseline_seed(spec: BaselineSpec) -> None:
    """Two baselines of one seed give the same answers."""
    first, second = _fitted(spec), _fitted(spec)
    asked = _drawn()[0][_TRAINED:]
    if not np.array_equal(_ask(first, asked), _ask(second, asked)):
        raise CheckFailed("Two baselines of one seed differ. Draw from the seed alone.")


def check_baseline_rows_alone(spec: BaselineSpec) -> None:
    """An image's answer does not depend on what else is asked."""
    classifier = _fitted(spec)
    asked = _drawn()[0][_TRAINED:]
    together = _ask(classifier, asked)
    try:
        alone = np.concatenate([_ask(classifier, [image]) for image in asked])
    except NotApplicable as error:
        raise CheckFailed(f"Asked about one image alone: {error}") from error
    if together.shape != alone.shape or not np.allclose(together, alone, atol=1e-6):
        raise CheckFailed("An image's answer depends on which other images are asked with it.")


def _fitted(spec: BaselineSpec) -> Any:
    shown, labels, groups = _drawn()
    try:
        classifier = spec.build(seed=0, **spec.options)
        classifier.fit(
            [image.copy() for image in shown[:_TRAINED]],
            labels[:_TRAINED].copy(),
            groups[:_TRAINED],
        )
    except Exception as error:
        raise NotApplicable(f"It cannot be fitted: {describe_error(error)}") from error
    return classifier


def _ask(classifier: Any, asked: list[NDArray[np.uint8]]) -> NDArray[Any]:
    try:
        return np.asarray(classifier.predict_proba([image.copy() for image in asked]))
    except Exception as error:
        raise NotApplicable(f"`predict_proba` fails: {describe_error(error)}") from error


@cache
def _drawn() -> tuple[list[NDArray[np.uint8]], NDArray[np.int64], list[str]]:
    """Drawn smears, uint8 (H, W, 3) of several sizes: images, class indices and groups.

    Every class stands among those that are trained on.
    """
    spec = datasets.spec("synthetic")
    assert spec.prepare is not None
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "smears"
        spec.prepare(root, photographs=_TRAINED + _ASKED, views=1, seed=0)
        samples = sorted(spec.samples(root), key=lambda sample: sample.photograph or "")
        # Turn by turn, so that the first sixteen hold all classes.
        turns: dict[str, int] = {}
        for sample in samples:
            turns[sample.path] = sum(s.label == sample.label for s in samples[: len(turns)])
        samples.sort(key=lambda sample: (turns[sample.path], sample.label))
        source = Tree(root)
        whole = [images.decode(source.read(sample.path)) for sample in samples]
        # Native sizes differ, between cameras and between crops.
        shown = [image[: 240 - 8 * (n % 3), : 320 - 8 * (n % 2)] for n, image in enumerate(whole)]
    indices = [
        tasks.CELL.classes.index(tasks.class_of(tasks.CELL, sample.label, spec.labels) or "")
        for sample in samples
    ]
    return shown, np.array(indices), [sample.photograph or "" for sample in samples]

"""Probabilities and truth become figures here, each with an interval over groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wbczoo.errors import WbczooError
from wbczoo.metrics.formulas import (
    COVERAGES,
    Floats,
    Ints,
    auroc,
    calibration_error,
    check,
    confusion,
    figures_of,
    kept_at,
    ratio,
    selective_errors,
)
from wbczoo.metrics.intervals import (
    METHOD,
    Interval,
    draw,
    effective_groups,
    gap_interval,
    interval,
    replicate,
)
from wbczoo.tasks import Task

TEMPERATURES = (0.05, 20.0)

Probabilities = NDArray[np.floating]


def measure(
    task: Task,
    targets: Ints,
    probabilities: Probabilities,
    groups: Sequence[str],
    strata: Sequence[str],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure the answers to one task.

    Each figure is `{"value", "low", "high"}`, or three times None where the rows leave it
    undefined: those of a class without rows, and the AUROC of the only class with any. Balanced
    accuracy and macro-F1 are means over the classes that the truth has. The precision of a class
    that is never the answer is 0.

    Args:
        targets: (N,) class indices; rows of -1 are left out.
        probabilities: (N, C) of the task's classes.
        groups: (N,) what each row must stay together with; the unit of the bootstrap.
        strata: (N,) raw labels; see `wbczoo.metrics.intervals.draw`.
        resamples, seed: of the bootstrap.

    Returns:
        what JSON can hold: `classes`, `files`, `groups`, `accuracy`, `balanced_accuracy`,
        `macro_f1`, `ece`, `per_class` (class -> `files`, `groups`, `precision`, `recall`,
        `auroc`), `confusion` (rows truth, columns answer), `coverage` (the error of the most
        confident share of the rows) and `notes` on the bootstrap.

    Raises:
        WbczooError: if the arrays do not fit together, or hold no probabilities.
    """
    check(task.name, len(task.classes), probabilities, targets, groups, strata)
    kept: list[int] = np.flatnonzero(targets >= 0).tolist()
    truth, likely = targets[kept], probabilities[kept].astype(np.float64)
    drawn = draw([groups[r] for r in kept], [strata[r] for r in kept], resamples, seed)
    answers, confidences = likely.argmax(1), likely.max(1, initial=0.0)
    wrong = answers != truth
    number = len(task.classes)

    def scores(weights: Floats) -> dict[str, Floats]:
        matrix = confusion(weights, truth, answers, number)
        ranks = [auroc(weights, likely[:, c], truth == c) for c in range(number)]
        return {
            **figures_of(matrix),
            "confusion": matrix,
            "auroc": np.stack(ranks, 1),
            "ece": calibration_error(weights, wrong, confidences),
            "errors": selective_errors(weights, wrong, confidences),
        }

    point, again = replicate(drawn, scores)

    def figure(name: str, groups: float, *place: int) -> Interval:
        replicates = np.moveaxis(again[name], 0, -1)[place]  # (B,)
        return interval(float(point[name][place]), replicates, groups)

    def per_class(c: int) -> dict[str, Any]:
        ours, named = truth == c, answers == c
        count = effective_groups(ours, drawn)
        return {
            "files": int(ours.sum()),
            "groups": len(np.unique(drawn.group_of_row[ours])),
            "precision": figure("precision", effective_groups(named, drawn) or count, c),
            "recall": figure("recall", count, c),
            "auroc": figure("auroc", min(count, effective_groups(~ours, drawn)), c),
        }

    everyone = effective_groups(np.ones(len(truth)), drawn)
    # In a mean over classes a row weighs more the fewer its class has.
    balanced = effective_groups(1 / np.bincount(truth)[truth], drawn)
    accuracy = figure("accuracy", everyone)
    return {
        "classes": list(task.classes),
        "files": len(truth),
        "groups": drawn.groups,
        "accuracy": accuracy,
        "balanced_accuracy": figure("balanced_accuracy", balanced),
        "macro_f1": figure("macro_f1", balanced),
        "ece": gap_interval(float(point["ece"]), again["ece"], accuracy, again["accuracy"]),
        "per_class": {name: per_class(c) for c, name in enumerate(task.classes)},
        "confusion": point["confusion"].astype(int).tolist(),
        "coverage": [
            {
                "coverage": share,
                "error": figure(
                    "errors", effective_groups(kept_at(share, confidences), drawn), place
                ),
            }
            for place, share in enumerate(COVERAGES)
        ],
        "notes": {
            "interval": METHOD,
            "resamples": resamples,
            "seed": seed,
            "effective_groups": everyone,
            "strata": dict(drawn.strata),
            "single_group_strata": drawn.single_group_strata,
        },
    }


def measure_contradictions(
    first: Task,
    second: Task,
    implied: Mapping[str, str],
    first_probabilities: Probabilities,
    second_probabilities: Probabilities,
    groups: Sequence[str],
    strata: Sequence[str],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """How often the answer to one task denies the answer to another; needs no truth.

    Args:
        first, second: say, cell and nucleus.
        implied: class of `first` -> the class of `second` that must go with it. Rows whose
            answer is a class without one, or with one that `second` lacks, do not count.
        first_probabilities, second_probabilities: (N, C) of either task.
        groups, strata, resamples, seed: as `measure` takes them.

    Returns:
        `value`, `low`, `high`, and in `files` how many rows count.

    Raises:
        WbczooError: as `measure` does.
    """
    for task, probabilities in ((first, first_probabilities), (second, second_probabilities)):
        check(task.name, len(task.classes), probabilities, groups, strata)
    place = {name: number for number, name in enumerate(second.classes)}
    expected = np.array([place.get(implied.get(name, ""), -1) for name in first.classes])
    due = expected[first_probabilities.argmax(1)]
    counted = due >= 0
    denied = counted & (due != second_probabilities.argmax(1))
    drawn = draw(groups, strata, resamples, seed)

    def scores(weights: Floats) -> dict[str, Floats]:
        return {"rate": ratio(weights @ denied, weights @ counted)}

    point, again = replicate(drawn, scores)
    rate = interval(float(point["rate"]), again["rate"], effective_groups(counted, drawn))
    return {**rate, "files": int(counted.sum())}


def restrict(probabilities: Probabilities, classes: Sequence[int]) -> Floats:
    """Probabilities (N, C) over K of the classes alone, renormalised to (N, K).

    A row that gives all of them nothing gives each the same.

    Args:
        classes: their indices, in the order wanted.
    """
    chosen = probabilities[:, list(classes)].astype(np.float64)
    total = chosen.sum(1, keepdims=True)
    even = np.full_like(chosen, 1 / len(classes))
    np.divide(chosen, total, out=even, where=total > 0)
    return even


def fit_temperature(logits: Probabilities, targets: Ints) -> float:
    """The temperature in [0.05, 20] whose softmax(logits / T) is likeliest (Guo et al. 2017, 4.2).

    1 where the rows do not determine one: none counts, or every answer is right, for then
    the likelihood grows without end as T falls, and no certainty would be too much.

    Args:
        logits: (N, C).
        targets: (N,) class indices; rows of -1 are left out.

    Raises:
        WbczooError: if the logits are not finite.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    kept = targets >= 0
    scores, truth = logits[kept].astype(np.float64), targets[kept]
    if not np.isfinite(scores).all():
        raise WbczooError("The logits hold NaN or infinity, so no temperature can be fitted.")
    if len(truth) == 0 or (scores.argmax(1) == truth).all():
        return 1.0

    def loss(log_temperature: float) -> float:
        likely = log_softmax(scores / np.exp(log_temperature), axis=1)
        return -float(likely[np.arange(len(truth)), truth].mean())

    found = float(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded").x)
    return float(np.exp(found)) if loss(found) < loss(0.0) else 1.0

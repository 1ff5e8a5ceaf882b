"""What a network gave for an image is put into words here: classes, novelty and flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wbczoo.errors import UsageError
from wbczoo.runtime.flags import Limits
from wbczoo.runtime.model_file import NOVELTY, ModelFile
from wbczoo.runtime.sets import Floors, classes_left
from wbczoo.tasks import Task

if TYPE_CHECKING:
    from wbczoo.runtime.layers import Layer

Answer = dict[str, Any]


def choose_limits(
    file: ModelFile, unknown_above: float | None, unsure_below: float | None
) -> Limits | None:
    """The limits that a model was exported with, but for those that a user gives anew.

    Args:
        unknown_above: a novelty.
        unsure_below: a probability of every task.

    Returns:
        None where there are neither.

    Raises:
        UsageError: if a novelty is limited of a model that tells none, or by what is no number;
            if a probability is not in [0, 1].
    """
    if unknown_above is not None and isnan(unknown_above):
        raise UsageError("A limit of novelty is a number, not nan. Leave it out, or give another.")
    if unsure_below is not None and not 0 <= unsure_below <= 1:
        raise UsageError(
            f"A limit of probabilities is a number from 0 to 1, not {unsure_below}. Leave it out, "
            "or give another."
        )
    if unknown_above is not None and not file.has_novelty:
        raise UsageError(
            f"{file.path} tells no novelty, so nothing is unknown to it. Leave out "
            "--unknown-above, or train the model again: what is trained now tells it."
        )
    limits = file.limits
    if unknown_above is not None:
        limits = replace(limits or Limits(), unknown_above=unknown_above)
    if unsure_below is not None:
        below = {task.name: unsure_below for task in file.tasks}
        limits = replace(limits or Limits(), unsure_below=below)
    return limits


def answer_of(
    tasks: Sequence[Task],
    limits: Limits | None,
    outputs: Mapping[str, NDArray[np.float32]],
    known: Mapping[str, Any] | None = None,
    layers: Sequence[Layer] = (),
    floors: Floors | None = None,
) -> Answer:
    """The answer about one image, as `Session.answers` yields it.

    Args:
        outputs: of one image, by name.
        known: what is known of it without the model.
        layers: of these outputs, those that the answer has as features.
        floors: of the sets that the answer has, if any.
    """
    known = known or {}
    probabilities = {task.name: outputs[f"{task.name}_probabilities"] for task in tasks}
    numbers = [*probabilities.values(), outputs.get(NOVELTY, np.float32(0))]
    if not all(np.isfinite(values).all() for values in numbers):
        return {**known, "error": "The model's answer is not a number; its weights are damaged."}
    answer: Answer = {"tasks": {t.name: _named(t, probabilities[t.name]) for t in tasks}}
    for task in tasks:
        if floors is not None and task.name in floors:
            left = classes_left(task, probabilities[task.name], floors[task.name])
            answer["tasks"][task.name]["set"] = left
    if NOVELTY in outputs:
        answer[NOVELTY] = float(str(outputs[NOVELTY]))
    if limits is not None:
        flags = limits.flags(answer["tasks"], answer.get(NOVELTY))
        answer["flags"] = [*flags, *known.get("flags", [])]
    if layers:
        answer["features"] = {layer: outputs[layer] for layer in layers}
    if f"{tasks[0].name}_map" in outputs:
        answer["maps"] = {
            task.name: (outputs[f"{task.name}_map"], outputs[f"{task.name}_branch"])
            for task in tasks
        }
    return {**known, **answer}


def _named(task: Task, probabilities: NDArray[np.float32]) -> dict[str, Any]:
    # The shortest decimals that are the same float32, not the longer ones of its float64.
    values = [float(str(value)) for value in probabilities]
    best = int(probabilities.argmax())
    return {
        "class": task.classes[best],
        "probability": values[best],
        "probabilities": dict(zip(task.classes, values, strict=True)),
    }

"""What is said of an answer beside its class: flags, and the limits past which they are raised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from wbczoo.tasks import NUCLEUS_OF

UNKNOWN = "unknown"  # further from what the model learned than nearly all that it knows
UNSURE = "unsure"  # of answers with so low a probability too many are wrong
CONTRADICTED = "contradicted"  # the answers to two tasks deny each other

# Of novelty: nearly all that a model knows lies below.
LIMIT = 1.0


@dataclass(frozen=True)
class Limits:
    """Where flags begin; fitted on validation photographs, or given by a user.

    Attributes:
        unknown_above: a novelty; None where no novelty is too high.
        unsure_below: a probability in [0, 1] by the task's name; a task without one is never
            unsure.
    """

    unknown_above: float | None = None
    unsure_below: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold; `read` reads it."""
        return asdict(self)

    @classmethod
    def read(cls, text: str) -> Limits | None:
        """From JSON; None of `null`.

        Raises:
            msgspec.MsgspecError: if it is not what `to_dict` gives.
        """
        found: Limits | None = msgspec.json.decode(text, type=cls | None)
        return found

    def flags(self, tasks: Mapping[str, Mapping[str, Any]], novelty: float | None) -> list[str]:
        """The flags of an answer, in the order of this module.

        Args:
            tasks: by each one's name `{"class", "probability", ...}`.
        """
        return [*self._flags(tasks, novelty)]

    def _flags(
        self, tasks: Mapping[str, Mapping[str, Any]], novelty: float | None
    ) -> Iterator[str]:
        limit = self.unknown_above
        if novelty is not None and limit is not None and novelty > limit:
            yield UNKNOWN
        if any(each["probability"] < self.unsure_below.get(t, 0.0) for t, each in tasks.items()):
            yield UNSURE
        if any(contradicts(each["class"], tasks) for each in tasks.values()):
            yield CONTRADICTED


def average(limits: Sequence[Limits | None]) -> Limits | None:
    """The limits of models whose novelties and probabilities are averaged: the mean of theirs.

    Returns:
        None where one of them has none; a single limit that one of them lacks is left out.
    """
    from statistics import fmean  # it brings fractions and decimals along

    given = [each for each in limits if each is not None]
    if len(given) < len(limits):
        return None
    above = [each.unknown_above for each in given if each.unknown_above is not None]
    tasks = [task for task in given[0].unsure_below if all(task in g.unsure_below for g in given)]
    return Limits(
        fmean(above) if len(above) == len(given) else None,
        {task: fmean(each.unsure_below[task] for each in given) for task in tasks},
    )


def contradicts(answer: str, tasks: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the answer about the nucleus denies that of another task, if it is asked.

    Args:
        answer: the other task's class; one that implies no nucleus is never denied.
        tasks: by each one's name `{"class", ...}`.
    """
    implied, found = NUCLEUS_OF.get(answer), tasks.get("nucleus", {"class": None})["class"]
    return implied is not None and found != implied and found in NUCLEUS_OF.values()

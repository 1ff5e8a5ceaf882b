"""A plan's done trials become series here: one setting under one protocol, in all its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from wbczoo.study.plan.plan import StudyPlan
from wbczoo.study.plan.trial import BaselineTrial, NetworkTrial, Trial
from wbczoo.study.report.words import describe_setting, format_counts, format_seeds
from wbczoo.study.run.row import Row

Fields = Mapping[str, Any]

# What a trial has unless its plan says otherwise; a trial that differs is asked for by name.
_PLAIN: Fields = {
    "train_part": None, "image_size": None, "crop": None, "settings": {}, "baseline_options": {},
    "backbone_options": {}, "statistics": None,
}  # fmt: skip


@dataclass(frozen=True)
class Series:
    """The trials that are equal but for the seed.

    Attributes:
        protocol: its name in the plan.
        trials: seed -> trial, as planned.
        rows: seed -> result, of the done ones.
    """

    protocol: str
    trials: Mapping[int, Trial]
    rows: Mapping[int, Row]

    @property
    def trial(self) -> Trial:
        """The first of its trials."""
        return next(iter(self.trials.values()))

    @property
    def network(self) -> NetworkTrial | None:
        """The first of its trials, if it trains a network."""
        return self.trial if isinstance(self.trial, NetworkTrial) else None

    @property
    def baseline(self) -> str | None:
        """The name of its baseline, if it fits one."""
        return self.trial.baseline if isinstance(self.trial, BaselineTrial) else None

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The settings of the first of its trials, as `Trial.fields` has them."""
        return self.trial.fields

    @property
    def model(self) -> str:
        """What is fitted, as `Trial.model` says it."""
        return self.trial.model

    @property
    def kind(self) -> tuple[str, str | None]:
        """The model and what of it trains: what its other settings have in common."""
        return self.model, self.fields["trainable"]

    @property
    def epochs(self) -> int:
        """For how many a network is trained; 0 of a baseline."""
        return self.network.train.epochs if self.network else 0

    @property
    def leaky(self) -> bool:
        """Whether test files show photographs that training saw too."""
        return self.trial.train.protocol == "report" or any(
            row["leaky"] for row in self.rows.values()
        )

    @property
    def arena(self) -> str:
        """The protocol's name, under the word LEAKY where it leaks."""
        return f"{'LEAKY ' if self.leaky else ''}{self.protocol}"

    @property
    def setting(self) -> str:
        """How it is trained, but for the epochs, in a few words."""
        return describe_setting(self.trial)

    @property
    def counts(self) -> str:
        """What its figures rest on: `2487 files of 71 photographs in 69 groups`."""
        return format_counts(list(self.rows.values()))

    @property
    def learning(self) -> bool:
        """Whether most trainings were best in their last epoch: longer ones might score more.

        Where the last is kept whatever validation says, that tells nothing.
        """
        if self.network is None or self.network.train.keep == "last":
            return False
        last = [best == self.epochs for row in self.rows.values() for best in row["best_epochs"]]
        return bool(sum(last) > len(last) / 2)

    @property
    def trained(self) -> str:
        """How often and how long its networks were trained; empty of a baseline."""
        if self.network is None:
            return ""
        note = ", still learning" if self.learning else ""
        return f"{format_seeds(len(self.rows))}, {self.epochs} epochs{note}"

    def agrees(self, fields: Fields) -> bool:
        """Whether its trials have these values, and nothing special that they do not name."""
        wanted = {**_PLAIN, **fields}
        return all(self.fields[name] == value for name, value in wanted.items())

    def rest(self, *left_out: str) -> dict[str, Any]:
        """Its settings without the seed and these."""
        return {k: v for k, v in self.fields.items() if k not in ("seed", *left_out)}


def gather(plan: StudyPlan, done: Mapping[str, Row]) -> list[Series]:
    """The series of a plan in the order of its blocks; each trial stands in one."""
    found: dict[tuple[str, str], dict[int, Trial]] = {}
    for block in plan.blocks:
        for protocol in block.protocols:
            for trial in plan.trials_of(block, protocol):
                rest = str({k: v for k, v in trial.fields.items() if k != "seed"})
                found.setdefault((protocol, rest), {})[trial.train.seed] = trial
    return [
        Series(protocol, trials, {s: done[one.key] for s, one in trials.items() if one.key in done})
        for (protocol, _), trials in found.items()
    ]


def choose(among: Sequence[Series]) -> Series | None:
    """The series to speak of: the one of most seeds that are done, then planned, then of epochs."""
    return max(
        among,
        key=lambda one: (len(one.rows), len(one.trials), one.epochs),
        default=None,
    )

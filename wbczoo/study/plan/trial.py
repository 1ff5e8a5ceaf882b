"""One trial of a study: what is fitted, on what, how it is tested, and the key of its result."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import Field

from wbczoo.config import Part, TrainConfig
from wbczoo.data.choice import choose_dataset
from wbczoo.specs import Option
from wbczoo.study.plan.grid import Statistics
from wbczoo.study.plan.stated import Strict

How = Literal["cached heads", "baseline", "cached branch", "cached trunk", "images"]

# The names that plans, claims and lines of results give a trial's settings, in the order of the
# lines; what means nothing to a trial is None or empty there.
_COMPOSITION = (
    "backbone", "sequence", "image_size", "crop", "hidden", "weights", "backbone_options",
    "statistics",
)  # fmt: skip
_TRAINING = ("trainable", "batch_size", "lr", "epochs", "precision")
FIELDS = (
    "dataset", "dataset_options", "protocol", "test_dataset", "test_options", "folds", "part",
    "train_part", "tasks", "seed", "baseline", "baseline_options", *_COMPOSITION, *_TRAINING,
    "settings", "hold_out",
)  # fmt: skip
_TABLES = ("dataset_options", "test_options", "baseline_options", "backbone_options", "settings")
# What was added to the plan later counts only where it is said: older keys and lines stay.
_LATER = ("image_size", "crop", "backbone_options", "statistics", "hold_out")


class _Trial(Strict):
    """What every trial has.

    Attributes:
        train: the data, their protocol and the seed; of a network also how it is trained. It
            has no fold, for a trial of `grouped` covers all.
        test: the data set that tests, under `external`.
        tasks: as the plan has them, `cell` or `NAME=CLASS,CLASS`.
    """

    train: TrainConfig
    test: Part | None = None
    tasks: tuple[str, ...]

    def _own_fields(self) -> dict[str, Any]:
        raise NotImplementedError

    @property
    def fields(self) -> dict[str, Any]:
        """Its settings by the names of `FIELDS`, as a line of results has them."""
        train, test = self.train, self.test
        several = {name: one.options for name, one in train.datasets.items() if one.options}
        return {
            **{name: {} if name in _TABLES else None for name in FIELDS},
            "dataset": "+".join(train.parts),
            "dataset_options": several if train.datasets else train.dataset.options,
            "hold_out": train.hold_out,
            "protocol": train.protocol,
            "test_dataset": None if test is None else test.name,
            "test_options": {} if test is None else test.options,
            "folds": train.folds if train.protocol == "grouped" else None,
            "part": train.part,
            "tasks": list(self.tasks),
            "seed": train.seed,
            **self._own_fields(),
        }

    @property
    def key(self) -> str:
        """SHA-256 of the fields, written in one way: equal trials of any plan share it."""
        said = {k: v for k, v in self.fields.items() if v or k not in _LATER}
        text = json.dumps(said, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def tested(self) -> Part:
        """The data set that tests."""
        held_out = self.train.datasets.get(self.train.hold_out or "")
        return self.test or held_out or self.train.dataset

    @property
    def arena(self) -> str:
        """The protocol with the data sets, where one data set tests what another trained."""
        if self.train.hold_out:
            return f"{self.train.protocol} {self.train.hold_out}"
        across = f" {self.train.dataset.name} to {self.test.name}" if self.test else ""
        return self.train.protocol + across

    @property
    def folds(self) -> tuple[int | None, ...]:
        """The folds that it covers; one None where its protocol has none."""
        return tuple(range(self.train.folds)) if self.train.protocol == "grouped" else (None,)

    def train_config(self, fold: int | None) -> TrainConfig:
        """How a fold is split and trained, as `wbczoo train` would be told it.

        Raises:
            UsageError: for an unknown data set.
        """
        chosen = {
            name: choose_dataset(part.name, part.given, [part])
            for name, part in self.train.parts.items()
        }
        one = {} if self.train.datasets else {"dataset": chosen.popitem()[1]}
        return self.train.model_copy(update={"datasets": chosen, "fold": fold, **one})


class NetworkTrial(_Trial):
    """A composition and its training.

    Attributes:
        weights: `imagenet`, or `none`.
        statistics: `tested` or `evened` where batch norms answer by the tested images; else None.
        settings: what the plan says of the training beyond the names of its lists, as it says it;
            `train` holds their values too.
    """

    backbone: str
    sequence: str
    hidden: int
    weights: str
    image_size: int | None = None
    crop: str | None = None
    backbone_options: dict[str, Option] = Field(default_factory=dict)
    statistics: Statistics | None = None
    settings: dict[str, Option] = Field(default_factory=dict)

    @property
    def model(self) -> str:
        """What is fitted, in a few words: `mobilenetv2+bilstm`."""
        parts = [part for part in (self.backbone, self.sequence) if part != "none"]
        unlearned = " (no ImageNet weights)" if self.weights == "none" != self.backbone else ""
        shown = f" of the {self.crop}" if self.crop not in (None, "none") else ""
        return "+".join(parts) + unlearned + shown

    @property
    def how(self) -> How:
        """By which way it is run (docs/study.md says what each does)."""
        changed = set(self.settings) - {"limit_photographs"}  # which only the split minds
        plain = self.train.trainable != "all" and self.train.precision == "fp32"
        plain = plain and not (changed or self.backbone_options or self.statistics)
        if self.backbone == "none" or not plain:
            return "images"
        if self.train.trainable == "last-block":
            return "cached trunk"
        return "cached heads" if self.sequence == "none" else "cached branch"

    def _own_fields(self) -> dict[str, Any]:
        named = {name: getattr(self, name) for name in (*_COMPOSITION, "settings")}
        trained = {name: getattr(self.train, name) for name in (*_TRAINING, "train_part")}
        return named | trained


class BaselineTrial(_Trial):
    """A baseline of classical features, fitted on images at their native size.

    Attributes:
        train_part: fit on this part of the training photographs; None for those of the split.
    """

    baseline: str
    baseline_options: dict[str, Option] = Field(default_factory=dict)
    train_part: str | None = None

    @property
    def model(self) -> str:
        """What is fitted: the baseline's name."""
        return self.baseline

    @property
    def how(self) -> How:
        """By which way it is run."""
        return "baseline"

    def _own_fields(self) -> dict[str, Any]:
        return {
            name: getattr(self, name) for name in ("baseline", "baseline_options", "train_part")
        }


Trial = NetworkTrial | BaselineTrial

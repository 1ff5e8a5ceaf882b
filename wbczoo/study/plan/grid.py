"""The parts of a study's file that span its grid: data sets, protocols over them, and blocks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from wbczoo.config import Positive, Precision, Protocol, Trainable, train_config
from wbczoo.errors import UsageError
from wbczoo.specs import Option
from wbczoo.study.plan.stated import Strict

Rate = Annotated[float, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
# An empty list would span no trial, and its block would be passed over in silence.
Some = Field(min_length=1)

# What a plan names itself; whatever else TrainConfig takes may stand in a block's `settings`.
NAMED = {"dataset", "datasets", "protocol", "hold_out", "part", "fold", "folds", "train_part",
          "seed", "trainable", "epochs", "batch_size", "lr", "precision"}  # fmt: skip

# Whose statistics batch norms answer by: those of training, of the images that are tested, or of
# these with each class that the model answers counted alike.
Statistics = Literal["trained", "tested", "evened"]


class Data(Strict):
    """A data set of a study: which it is, and where its images lie unless the user says."""

    dataset: str
    path: str
    options: dict[str, Option] = Field(default_factory=dict)

    @property
    def tables(self) -> dict[str, Path]:
        """The options that are the path of a file, such as of a table of labels."""
        texts = {name: value for name, value in self.options.items() if isinstance(value, str)}
        return {name: Path(text) for name, text in texts.items() if os.path.isfile(text)}  # noqa: PTH113 - false of what no path can be

    def look_beside(self, folder: Path) -> Self:
        """The same; a table that is not where its option says is taken from a folder."""
        beside = {
            name: str(found)
            for name, value in self.options.items()
            if isinstance(value, str) and name not in self.tables and Path(value).name
            if os.path.isfile(found := folder / Path(value).name)  # noqa: PTH113 - as above
        }
        return self.model_copy(update={"options": {**self.options, **beside}})


class Arena(Strict):
    """A protocol over a study's data.

    Attributes:
        data: of `laboratory` several, each the name of its laboratory.
        test: the other data set of `external`.
        hold_out: of `laboratory` which of its data tests.
    """

    protocol: Protocol
    data: str | tuple[str, ...]
    test: str | None = None
    hold_out: str | None = None
    folds: Annotated[int, Field(ge=2)] = 5
    part: str | None = None
    train_part: str | None = None

    @model_validator(mode="after")
    def _has_a_test(self) -> Self:
        if (self.protocol == "external") != (self.test is not None):
            raise ValueError("`external`, and no other protocol, names a `test` data set")
        if (self.protocol == "laboratory") != (self.hold_out in self.names):
            raise ValueError("`laboratory`, and no other protocol, has a `hold_out` among its data")
        if (self.protocol == "laboratory") != (len(self.names) > 1):
            raise ValueError("`laboratory`, and no other protocol, has several data sets")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Its data, by their names in the plan."""
        return (self.data,) if isinstance(self.data, str) else self.data


class Block(Strict):
    """A grid: every combination of its lists. A study is the union of its blocks.

    `baselines` stand beside the networks: of their grid only protocols and seeds count.
    """

    name: str
    backbones: tuple[str, ...] = ()
    sequences: Annotated[tuple[str, ...], Some] = ("none",)
    baselines: tuple[str, ...] = ()
    baseline_options: dict[str, Option] = Field(default_factory=dict)
    hidden: Positive = 64
    weights: str = "imagenet"
    image_size: Positive | None = None
    crop: str | None = None
    backbone_options: dict[str, Option] = Field(default_factory=dict)
    statistics: Statistics = "trained"
    trainable: Annotated[tuple[Trainable, ...], Some] = ("head",)
    batch_sizes: Annotated[tuple[Positive, ...], Some] = (32,)
    learning_rates: Annotated[tuple[Rate, ...], Some] = (1e-4,)
    epochs: Positive | None = None
    seeds: Annotated[tuple[Seed, ...], Some] | None = None
    protocols: Annotated[tuple[str, ...], Some]
    train_part: str | None = None
    precision: Precision = "fp32"
    settings: dict[str, Option] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not self.backbones and not self.baselines:
            raise ValueError("a block names backbones or baselines")
        if twice := sorted(set(self.settings) & NAMED):
            raise ValueError(f"`settings` may not hold {', '.join(twice)}; the plan names it")
        try:  # now, and not when the block's turn comes, which may be after hours
            train_config(**self.settings)
        except UsageError as error:
            raise ValueError(f"`settings`: {error}".rstrip(".")) from None
        return self

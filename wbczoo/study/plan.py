"""A study's TOML file comes in here and its cells go out, each with a key of its own."""

from __future__ import annotations

import hashlib
import itertools
import json
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from wbczoo import registry
from wbczoo.config import Part, Protocol, TrainConfig, told, train_config
from wbczoo.errors import UsageError
from wbczoo.specs import Option
from wbczoo.study.stated import Claim, PublishedTable, Strict

PLAN = "plan.toml"  # the copy that a folder of results keeps

Trainable = Literal["head", "last-block", "all"]
Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]

# What a plan names itself; whatever else TrainConfig takes may stand in a block's `settings`.
_NAMED = {"dataset", "protocol", "part", "fold", "folds", "train_part", "seed", "trainable",
          "epochs", "batch_size", "lr", "precision"}  # fmt: skip


class Cell(Strict):
    """One combination of a study: what is fitted, on what, and how it is tested.

    A cell of `grouped` covers all folds. Of a network `baseline` is None; of a baseline all
    that speaks of networks is None. `train_part` lets `grouped` train on views, and a baseline
    of any protocol read another part of the training photographs, such as `photographs`.
    """

    dataset: str
    dataset_options: dict[str, Option] = Field(default_factory=dict)
    protocol: Protocol
    test_dataset: str | None = None
    test_options: dict[str, Option] = Field(default_factory=dict)
    folds: Annotated[int, Field(ge=2)] | None = None
    part: str | None = None
    train_part: str | None = None
    tasks: tuple[str, ...]
    seed: Seed
    baseline: str | None = None
    baseline_options: dict[str, Option] = Field(default_factory=dict)
    backbone: str | None = None
    sequence: str | None = None
    image_size: Positive | None = None
    crop: str | None = None
    hidden: Positive | None = None
    weights: str | None = None
    trainable: Trainable | None = None
    batch_size: Positive | None = None
    lr: Rate | None = None
    epochs: Positive | None = None
    precision: Literal["auto", "fp32", "bf16"] | None = None
    settings: dict[str, Option] = Field(default_factory=dict)

    @property
    def key(self) -> str:
        """SHA-256 of the settings, written in one way: equal cells of any plan share it."""
        # What was added to the plan later counts only where it is said: older keys stay.
        unsaid = {name for name in ("image_size", "crop") if getattr(self, name) is None}
        settings = self.model_dump(mode="json", exclude=unsaid)
        text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def model(self) -> str:
        """What is fitted, in a few words: `mobilenetv2+bilstm`, or a baseline's name."""
        if self.baseline is not None:
            return self.baseline
        parts = [part for part in (self.backbone, self.sequence) if part != "none"]
        unlearned = " (no ImageNet weights)" if self.weights == "none" != self.backbone else ""
        shown = f" of the {self.crop}" if self.crop not in (None, "none") else ""
        return "+".join(map(str, parts)) + ("" if self.backbone == "none" else unlearned) + shown

    @property
    def arena(self) -> str:
        """The protocol with the data sets, where one data set tests what another trained."""
        across = f" {self.dataset} to {self.test_dataset}" if self.test_dataset else ""
        return self.protocol + across

    @property
    def how(self) -> str:
        """By which way it is run; `wbczoo.study.networks` says what each does."""
        if self.baseline is not None:
            return "baseline"
        changed = set(self.settings) - {"limit_photographs"}  # which only the split minds
        plain = self.trainable == "head" and self.precision == "fp32" and not changed
        if self.backbone == "none" or not plain:
            return "images"
        return "cached heads" if self.sequence == "none" else "cached branch"

    @property
    def folds_run(self) -> tuple[int | None, ...]:
        """The folds that the cell covers; one None where its protocol has none."""
        return (None,) if self.folds is None else tuple(range(self.folds))

    def train_config(self, fold: int | None = None) -> TrainConfig:
        """How this cell splits and trains, as `wbczoo train` would be told it.

        Raises:
            UsageError: for an unknown data set, or settings that training does not take.
        """
        entry = registry.datasets.find(self.dataset)
        assert entry.spec is not None
        dataset = Part(
            name=entry.name,
            distribution=entry.distribution,
            version=entry.version,
            options={**entry.spec.options, **self.dataset_options},
        )
        named = ("trainable", "batch_size", "lr", "epochs", "precision", "folds")
        given = {name: getattr(self, name) for name in named if getattr(self, name) is not None}
        # A baseline's own part is chosen where it is fitted.
        parted = self.protocol == "grouped" or self.baseline is None
        views = {"train_part": self.train_part} if parted else {}
        return train_config(
            dataset=dataset,
            protocol=self.protocol,
            part=self.part,
            fold=fold,
            seed=self.seed,
            **views,
            **given,
            **self.settings,
        )


class Data(Strict):
    """A data set of a study: which it is, and where its images lie unless the user says."""

    dataset: str
    path: str
    options: dict[str, Option] = Field(default_factory=dict)


class Arena(Strict):
    """A protocol over a study's data; `test` names the other data set of `external`."""

    protocol: Protocol
    data: str
    test: str | None = None
    folds: Annotated[int, Field(ge=2)] = 5
    part: str | None = None
    train_part: str | None = None

    @model_validator(mode="after")
    def _has_a_test(self) -> Self:
        if (self.protocol == "external") != (self.test is not None):
            raise ValueError("`external`, and no other protocol, names a `test` data set")
        return self


class Block(Strict):
    """A grid: every combination of its lists. A study is the union of its blocks.

    `baselines` stand beside the networks: of their grid only protocols and seeds count.
    """

    name: str
    backbones: tuple[str, ...] = ()
    sequences: tuple[str, ...] = ("none",)
    baselines: tuple[str, ...] = ()
    baseline_options: dict[str, Option] = Field(default_factory=dict)
    hidden: Positive = 64
    weights: str = "imagenet"
    image_size: Positive | None = None
    crop: str | None = None
    trainable: tuple[Trainable, ...] = ("head",)
    batch_sizes: tuple[Positive, ...] = (32,)
    learning_rates: tuple[Rate, ...] = (1e-4,)
    epochs: Positive | None = None
    seeds: tuple[Seed, ...] | None = None
    protocols: tuple[str, ...]
    train_part: str | None = None
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    settings: dict[str, Option] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not self.backbones and not self.baselines:
            raise ValueError("a block names backbones or baselines")
        if twice := sorted(set(self.settings) & _NAMED):
            raise ValueError(f"`settings` may not hold {', '.join(twice)}; the plan names it")
        return self


class StudyPlan(Strict):
    """What a study's TOML file holds; `bar` names the baseline that a network has to beat."""

    format: Literal[1]
    name: str
    title: str = ""
    tasks: tuple[str, ...] = ("cell", "nucleus")
    epochs: Positive = 10
    seeds: tuple[Seed, ...] = (0,)
    data: dict[str, Data]
    protocols: dict[str, Arena]
    blocks: tuple[Block, ...]
    bar: str | None = None
    published: tuple[PublishedTable, ...] = ()
    claims: tuple[Claim, ...] = ()

    @model_validator(mode="after")
    def _knows_its_names(self) -> Self:
        for name, arena in self.protocols.items():
            for data in (arena.data, arena.test):
                if data is not None and data not in self.data:
                    raise ValueError(f"the protocol {name!r} names the data {data!r}, not in data")
        names = [block.name for block in self.blocks]
        if len(set(names)) != len(names):
            raise ValueError(f"each block needs a name of its own, not {names}")
        naming = [(f"the block {block.name!r}", block.protocols) for block in self.blocks]
        naming += [(repr(table.title), (table.protocol,)) for table in self.published]
        naming += [(repr(claim.says), claim.named) for claim in self.claims]
        for who, protocols in naming:
            if lost := [name for name in protocols if name not in self.protocols]:
                raise ValueError(f"{who} names the protocol {lost[0]!r}")
        return self

    def cells(self) -> dict[str, Cell]:
        """Every cell once, by its key, in the order of the file."""
        return self.chosen(())

    def chosen(self, only: Sequence[str]) -> dict[str, Cell]:
        """The cells of some blocks by key, or all; UsageError for a block that is not there."""
        blocks = {block.name: block for block in self.blocks}
        if strange := [name for name in only if name not in blocks]:
            raise UsageError(
                f"The study {self.name} has no block {strange[0]!r}; it has {', '.join(blocks)}."
            )
        wanted = [blocks[name] for name in only] or self.blocks
        return {cell.key: cell for block in wanted for cell in self.of_block(block)}

    def of_block(self, block: Block) -> Iterator[Cell]:
        """The cells of one block; several blocks may name the same."""
        seeds = block.seeds or self.seeds
        for name, seed in itertools.product(block.protocols, seeds):
            where = self._where(self.protocols[name], block, seed)
            for baseline in block.baselines:
                yield Cell(**where, baseline=baseline, baseline_options=block.baseline_options)
            if block.train_part is not None and block.backbones:
                where["train_part"] = block.train_part
            for backbone, sequence, trainable, size, lr in itertools.product(
                block.backbones,
                block.sequences,
                block.trainable,
                block.batch_sizes,
                block.learning_rates,
            ):
                # What means nothing to a cell is written in one way, or it would run twice.
                bare = backbone == "none"
                yield Cell(
                    **where,
                    backbone=backbone,
                    sequence=sequence,
                    hidden=64 if sequence == "none" else block.hidden,
                    weights="none" if bare else block.weights,
                    image_size=block.image_size,
                    crop=block.crop,
                    trainable="head" if bare else trainable,
                    batch_size=size,
                    lr=lr,
                    epochs=block.epochs or self.epochs,
                    precision=block.precision,
                    settings=block.settings,
                )

    def _where(self, arena: Arena, block: Block, seed: int) -> dict[str, Any]:
        data = self.data[arena.data]
        test = None if arena.test is None else self.data[arena.test]
        return {
            "dataset": data.dataset,
            "dataset_options": data.options,
            "protocol": arena.protocol,
            "test_dataset": None if test is None else test.dataset,
            "test_options": {} if test is None else test.options,
            "folds": arena.folds if arena.protocol == "grouped" else None,
            "part": arena.part,
            "train_part": block.train_part or arena.train_part,
            "tasks": self.tasks,
            "seed": seed,
        }


def read_plan(path: Path) -> StudyPlan:
    """Read a study's TOML file.

    Raises:
        UsageError: if it is not there, is no TOML, or is no plan; the sentence says where.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}. Name a study's file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no TOML file: {error}.") from None
    try:
        return StudyPlan.model_validate(document)
    except ValidationError as error:
        raise UsageError(f"{path} is no plan of a study: {told(error)}") from None

"""A study's TOML file comes in here and its cells go out, each with a key of its own."""

from __future__ import annotations

import hashlib
import itertools
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from wbczoo import registry
from wbczoo.config import Part, Protocol, TrainConfig, describe_findings, train_config
from wbczoo.errors import UsageError
from wbczoo.specs import Option
from wbczoo.study.plan.grid import (
    Arena,
    Block,
    Data,
    Positive,
    Precision,
    Rate,
    Seed,
    Some,
    Trainable,
)
from wbczoo.study.plan.stated import Claim, PublishedTable, Strict
from wbczoo.tasks import parse as parse_tasks

PLAN = "plan.toml"  # the copy that a folder of results keeps


class Cell(Strict):
    """One combination of a study: what is fitted, on what, and how it is tested.

    A cell of `grouped` covers all folds. Of a network `baseline` is None; of a baseline all
    that speaks of networks is None. `train_part` trains on another part of the training
    photographs than the tested one, such as `photographs`; `report`, which draws files, has none
    for networks.
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
    precision: Precision | None = None
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
        return "+".join(map(str, parts)) + unlearned + shown

    @property
    def arena(self) -> str:
        """The protocol with the data sets, where one data set tests what another trained."""
        across = f" {self.dataset} to {self.test_dataset}" if self.test_dataset else ""
        return self.protocol + across

    @property
    def how(self) -> str:
        """By which way it is run; `wbczoo.study.run.networks` says what each does."""
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


class StudyPlan(Strict):
    """What a study's TOML file holds; `bar` names the baseline that a network has to beat."""

    format: Literal[1]
    name: str
    title: str = ""
    tasks: Annotated[tuple[str, ...], Some] = ("cell", "nucleus")
    epochs: Positive = 10
    seeds: Annotated[tuple[Seed, ...], Some] = (0,)
    data: dict[str, Data]
    protocols: dict[str, Arena]
    blocks: Annotated[tuple[Block, ...], Some]
    bar: str | None = None
    published: tuple[PublishedTable, ...] = ()
    claims: tuple[Claim, ...] = ()

    @model_validator(mode="after")
    def _knows_its_data(self) -> Self:
        for name, arena in self.protocols.items():
            for data in (arena.data, arena.test):
                if data is not None and data not in self.data:
                    raise ValueError(f"the protocol {name!r} names the data {data!r}, not in data")
            # What trained would test, under the name of an honest protocol.
            if arena.test and self.data[arena.test].dataset == self.data[arena.data].dataset:
                raise ValueError(f"the protocol {name!r} tests on the data set that trained")
        places: dict[str, str] = {}
        for one in self.data.values():
            if places.setdefault(one.dataset, one.path) != one.path:
                raise ValueError(
                    f"data names {one.dataset!r} at two places; a study has one for each data set"
                )
        return self

    @model_validator(mode="after")
    def _knows_its_names(self) -> Self:
        names = [block.name for block in self.blocks]
        if len(set(names)) != len(names):
            raise ValueError(f"each block needs a name of its own, not {names}")
        naming = [(f"the block {block.name!r}", block.protocols) for block in self.blocks]
        naming += [(repr(table.title), (table.protocol,)) for table in self.published]
        naming += [(repr(claim.says), claim.named) for claim in self.claims]
        for who, protocols in naming:
            if lost := [name for name in protocols if name not in self.protocols]:
                raise ValueError(f"{who} names the protocol {lost[0]!r}")
        if self.bar and not any(self.bar in block.baselines for block in self.blocks):
            raise ValueError(f"`bar` names {self.bar!r}, a baseline of no block")
        return self

    @model_validator(mode="after")
    def _states_what_cells_have(self) -> Self:
        try:
            known = self.task_names
        except UsageError as error:
            raise ValueError(str(error).rstrip(".")) from None
        stated = [(repr(table.title), table.fields, table.tasks) for table in self.published]
        stated += [(repr(claim.says), claim.fields, tuple(claim.targets)) for claim in self.claims]
        for who, fields, tasks in stated:
            if lost := [name for name in fields if name not in Cell.model_fields]:
                raise ValueError(f"{who} names the field {lost[0]!r}, which no cell has")
            if lost := [name for name in tasks if name not in known]:
                raise ValueError(f"{who} names the task {lost[0]!r}, not in tasks")
        return self

    @property
    def task_names(self) -> tuple[str, ...]:
        """The names of its tasks, which results have them under; a task may be NAME=CLASS,CLASS."""
        return tuple(task.name for task in parse_tasks(self.tasks))

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
        raise UsageError(f"{path} is no plan of a study: {describe_findings(error)}") from None


def locate_data(plan: StudyPlan, given: Mapping[str, Path]) -> dict[str, Path]:
    """Data set -> where its images lie: as the user says, else as the plan does.

    Raises:
        UsageError: if the plan has no such data set.
    """
    known = {data.dataset: Path(data.path) for data in plan.data.values()}
    if strange := sorted(set(given) - set(known)):
        raise UsageError(f"The study has no data set {strange[0]!r}; it has {', '.join(known)}.")
    return {**known, **given}

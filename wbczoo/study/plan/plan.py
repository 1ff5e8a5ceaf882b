"""A study's TOML file comes in here and its trials go out, each with a key of its own."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ValidationError, model_validator

from wbczoo.config import Part, Positive, TrainConfig, train_config
from wbczoo.data.choice import choose_dataset
from wbczoo.errors import UsageError
from wbczoo.parts import describe_findings
from wbczoo.registry import datasets
from wbczoo.study.plan.grid import Arena, Block, Data, Seed, Some
from wbczoo.study.plan.stated import Claim, PublishedTable, Strict
from wbczoo.study.plan.trial import FIELDS, BaselineTrial, NetworkTrial, Trial
from wbczoo.tasks import parse as parse_tasks

PLAN = "plan.toml"  # the copy that a folder of results keeps


class StudyPlan(Strict):
    """What a study's TOML file holds.

    Attributes:
        bar: the baseline that a network has to beat.
        needs_weights: backbones whose ImageNet weights were not to be had where the study ran.
        pairwise: every two models of a protocol are compared.
    """

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
    pairwise: bool = False
    needs_weights: tuple[str, ...] = ()
    published: tuple[PublishedTable, ...] = ()
    claims: tuple[Claim, ...] = ()

    @model_validator(mode="after")
    def _knows_its_data(self) -> Self:
        for name, arena in self.protocols.items():
            for data in (*arena.names, *([arena.test] if arena.test else [])):
                if data not in self.data:
                    raise ValueError(f"the protocol {name!r} names the data {data!r}, not in data")
            # What trained would test, under the name of an honest protocol.
            trained = {self.data[data].dataset for data in arena.names}
            if arena.test and self.data[arena.test].dataset in trained:
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
    def _states_what_trials_have(self) -> Self:
        try:
            asked = parse_tasks(self.tasks)
        except UsageError as error:
            raise ValueError(str(error).rstrip(".")) from None
        known = [task.name for task in asked]
        if unsettled := [task.name for task in asked if task.takes_all]:
            raise ValueError(
                f"the task {unsettled[0]!r} has no classes: a plan names them, NAME=CLASS,CLASS, "
                "and `wbczoo study new DATA --task own` writes them down"
            )
        stated = [(repr(table.title), table.fields, table.tasks) for table in self.published]
        stated += [(repr(claim.says), claim.fields, tuple(claim.targets)) for claim in self.claims]
        for who, fields, tasks in stated:
            if lost := [name for name in fields if name not in FIELDS]:
                raise ValueError(f"{who} names the field {lost[0]!r}, which no trial has")
            if lost := [name for name in tasks if name not in known]:
                raise ValueError(f"{who} names the task {lost[0]!r}, not in tasks")
        return self

    @property
    def task_names(self) -> tuple[str, ...]:
        """The names of its tasks, which results have them under; a task may be NAME=CLASS,CLASS."""
        return tuple(task.name for task in parse_tasks(self.tasks))

    def trials(self, only: Sequence[str] = ()) -> dict[str, Trial]:
        """Every trial once, by its key, in the order of the file.

        Args:
            only: names of blocks; all of them if empty.

        Raises:
            UsageError: for a block that is not there, and as `choose_dataset` does.
        """
        blocks = {block.name: block for block in self.blocks}
        if strange := [name for name in only if name not in blocks]:
            raise UsageError(
                f"The study {self.name} has no block {strange[0]!r}; it has {', '.join(blocks)}."
            )
        wanted = [blocks[name] for name in only] or self.blocks
        found = (one for block in wanted for name in block.protocols
                 for one in self.trials_of(block, name))  # fmt: skip
        return {trial.key: trial for trial in found}

    def choose_trials(self, only: Sequence[str], chosen: Sequence[str]) -> dict[str, Trial]:
        """The trials of some blocks, or those alone whose keys begin so.

        Args:
            only: as `trials` takes it.
            chosen: beginnings of keys, as `study show` prints them; all trials if empty.

        Raises:
            UsageError: as `trials` does, and for a beginning of no key, or of several.
        """
        trials = self.trials(only)
        found = {}
        for start in chosen:
            keys = [key for key in trials if key.startswith(start)]
            if len(keys) != 1:
                raise UsageError(
                    f"--trial {start} names {len(keys) or 'no'} trial{'s' * (len(keys) > 1)} of "
                    f"the study {self.name}. Give more of its key, as `wbczoo study show` "
                    "prints it."
                )
            found[keys[0]] = trials[keys[0]]
        return found or trials

    def trials_of(self, block: Block, protocol: str) -> Iterator[Trial]:
        """The trials of one block under one of its protocols; several blocks may name the same."""
        arena = self.protocols[protocol]
        shared: dict[str, Any] = {
            "test": None if arena.test is None else _part(self.data[arena.test]),
            "tasks": self.tasks,
        }
        part = block.train_part or arena.train_part
        several = {name: _part(self.data[name]) for name in arena.names}
        parts = {"datasets": several} if arena.hold_out else {"dataset": several[arena.names[0]]}

        def train(seed: int, train_part: str | None, **more: Any) -> TrainConfig:
            return train_config(
                protocol=arena.protocol, part=arena.part, folds=arena.folds,
                hold_out=arena.hold_out, train_part=train_part, seed=seed, **parts, **more,
            )  # fmt: skip

        for seed in block.seeds or self.seeds:
            for baseline in block.baselines:
                # Where no folds are drawn, a baseline's own part is chosen where it is fitted.
                drawn = train(seed, part if arena.protocol == "grouped" else None)
                yield BaselineTrial(train=drawn, **shared, baseline=baseline, train_part=part,
                                    baseline_options=block.baseline_options)  # fmt: skip
            for backbone, sequence, trainable, size, lr in itertools.product(
                block.backbones,
                block.sequences,
                block.trainable,
                block.batch_sizes,
                block.learning_rates,
            ):
                # What means nothing to a trial is written in one way, or it would run twice.
                bare = backbone == "none"
                yield NetworkTrial(
                    train=train(
                        seed, part, trainable="head" if bare else trainable, batch_size=size,
                        lr=lr, epochs=block.epochs or self.epochs, precision=block.precision,
                        **block.settings,
                    ),
                    **shared,
                    backbone=backbone,
                    sequence=sequence,
                    hidden=64 if sequence == "none" else block.hidden,
                    weights="none" if bare else block.weights,
                    image_size=block.image_size,
                    crop=block.crop,
                    backbone_options=block.backbone_options,
                    statistics=None if block.statistics == "trained" else block.statistics,
                    settings=block.settings,
                )  # fmt: skip


def _part(data: Data) -> Part:
    """The data set with the options that the plan states, for these are in the trials' keys.

    One that was added later is there as in a config: unless it is what it was formerly.
    """
    chosen = choose_dataset(data.dataset, data.options).options
    later = datasets.spec(data.dataset).formerly
    options = {name: value for name, value in data.options.items() if name not in later}
    options |= {name: value for name, value in chosen.items() if name in later}
    return Part(name=data.dataset, options=options).without_paths()


def read_plan(path: Path) -> StudyPlan:
    """Read a study's TOML file; tables that its data name may lie beside it.

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
        plan = StudyPlan.model_validate(document)
    except ValidationError as error:
        raise UsageError(f"{path} is no plan of a study: {describe_findings(error)}") from None
    data = {name: one.look_beside(path.parent) for name, one in plan.data.items()}
    return plan.model_copy(update={"data": data})


def locate_data(plan: StudyPlan, given: Mapping[str, Path]) -> dict[str, Path]:
    """Data set -> where its images lie: as the user says, else as the plan does.

    Raises:
        UsageError: if the plan has no such data set.
    """
    known = {data.dataset: Path(data.path) for data in plan.data.values()}
    if strange := sorted(set(given) - set(known)):
        raise UsageError(f"The study has no data set {strange[0]!r}; it has {', '.join(known)}.")
    return {**known, **given}


def find_plan(study: Path, out: Path | None = None) -> tuple[Path, Path | None]:
    """A study's plan, and the folder of its results.

    Args:
        study: a plan's file, or a folder of results, in which `study run` keeps the plan.
        out: the folder of results, if the user named it.

    Raises:
        UsageError: if the folder holds no plan.
    """
    if not study.is_dir():
        return study, out
    if not (study / PLAN).is_file():
        raise UsageError(
            f"{study} holds no {PLAN}, which `wbczoo study run` keeps there. Give that command "
            "again with this folder, or name the plan's file."
        )
    return study / PLAN, out or study

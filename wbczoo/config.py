"""What a model is and how it is trained, validated by pydantic and kept as JSON."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    field_validator,
)

from wbczoo import files
from wbczoo.errors import UsageError, WbczooError
from wbczoo.specs import Option, Preprocessing
from wbczoo.tasks import DEFAULT, Task

__all__ = ["ModelConfig", "Part", "Preprocessing", "RunConfig", "TrainConfig", "WeightsOrigin"]

Protocol = Literal["report", "official", "grouped", "external"]
Trainable = Literal["head", "last-block", "all"]
Optimizer = Literal["adam", "adamw"]
Schedule = Literal["constant", "cosine"]
ClassWeights = Literal["none", "balanced"]
Keep = Literal["best", "last"]
Precision = Literal["auto", "fp32", "bf16"]
Positive = Annotated[int, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Part(_Strict):
    """A plugin's part as it was used: what was selected, from where, with which options."""

    name: str
    distribution: str = ""
    version: str = ""
    options: dict[str, Option] = Field(default_factory=dict)
    _places: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def given(self) -> dict[str, Option]:
        """The options with the paths of files as they were given, on the machine where that was."""
        return {**self.options, **self._places}

    def without_paths(self) -> Self:
        """The same; an option that is a file's path becomes the file's name and SHA-256.

        No path of a machine is then written into a run, a card or a model, and a run goes on
        wherever its table lies.
        """
        found = {n: v for n, v in self.options.items() if isinstance(v, str) and Path(v).name}
        found = {name: path for name, path in found.items() if os.path.isfile(path)}  # noqa: PTH113 - false of what no path can be
        if not found:
            return self
        named = {n: f"{Path(p).name} sha256:{files.sha256_of(Path(p))}" for n, p in found.items()}
        part = self.model_copy(update={"options": {**self.options, **named}})
        part._places = {**self._places, **found}
        return part

    @property
    def selector(self) -> str:
        """The name that finds the part again, even where two distributions share it."""
        return f"{self.distribution}:{self.name}" if self.distribution else self.name


class WeightsOrigin(_Strict):
    """Where a backbone's initial weights came from.

    `source` is `none`, `hub` or the file's name; `sha256` and `description` are a file's own.
    """

    source: str = "none"
    sha256: str = ""
    description: str = ""


class ModelConfig(_Strict):
    """A composition: everything that decides the architecture, and the preprocessing's owner."""

    backbone: Part = Part(name="none")
    sequence: Part = Part(name="none")
    hidden: Positive = 64
    tasks: tuple[Task, ...] = DEFAULT
    preprocessing: Preprocessing = Preprocessing()
    weights: WeightsOrigin = WeightsOrigin()

    @field_validator("tasks")
    @classmethod
    def _has_tasks(cls, tasks: tuple[Task, ...]) -> tuple[Task, ...]:
        names = [task.name for task in tasks]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"a model needs tasks, each of its own name, not {names}")
        return tasks

    @field_validator("preprocessing")
    @classmethod
    def _can_be_done(cls, preprocessing: Preprocessing) -> Preprocessing:
        if min(preprocessing.size) < 1:
            raise ValueError(f"an image of {preprocessing.size} pixels has no pixel")
        numbers = (*preprocessing.mean, *preprocessing.std)
        if not all(map(math.isfinite, numbers)) or min(preprocessing.std) <= 0:
            raise ValueError("mean and std must be numbers, and std above 0")
        return preprocessing

    @property
    def name(self) -> str:
        """Short name of the composition, such as `mobilenetv2+bilstm`."""
        parts = [part.name for part in (self.backbone, self.sequence) if part.name != "none"]
        return "+".join(parts) or "none"


class TrainConfig(_Strict):
    """How a model is trained and on which photographs; two equal configs give equal runs.

    Attributes:
        part: which half of the data is tested on, where the protocol leaves a choice.
        fold: of `grouped`, from 0.
        train_part: of every protocol but `report`: the part that trains, such as `augmented` for
            the views of the folds' photographs; the other roles keep theirs.
        limit_photographs: at most so many training photographs; None for all.
        batch_size: images per step over all devices together.
        schedule: `constant`, or `cosine` to zero over all steps.
        keep: the epoch whose model a run keeps: `best` by validation, or `last`.
        augment: flips and quarter turns.
        distort: any angle, and sizes, shapes and places that differ; 1 is a usual strength.
        stain: other strengths and hues of the stains; 0.3 is a usual strength.
        precision: `auto` is bf16 where the hardware and each layer have it.
    """

    dataset: Part = Part(name="folder")
    protocol: Protocol = "official"
    part: str | None = None
    fold: Annotated[int, Field(ge=0)] | None = None
    folds: Annotated[int, Field(ge=2)] = 5
    train_part: str | None = None
    limit_photographs: Positive | None = None
    trainable: Trainable = "head"
    epochs: Positive = 10
    batch_size: Positive = 32
    lr: Annotated[float, Field(gt=0)] = 1e-4
    optimizer: Optimizer = "adam"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Schedule = "constant"
    class_weights: ClassWeights = "none"
    keep: Keep = "best"
    augment: bool = False
    distort: Annotated[float, Field(ge=0, le=4)] = 0.0
    stain: Annotated[float, Field(ge=0, le=4)] = 0.0
    precision: Precision = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    @field_validator("dataset")
    @classmethod
    def _names_no_path(cls, dataset: Part) -> Part:
        return dataset.without_paths()


class RunConfig(_Strict):
    """What `config.json` holds.

    Attributes:
        train: None for a composition that was never trained.
        split_sha256: of the run's `split.csv`, so that its photographs are known again.
    """

    format: Literal[1] = 1
    model: ModelConfig
    train: TrainConfig | None = None
    split_sha256: str = ""

    @classmethod
    def parse(cls, text: str | bytes, where: str) -> Self:
        """Read a config from JSON; `where` names it in the error.

        Raises:
            WbczooError: if it is no JSON, of another format, or has strange or missing fields.
        """
        try:
            config = cls.model_validate_json(text)
        except ValidationError as error:
            reason = describe_findings(error)
        except UsageError as error:  # a task says what is wrong with it in its own words
            reason = str(error)
        else:
            if "format" in config.model_fields_set:
                return config
            reason = "format: field required."
        raise WbczooError(f"{where} is no config that this version reads: {reason}")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read `config.json`; raises WbczooError as `parse` does, and where it is missing."""
        try:
            return cls.parse(path.read_bytes(), str(path))
        except OSError as error:
            raise WbczooError(f"{path} cannot be read: {error.strerror}.") from None

    def write(self, path: Path) -> None:
        """Write `config.json`, aside and renamed."""
        files.write_text(path, self.model_dump_json(indent=2) + "\n")


def train_config(**settings: object) -> TrainConfig:
    """A `TrainConfig` from a user's settings; UsageError says which is wrong and why."""
    try:
        return TrainConfig.model_validate(settings)
    except ValidationError as error:
        raise UsageError(describe_findings(error)) from None


def parse_options(texts: tuple[str, ...], defaults: dict[str, Option]) -> dict[str, Option]:
    """`NAME=VALUE` pairs over a part's declared defaults, each of its default's type.

    Raises:
        UsageError: for a pair without `=`, an option that the part does not declare, or a value
            that is not of the default's type.
    """
    options = dict(defaults)
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in defaults:
            known = ", ".join(defaults) or "none"
            raise UsageError(f"{text!r} is no option of this part; it has {known}: NAME=VALUE.")
        default = defaults[name]
        kind: type = str if default is None else type(default)
        try:
            adapter: TypeAdapter[Option] = TypeAdapter(kind, config=_Strict.model_config)
            options[name] = adapter.validate_strings(value)
        except ValidationError as error:
            raise UsageError(f"The option {name}={value}: {describe_findings(error)}") from None
    return options


def describe_findings(error: ValidationError) -> str:
    """Pydantic's findings as sentences, without its addresses."""
    sentences = []
    for finding in error.errors(include_url=False):
        field = ".".join(str(step) for step in finding["loc"]) or "the value"
        reason = finding["msg"].removeprefix("Value error, ")
        sentences.append(f"{field}: {reason[:1].lower()}{reason[1:]}.")
    return " ".join(sentences)

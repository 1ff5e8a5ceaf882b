"""What a model is and how it is trained, validated by pydantic and kept as JSON."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
)

from wbczoo import files
from wbczoo.errors import UsageError, WbczooError
from wbczoo.parts import Part, Strict, describe_findings
from wbczoo.specs import Preprocessing, name_composition
from wbczoo.tasks import DEFAULT, Task

__all__ = ["ModelConfig", "Part", "Preprocessing", "RunConfig", "TrainConfig", "WeightsOrigin"]

Protocol = Literal["report", "official", "grouped", "external", "laboratory"]
Trainable = Literal["head", "last-block", "all"]
Optimizer = Literal["adam", "adamw"]
Schedule = Literal["constant", "cosine"]
ClassWeights = Literal["none", "balanced"]
Keep = Literal["best", "last"]
Norm = Literal["trained", "frozen"]
Draw = Literal["even", "as-is"]
Precision = Literal["auto", "fp32", "bf16"]
Positive = Annotated[int, Field(gt=0)]


class WeightsOrigin(Strict):
    """Where a backbone's initial weights came from.

    `source` is `none`, `hub` or the file's name; `sha256` and `description` are a file's own.
    """

    source: str = "none"
    sha256: str = ""
    description: str = ""


class ModelConfig(Strict):
    """A composition: everything that decides the architecture, and the preprocessing's owner.

    `finder_sha256` is of the network that finds the cell of a crop that shows one; with another
    crop it is empty, and not written.
    """

    backbone: Part = Part(name="none")
    sequence: Part = Part(name="none")
    hidden: Positive = 64
    tasks: tuple[Task, ...] = DEFAULT
    preprocessing: Preprocessing = Preprocessing()
    weights: WeightsOrigin = WeightsOrigin()
    finder_sha256: str = ""

    @model_serializer(mode="wrap")
    def _without_no_finder(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: v for key, v in whole(self).items() if v or key != "finder_sha256"}

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
        return name_composition(self.backbone.name, self.sequence.name)


class Segment(Strict):
    """A stretch of a training that another one followed: up to which epoch, at what rate."""

    epochs: Positive
    lr: Annotated[float, Field(gt=0)]


class TrainConfig(Strict):
    """How a model is trained and on which photographs; two equal configs give equal runs.

    A field's description is also the help of the command line's option.

    Attributes:
        dataset: the one that is read; of no meaning where there are several.
        datasets: where several are read together, each by its name in the run.
        earlier: the segments before the last, whose end is `epochs` and whose rate is `lr`.
    """

    dataset: Part = Part(name="folder")
    datasets: dict[str, Part] = Field(default_factory=dict)
    protocol: Annotated[
        Protocol, Field(description="How photographs are split; report is LEAKY.")
    ] = "official"
    part: Annotated[
        str | None, Field(description="Which part is tested on (bccd: augmented, simple).")
    ] = None
    fold: Annotated[int | None, Field(ge=0, description="Of grouped: a number from 0, or all.")] = (
        None
    )
    folds: Annotated[int, Field(ge=2, description="Of grouped: how many folds.")] = 5
    hold_out: Annotated[
        str | None,
        Field(description="Of laboratory: which one only tests, or all of them in turn."),
    ] = None
    train_part: Annotated[
        str | None,
        Field(
            description="The part to train on, where it is not the tested one "
            "(bccd: augmented, photographs)."
        ),
    ] = None
    limit_photographs: Annotated[
        int | None, Field(gt=0, description="Train on so many at most.")
    ] = None
    trainable: Annotated[
        Trainable,
        Field(
            description="What of the backbone trains; a frozen part keeps its batch-norm "
            "statistics too."
        ),
    ] = "head"
    epochs: Positive = 10
    batch_size: Annotated[int, Field(gt=0, description="Over all devices together.")] = 32
    lr: Annotated[float, Field(gt=0, description="Learning rate.")] = 1e-4
    optimizer: Optimizer = "adam"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Annotated[
        Schedule,
        Field(description="Of the learning rate; cosine falls to zero over all steps."),
    ] = "constant"
    class_weights: Annotated[
        ClassWeights,
        Field(description="Weigh the loss so that each class counts alike."),
    ] = "none"
    draw: Annotated[
        Draw | None,
        Field(
            description="How often an epoch shows an image: once, or so that laboratories, and "
            "classes within one, count alike.  [default: even where there are several data sets]"
        ),
    ] = None
    keep: Annotated[
        Keep,
        Field(description="Which epoch's model: the best by validation, or the last."),
    ] = "best"
    augment: Annotated[
        bool, Field(description="Flips and quarter turns, which keep size and colour.")
    ] = False
    distort: Annotated[
        float,
        Field(
            ge=0,
            le=4,
            description="Strength of turns by any angle, zoom, stretch and shift; 1 is usual.",
        ),
    ] = 0.0
    stain: Annotated[
        float,
        Field(
            ge=0,
            le=4,
            description="Strength of changes of the stain and its hue; 0.3 is usual.",
        ),
    ] = 0.0
    hue: Annotated[
        float | None,
        Field(
            ge=0,
            le=4,
            description="How far the channels' absorbances part.  [default: half of --stain]",
        ),
    ] = None
    blur: Annotated[
        float,
        Field(ge=0, le=1, description="Share of the images that are shown out of focus or grainy."),
    ] = 0.0
    mixup: Annotated[
        float,
        Field(
            ge=0,
            le=4,
            description="Blend images in pairs, with their targets; 0.2 is usual.",
        ),
    ] = 0.0
    smoothing: Annotated[
        float,
        Field(ge=0, lt=1, description="Share of each target that is spread over all classes."),
    ] = 0.0
    average: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="Validate and keep a running mean of the weights; 0.99 to 0.999 is usual.",
        ),
    ] = 0.0
    norm: Annotated[
        Norm,
        Field(description="Whether open batch norms learn statistics or keep those of the start."),
    ] = "trained"
    precision: Annotated[
        Precision,
        Field(description="auto is bf16 where the hardware and each layer have it."),
    ] = "auto"
    seed: Annotated[
        int, Field(ge=0, lt=2**63, description="Of weights, split, order and augmentation.")
    ] = 0
    earlier: tuple[Segment, ...] = ()

    @field_validator("dataset")
    @classmethod
    def _names_no_path(cls, dataset: Part) -> Part:
        return dataset.without_paths()

    @field_validator("datasets")
    @classmethod
    def _name_no_paths(cls, datasets: dict[str, Part]) -> dict[str, Part]:
        return {name: datasets[name].without_paths() for name in sorted(datasets)}

    @model_serializer(mode="wrap")
    def _write(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What was added later stands only where it is said: the config of one data set stays."""
        document: dict[str, Any] = handler(self)
        for name in ("datasets", "hold_out", "draw", "mixup", "earlier"):
            if not document.get(name):
                document.pop(name, None)
        if self.hue is None:
            document.pop("hue", None)
        if self.datasets:
            document.pop("dataset", None)
        return document

    @property
    def parts(self) -> dict[str, Part]:
        """The data sets that are read, by their names in the run."""
        return self.datasets or {self.dataset.name: self.dataset}

    def segment(self, epoch: int) -> tuple[int, int, float]:
        """Of the segment that an epoch (from 0) is in: its first, the one behind it, its rate."""
        first = 0
        for each in self.earlier:
            if epoch < each.epochs:
                return first, each.epochs, each.lr
            first = each.epochs
        return first, self.epochs, self.lr

    @property
    def draws_evenly(self) -> bool:
        """Whether an epoch shows laboratories and classes alike."""
        return self.draw == "even" or (self.draw is None and bool(self.datasets))


class RunConfig(Strict):
    """What `config.json` holds.

    Attributes:
        train: None for a composition that was not trained here.
        split_sha256: of the run's `split.csv`, so that its photographs are known again.
        trained_on: of weights that were trained elsewhere, what whoever saved them says of it,
            which may be nothing; None, and not written, for all others.
    """

    format: Literal[1] = 1
    model: ModelConfig
    train: TrainConfig | None = None
    split_sha256: str = ""
    trained_on: str | None = None

    @model_serializer(mode="wrap")
    def _without_no_origin(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: v for key, v in whole(self).items() if key != "trained_on" or v is not None}

    def with_tasks(self, tasks: tuple[Task, ...]) -> Self:
        """The same of other tasks."""
        return self.model_copy(update={"model": self.model.model_copy(update={"tasks": tasks})})

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

"""Names of parts and of a data set go in here, and a trained run comes out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wbczoo import progress
from wbczoo.config import ModelConfig, Part, RunConfig, TrainConfig, train_config
from wbczoo.data.choice import Data, choose_data
from wbczoo.errors import UsageError
from wbczoo.model.compose import compose, explain_random
from wbczoo.progress import Tell
from wbczoo.tasks import DEFAULT, Task, parse
from wbczoo.training.folds import train_folds
from wbczoo.training.init import compose_like, weights_of
from wbczoo.training.resume import data_of_begun
from wbczoo.training.track import Tracker


@dataclass(frozen=True)
class Run:
    """A finished training; it stands for its folder wherever a path is taken.

    Attributes:
        summaries: what `summary.json` of each training holds: one, or one for each fold. None at
            all in the processes of a distributed training but the first.
    """

    folder: Path
    summaries: tuple[dict[str, Any], ...]

    def __fspath__(self) -> str:
        return str(self.folder)


def train(
    backbone: str,
    data: Data,
    *,
    out: str | os.PathLike[str],
    sequence: str = "none",
    weights: str = "imagenet",
    dataset: str | Part = "folder",
    dataset_options: Mapping[str, object] | None = None,
    fold: int | Literal["all"] | None = None,
    device: str = "auto",
    resume: bool = False,
    checkpoint_seconds: float = 300.0,
    track: Tracker | None = None,
    init: str | os.PathLike[str] | None = None,
    tell: Tell = progress.tell,
    **options: Any,
) -> Run:
    """Train a composition under a protocol and leave a run in `out`.

    Args:
        backbone, sequence: names of parts, as `list_backbones` and `list_sequences` give them.
        data: the data set's folder or archive; of several data sets a mapping, their names ->
            their paths (`{"bccd": ..., "pbc": ...}`; `NAME@LABORATORY` for a second one of a
            name).
        out: a new folder; with `resume`, one that holds a stopped run of the same settings.
        weights: the backbone's initial ones: `imagenet`, `none`, or a safetensors file.
        init: a run whose composition and weights are taken, its heads by the names of classes;
            `backbone` is then `none`, or the same. Where no task is named, its tasks are meant.
        dataset: its name, as `list_datasets` gives it, or a part of another run's config.
        dataset_options: name -> value of options that the data set declares.
        fold: of the protocol `grouped`: a number from 0, or all.
        checkpoint_seconds: how much work a kill may cost at most.
        track: `tensorboard`, `mlflow` or `trackio`, which hears of each epoch too.
        tell: takes sentences for the user; they go to stderr by themselves.
        options: of the composition, as `create_model` takes them (`tasks`, `hidden`, `image_size`,
            `crop`, `backbone_options`, `sequence_options`), and the fields of
            `wbczoo.config.TrainConfig` (`protocol`, `hold_out`, `trainable`, `epochs`, `lr`,
            `seed`, ...). `tasks=["own"]` takes all classes that the data have.

    Raises:
        UsageError: if a part or a setting cannot be, the data do not fit, `out` is taken, or no
            task is named and more than a tenth of the files has no class of the default ones.
        WbczooError: if weights or the device cannot be had, the loss is no number, or the disk
            is full.
        KeyboardInterrupt: after Ctrl-C, when the state is saved.
    """
    kept = data_of_begun(Path(out)) if resume else ()
    parts, places = choose_data(data, dataset, dataset_options, kept)
    tasks = options.pop("tasks", None)
    chosen = {name: options.pop(name) for name in TrainConfig.model_fields if name in options}
    if init is None:
        model = compose(backbone, sequence, tasks=tasks or DEFAULT, **options)
    else:
        model = _compose_like(Path(init), backbone, sequence, weights, tasks, options)
    run = RunConfig(
        model=model,
        train=train_config(**parts, **chosen),
    )
    assert run.train is not None
    initial = weights if init is None else weights_of(Path(init))
    network = (model.backbone.name, initial, run.train.trainable)
    if not resume and (random := explain_random([network])):
        tell(random)
    summaries = train_folds(
        run,
        places,
        Path(out),
        fold,
        weights=weights,
        device=device,
        resume=resume,
        tasks_by_default=not tasks and init is None,
        init=None if init is None else Path(init),
        checkpoint_seconds=checkpoint_seconds,
        track=track,
        tell=tell,
    )
    return Run(Path(out), tuple(summaries))


def _compose_like(
    init: Path,
    backbone: str,
    sequence: str,
    weights: str,
    tasks: Sequence[str | Task] | None,
    options: Mapping[str, Any],
) -> ModelConfig:
    """The run's composition; what a command line says by default says nothing of it."""
    if weights not in ("imagenet", "none"):
        raise UsageError(f"{init} brings its weights, and {weights} was given too: leave out one.")
    silent = {"backbone": "none", "sequence": "none", "hidden": 64, "crop": "none"}
    given = {"backbone": backbone, "sequence": sequence, **options}
    for kind in ("backbone", "sequence"):
        if given.pop(f"{kind}_options", None):
            raise UsageError(f"{init} brings the options of its {kind}: leave them out.")
    said = {name: None if silent.get(name) == value else value for name, value in given.items()}
    return compose_like(init, parse(tasks) if tasks else (), said)

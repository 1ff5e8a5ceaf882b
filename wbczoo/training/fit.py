"""A model, its batches and its optimiser become one training that is ready to run."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from wbczoo.config import TrainConfig
from wbczoo.data.batches import Batches, draw_evenly, draw_order
from wbczoo.errors import UsageError
from wbczoo.model.fused import FusedClassifier
from wbczoo.progress import Tell
from wbczoo.training.checkpoint import Progress
from wbczoo.training.inference import use_bf16
from wbczoo.training.loss import class_weights


@dataclass
class Fit:
    """Everything that one training moves: built once, changed by every step.

    Attributes:
        joins_tail: whether an epoch's last images, too few for batch statistics, are shown with
            the batch before them.
        averaged: the running mean of the model's weights over all steps, where one is kept
            (Polyak and Juditsky 1992).
        captured: answers a batch of the full size as `wrapped` does, by a recorded CUDA graph.
    """

    accelerator: Accelerator
    model: FusedClassifier
    wrapped: nn.Module
    optimizer: torch.optim.Optimizer
    config: TrainConfig
    training: Batches
    validation: Batches
    class_weights: Mapping[str, Tensor]
    bf16: bool
    out: Path
    checkpoint_seconds: float = 300.0
    tell: Tell = print
    progress: Progress = field(default_factory=Progress)
    sums: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    stop_asked: Callable[[], bool] = lambda: False
    joins_tail: bool = False
    averaged: AveragedModel | None = None
    captured: Callable[[Any], dict[str, Tensor]] | None = None

    @property
    def judged(self) -> FusedClassifier:
        """The model that is validated and kept: the averaged one, or that of the last step."""
        return self.model if self.averaged is None else cast(FusedClassifier, self.averaged.module)

    @property
    def steps(self) -> int:
        """Steps in an epoch; a tail that has no image for some device is left out."""
        full, tail = divmod(len(self.training), self.config.batch_size)
        return full + int(tail >= int(self.accelerator.num_processes) and not self.joins_tail)

    def order(self) -> NDArray[np.int64]:
        """The positions of the images of the epoch where it stands, in the order of its draw."""
        seed, epoch = self.config.seed, self.progress.epoch
        if self.config.draws_evenly:
            return draw_evenly(seed, epoch, self.training.even_shares())
        return draw_order(seed, epoch, len(self.training))

    def batches(self, order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """An epoch's order (N,) as the positions of each of its steps."""
        size, last = self.config.batch_size, self.steps - 1
        return [
            order[step * size : None if step == last and self.joins_tail else (step + 1) * size]
            for step in range(self.steps)
        ]

    def rate(self, step: int) -> float:
        """The rate of one of the epoch's steps: constant, or half a cosine to 0 in its segment."""
        first, end, lr = self.config.segment(self.progress.epoch)
        if self.config.schedule == "constant":
            return lr
        done = (self.progress.epoch - first) * self.steps + step
        return lr * 0.5 * (1 + math.cos(math.pi * done / ((end - first) * self.steps)))


def share_of(accelerator: Accelerator) -> slice:
    """Which images of a batch are this device's."""
    return slice(accelerator.process_index, None, accelerator.num_processes)


def prepare_fit(
    model: FusedClassifier,
    config: TrainConfig,
    training: Batches,
    validation: Batches,
    out: Path,
    accelerator: Accelerator,
) -> Fit:
    """Put model, optimiser and batches where they will be used.

    Args:
        model: whatever it makes of the batches' images; a study shows one cached features.
        training, validation: on the accelerator's device; there may be no validation images.

    Raises:
        UsageError: if batches are too small for the model's batch normalisation.
        WbczooError: if bf16 was asked for, and a layer of the model has none on this device.
    """
    device = accelerator.device
    model.open_for_training(config.trainable, config.norm)
    model.move_to(device)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    optimizer = kinds[config.optimizer](
        [parameter for _, parameter in model.named_trainable()],
        lr=config.lr,
        weight_decay=config.weight_decay,
        # One kernel for all parameters; a GPU waits for launches where batches are small.
        fused=device.type == "cuda" or None,
    )
    tasks = model.config.tasks
    fit = Fit(
        accelerator=accelerator,
        model=model,
        wrapped=accelerator.prepare_model(model, device_placement=False),
        optimizer=optimizer,
        config=config,
        training=training,
        validation=validation,
        class_weights={
            task.name: class_weights(
                training.targets[task.name], len(task.classes), config.class_weights
            )
            for task in tasks
        },
        bf16=use_bf16(model, config.precision, device),
        out=out,
        sums=torch.zeros(
            2 + 2 * len(tasks),
            dtype=torch.float32 if device.type == "mps" else torch.float64,
            device=device,
        ),
    )
    _settle_tail(fit)
    if config.average:
        mean = get_ema_multi_avg_fn(config.average)  # type: ignore[no-untyped-call]
        fit.averaged = AveragedModel(model, multi_avg_fn=mean, use_buffers=True)
    return fit


def _settle_tail(fit: Fit) -> None:
    """See that each batch has statistics where the model normalises by its batches."""
    size, world = fit.config.batch_size, int(fit.accelerator.num_processes)
    full, tail = divmod(len(fit.training), size)
    sizes = [size] * bool(full) + [tail] * (tail >= world)
    if all(each // world > 1 for each in sizes):
        return
    starved = _starved_of_one_image(fit)
    if not starved:
        return
    if size // world > 1 and full:
        fit.joins_tail = True
        return
    height, width = fit.model.config.preprocessing.size
    raise UsageError(
        f"{fit.model.config.name} has batch normalisation ({starved[0]}) that sees one number for "
        f"each channel of an image of {height} by {width} pixels, and a batch of one image has no "
        "statistics. Give two images or more to each device: a larger --batch-size, and more than "
        "one training image. A larger --image-size or --trainable head may do as well."
    )


def _starved_of_one_image(fit: Fit) -> list[str]:
    """The batch normalisations that would train on one number for each channel of one image."""
    model, seen = fit.model, dict[str, int]()

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, given: seen.update({name: given[0].numel() // given[0].shape[1]})

    model.train()
    hooks = [
        module.register_forward_pre_hook(watch(name))
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.training
    ]
    if hooks:
        model.eval()  # in which no statistics move and nothing is drawn
        with torch.no_grad(), contextlib.suppress(ValueError):
            model(fit.training.images(np.zeros(1, np.int64)))
        model.train()
    for hook in hooks:
        hook.remove()
    return [name for name, count in seen.items() if count == 1]

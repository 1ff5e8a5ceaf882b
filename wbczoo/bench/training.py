"""Two ways of feeding the same training step are timed here, in turn, and given as a ratio."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from wbczoo import machine
from wbczoo.config import ModelConfig, TrainConfig
from wbczoo.data.augment import Augmentation
from wbczoo.data.batches import Batches, draw_order
from wbczoo.data.prepared import prepare
from wbczoo.errors import UsageError
from wbczoo.model.build import build
from wbczoo.progress import Tell
from wbczoo.training.fit import prepare_fit
from wbczoo.training.inference import choose_device
from wbczoo.training.train import train_step

_ROUNDS = 5


def bench_train(
    model: ModelConfig,
    config: TrainConfig,
    data: Path,
    *,
    steps: int,
    weights: str = "none",
    device: str = "auto",
    tell: Tell = print,
) -> dict[str, Any]:
    """Time steps of a real epoch, read from the pixel cache, against steps on one resident batch.

    Rounds of both alternate, so that a machine that slows down slows both; the ratio is of the
    sums over all rounds.

    Args:
        steps: in a round at most; an epoch of the data may have fewer.

    Returns:
        images/s of both, their ratio (1: training never waits for data), and the settings.

    Raises:
        UsageError: if the training images fill fewer than four batches.
    """
    prepared = prepare(config, data, model.tasks, model.preprocessing, tell=tell)
    images = len(prepared.used("train"))
    steps = min(steps, images // config.batch_size)
    if steps < 4:
        raise UsageError(
            f"{images} training images are too few for four batches of "
            f"{config.batch_size}; give more images or a smaller --batch-size."
        )
    accelerator = Accelerator(cpu=choose_device(device).type == "cpu", mixed_precision="no")
    sides = prepared.sides(accelerator.device)
    with tempfile.TemporaryDirectory() as folder:
        fit = prepare_fit(build(model, weights=weights), config, *sides, Path(folder), accelerator)
    fit.wrapped.train()
    order = draw_order(config.seed, 0, len(fit.training))
    height, width = model.preprocessing.size
    shown_as = Augmentation(config, 0, len(fit.training), height == width)
    real, resident = fit.training, _Resident(fit.training, order[: config.batch_size])

    def run(batches: Batches) -> float:
        _synchronise(accelerator.device)
        started = time.perf_counter()
        chosen = np.split(order[: steps * config.batch_size], steps)
        for positions, pixels in zip(chosen, batches.ahead(chosen), strict=True):
            train_step(fit, positions, pixels, shown_as)
        _synchronise(accelerator.device)
        return time.perf_counter() - started

    tell("warming up")
    run(resident)
    seconds = {"epoch": 0.0, "resident": 0.0}
    for number in range(_ROUNDS):
        tell(f"round {number + 1} of {_ROUNDS}")
        # Whoever goes second meets the warmer caches; take turns.
        pair: list[tuple[str, Batches]] = [("epoch", real), ("resident", resident)]
        for name, batches in pair if number % 2 else reversed(pair):
            seconds[name] += run(batches)
    shown = _ROUNDS * steps * config.batch_size
    return {
        "name": model.name,
        "epoch_images_per_second": shown / seconds["epoch"],
        "resident_images_per_second": shown / seconds["resident"],
        "ratio": seconds["resident"] / seconds["epoch"],
        "rounds": _ROUNDS,
        "steps": steps,
        "batch_size": config.batch_size,
        "trainable": config.trainable,
        "augment": config.augment,
        "device": str(accelerator.device),
        "precision": "bf16" if fit.bf16 else "fp32",
        "processor": machine.processor(),
    }


class _Resident(Batches):
    """One batch, already on the device, for whatever positions are asked."""

    def __init__(self, whole: Batches, positions: np.ndarray[Any, Any]) -> None:
        self.device = whole.device
        self.targets = whole.targets
        self._batch = whole.images(positions).clone(memory_format=torch.channels_last)

    def ahead(self, chosen: Sequence[np.ndarray[Any, Any]]) -> Iterator[torch.Tensor]:
        return (self._batch for _ in chosen)


def _synchronise(device: torch.device) -> None:
    wait: dict[str, Callable[[], object]] = {
        "cuda": torch.cuda.synchronize,
        "mps": torch.mps.synchronize,
    }
    wait.get(device.type, lambda: None)()

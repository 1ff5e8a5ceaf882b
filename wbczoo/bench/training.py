"""Training's steps are timed here in turn with a resident batch's and with a plain loop's."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch.nn.functional import cross_entropy

from wbczoo import machine
from wbczoo.config import ModelConfig, TrainConfig
from wbczoo.data.augment import Augmentation
from wbczoo.data.batches import Batches, draw_order
from wbczoo.data.prepared import prepare
from wbczoo.errors import UsageError
from wbczoo.model.build import build
from wbczoo.model.fused import FusedClassifier
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

    The batch is asked of training's own step, which tells what reading costs, and of the step
    that a user would write for the same network. Rounds of all three alternate, so that a machine
    that slows down slows all; the ratios are of the sums over all rounds.

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
    plain = _PlainStep(build(model, weights=weights), config, fit.training, order, bf16=fit.bf16)

    def run(batches: Batches) -> float:
        _synchronise(accelerator.device)
        started = time.perf_counter()
        chosen = np.split(order[: steps * config.batch_size], steps)
        for positions, pixels in zip(chosen, batches.ahead(chosen), strict=True):
            train_step(fit, positions, pixels, shown_as)
        _synchronise(accelerator.device)
        return time.perf_counter() - started

    def run_plain() -> float:
        _synchronise(accelerator.device)
        started = time.perf_counter()
        for _ in range(steps):
            plain.do()
        _synchronise(accelerator.device)
        return time.perf_counter() - started

    tell("warming up")
    run(resident)
    plain.do()
    seconds = {"epoch": 0.0, "resident": 0.0, "plain": 0.0}
    turns: list[tuple[str, Callable[[], float]]] = [
        ("epoch", lambda: run(real)),
        ("resident", lambda: run(resident)),
        ("plain", run_plain),
    ]
    for number in range(_ROUNDS):
        tell(f"round {number + 1} of {_ROUNDS}")
        # Whoever goes later meets the warmer caches; take turns.
        for name, turn in turns if number % 2 else reversed(turns):
            seconds[name] += turn()
    shown = _ROUNDS * steps * config.batch_size
    return {
        "name": model.name,
        "epoch_images_per_second": shown / seconds["epoch"],
        "resident_images_per_second": shown / seconds["resident"],
        "plain_images_per_second": shown / seconds["plain"],
        "ratio": seconds["resident"] / seconds["epoch"],
        "ratio_to_plain": seconds["plain"] / seconds["epoch"],
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


class _PlainStep:
    """The step that a user would write: PyTorch's own layout and optimiser, one resident batch.

    Args:
        bf16: compute in bfloat16 by autocast, as training does.
    """

    def __init__(
        self,
        model: FusedClassifier,
        config: TrainConfig,
        batches: Batches,
        order: np.ndarray[Any, Any],
        *,
        bf16: bool,
    ) -> None:
        positions = order[: config.batch_size]
        model.open_for_training(config.trainable, config.norm)
        self._model = model.to(batches.device).train()
        self._images = batches.images(positions).contiguous()
        self._targets = {
            name: targets.to(batches.device)
            for name, targets in batches.targets_at(positions).items()
        }
        self._optimizer = torch.optim.Adam(
            [parameter for _, parameter in model.named_trainable()], lr=config.lr
        )
        self._bf16 = bf16

    def do(self) -> None:
        with torch.autocast(self._images.device.type, torch.bfloat16, enabled=self._bf16):
            logits = self._model(self._images)
        loss = sum(
            cross_entropy(logits[name].float(), targets, ignore_index=-1)
            for name, targets in self._targets.items()
        )
        assert isinstance(loss, torch.Tensor)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._optimizer.zero_grad()


def _synchronise(device: torch.device) -> None:
    wait: dict[str, Callable[[], object]] = {
        "cuda": torch.cuda.synchronize,
        "mps": torch.mps.synchronize,
    }
    wait.get(device.type, lambda: None)()

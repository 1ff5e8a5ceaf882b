"""A composition and photographs go in, a run comes out: train -> fit -> epoch, top to bottom."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from wbczoo import files, machine
from wbczoo.config import RunConfig, TrainConfig
from wbczoo.data.augment import Augmentation
from wbczoo.data.batches import Batches, draw_order
from wbczoo.data.prepared import Prepared
from wbczoo.data.splits import write_split
from wbczoo.errors import WbczooError
from wbczoo.metrics import fit_temperature
from wbczoo.model.build import build
from wbczoo.model.fused import FusedClassifier
from wbczoo.progress import Tell, bar
from wbczoo.training import checkpoint, epoch_metrics, log
from wbczoo.training.checkpoint import Progress
from wbczoo.training.inference import choose_device, predict_logits, use_bf16
from wbczoo.training.interrupt import stop_on_signal
from wbczoo.training.loss import class_weights, summed_cross_entropy

# Steps between two looks at the loss where looking costs time.
_LOOK_EVERY = 20


@dataclass
class Fit:
    """Everything that one training moves: built once, changed by every step."""

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
    tensorboard: Any = None
    progress: Progress = field(default_factory=Progress)
    sums: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    stop_asked: Callable[[], bool] = lambda: False

    @property
    def steps(self) -> int:
        """Steps in an epoch; a tail that has no image for some device is left out."""
        full, tail = divmod(len(self.training), self.config.batch_size)
        return full + int(tail >= int(self.accelerator.num_processes))


def train(
    run: RunConfig,
    prepared: Prepared,
    out: Path,
    *,
    weights: str = "imagenet",
    device: str = "auto",
    resume: bool = False,
    checkpoint_seconds: float = 300.0,
    tensorboard: bool = False,
    tell: Tell = print,
) -> dict[str, Any]:
    """Train a model and leave a run in `out`.

    Args:
        run: the composition and how to train it.
        prepared: the rows, their split, and their cached pixels.
        out: a new folder; with `resume`, one that may hold a stopped run of the same settings.
        weights: `imagenet`, `none` or a safetensors file.
        device: `auto`, `cpu`, `cuda` or `mps`.
        checkpoint_seconds: how much work a kill may cost at most; each epoch's end saves too.
        tell: takes sentences for the user.

    Returns:
        what `summary.json` holds.

    Raises:
        UsageError: if `out` is taken, or holds a run of other settings or data.
        WbczooError: if the device is not there, the loss is no number, or the disk is full.
        KeyboardInterrupt: after Ctrl-C, when the state is saved.
    """
    config = run.train
    assert config is not None
    checkpoint.refuse_taken(out, resume)
    where = choose_device(device)
    accelerator = Accelerator(cpu=where.type == "cpu", mixed_precision="no")
    model = build(run.model, weights=weights, seed=config.seed)
    run = run.model_copy(update={"model": model.config, "split_sha256": prepared.digest})
    fit = prepare_fit(model, config, *prepared.sides(accelerator.device), out, accelerator)
    out.mkdir(parents=True, exist_ok=True)
    fit.checkpoint_seconds, fit.tell = checkpoint_seconds, tell
    if tensorboard and accelerator.is_main_process:
        fit.tensorboard = log.open_tensorboard(out)
    begin(fit, hashlib.sha256(run.model_dump_json().encode()).hexdigest(), resume)
    described = (checkpoint.CONFIG, checkpoint.SPLIT, checkpoint.ENVIRONMENT)
    whole = all((out / name).is_file() for name in described)
    if accelerator.is_main_process and not (whole and fit.progress.best_epoch >= 0):
        run.write(out / checkpoint.CONFIG)
        write_split(out / checkpoint.SPLIT, prepared.rows, prepared.plan)
        files.write_json(out / checkpoint.ENVIRONMENT, machine.describe())
    run_epochs(fit)
    return finish(fit, run, prepared) if accelerator.is_main_process else {}


def begin(fit: Fit, digest: str, resume: bool) -> None:
    """Take up the state that the fit's folder holds, if it is to be resumed, or start anew.

    Args:
        digest: of the settings and the split, so that no other training's state is taken up.

    Raises:
        UsageError, WbczooError: as `checkpoint.load_last` and `checkpoint.refuse_lost` do.
    """
    if resume and (fit.out / checkpoint.LAST).is_file():
        _take_up(fit, digest)
    else:
        torch.manual_seed(fit.config.seed)
    fit.progress.run_digest = digest
    fit.progress.environment = machine.bits_depend_on(fit.accelerator.device.type, fit.bf16)


def run_epochs(fit: Fit) -> None:
    """Train from where a fit stands to its last epoch; Ctrl-C saves the state and stops.

    Raises:
        WbczooError: if the loss is no number, or the disk is full.
        KeyboardInterrupt: after Ctrl-C.
    """
    with stop_on_signal(fit.tell) as fit.stop_asked:
        for _ in range(fit.progress.epoch, fit.config.epochs):
            run_epoch(fit)
    fit.accelerator.wait_for_everyone()


def run_epoch(fit: Fit) -> None:
    """One pass over the training images from where it stands, its validation and its commit."""
    progress, config = fit.progress, fit.config
    count = len(fit.training)
    order = draw_order(config.seed, progress.epoch, count)
    height, width = fit.model.config.preprocessing.size
    shown = Augmentation(config, progress.epoch, count, height == width)
    fit.wrapped.train()
    saved = time.monotonic()
    started = time.monotonic()
    first = progress.step
    on_cpu = fit.accelerator.device.type == "cpu"
    with bar(fit.steps, f"epoch {progress.epoch + 1}/{config.epochs}", first) as advance:
        starts = range(first * config.batch_size, fit.steps * config.batch_size, config.batch_size)
        batches = [order[start : start + config.batch_size] for start in starts]
        shares = [positions[share_of(fit.accelerator)] for positions in batches]
        for positions, images in zip(batches, fit.training.ahead(shares), strict=True):
            train_step(fit, positions, images, shown)
            progress.step += 1
            advance(1)
            due = time.monotonic() - saved > fit.checkpoint_seconds
            stop = stop_together(fit)
            # To look at a number on a GPU is to wait for it, so not at every step.
            if on_cpu or due or stop or progress.step % _LOOK_EVERY == 0:
                refuse_nan(fit)
            if stop or due:
                commit(fit)
                saved = time.monotonic()
            if stop:
                raise KeyboardInterrupt
    refuse_nan(fit)
    seconds = time.monotonic() - started
    sums = fit.accelerator.reduce(fit.sums.clone(), "sum").cpu()
    row = {"epoch": progress.epoch + 1, "lr": _rate(fit, fit.steps - 1)}
    row.update(epoch_metrics.of_training(sums, list(fit.class_weights)))
    row["images_per_second"] = (fit.steps - first) * config.batch_size / max(seconds, 1e-9)
    row.update(validate(fit))
    keep(fit, row)


def share_of(accelerator: Accelerator) -> slice:
    """Which images of a batch are this device's."""
    return slice(accelerator.process_index, None, accelerator.num_processes)


def train_step(
    fit: Fit, positions: np.ndarray[Any, Any], images: Tensor, shown: Augmentation | None = None
) -> None:
    """One optimiser step, over all devices together.

    Args:
        positions: of the whole batch's images, (N,).
        images: this device's share of them, uint8 (n, 3, H, W).
        shown: what the epoch does to its images, or None to show them as they are.
    """
    accelerator = fit.accelerator
    mine, world = share_of(accelerator), accelerator.num_processes
    targets = fit.training.targets_at(positions)
    if shown is not None:
        images = shown.show(images, positions[mine])
    for group in fit.optimizer.param_groups:
        group["lr"] = _rate(fit, fit.progress.step)
    fit.optimizer.zero_grad(set_to_none=True)
    with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=fit.bf16):
        logits = fit.wrapped(images)
    loss = summed_cross_entropy(logits, targets, fit.class_weights, mine)
    # DDP averages gradients over devices; the loss above is a share of a sum.
    accelerator.backward(loss * world)
    fit.optimizer.step()
    fit.sums += epoch_metrics.step_sums(logits, targets, mine, loss.detach(), 1 / world).to(
        fit.sums.dtype
    )


def stop_together(fit: Fit) -> bool:
    """Whether to stop after this step; several devices agree on a step, or they would wait."""
    if fit.accelerator.num_processes == 1:
        return fit.stop_asked()
    if fit.progress.step % _LOOK_EVERY and fit.progress.step < fit.steps:
        return False
    asked = torch.tensor(float(fit.stop_asked()), device=fit.accelerator.device)
    return bool(fit.accelerator.reduce(asked, "sum") > 0)


def refuse_nan(fit: Fit) -> None:
    """End a training whose loss was no number at any step of the epoch, before it is saved.

    Raises:
        WbczooError: with the step by which it had happened.
    """
    if not math.isfinite(float(fit.sums[0])):
        raise WbczooError(
            f"The loss became {float(fit.sums[0])} in epoch {fit.progress.epoch + 1}, by step "
            f"{fit.progress.step}. The run in {fit.out} keeps its last good state; try a smaller "
            "--lr, or --precision fp32."
        )


def validate(fit: Fit) -> dict[str, float]:
    """The figures of the validation photographs; empty where there are none."""
    if len(fit.validation) == 0:
        return {}
    logits = predict_logits(fit.model, fit.validation, bf16=fit.bf16)
    return epoch_metrics.of_validation(logits, fit.validation.targets)


def keep(fit: Fit, row: dict[str, float]) -> None:
    """Write an epoch down: its row, the model if it is the best so far, then the commit."""
    progress = fit.progress
    if strange := [name for name, value in row.items() if not math.isfinite(value)]:
        raise WbczooError(
            f"In epoch {progress.epoch + 1} {strange[0]} became no number. The run in {fit.out} "
            "keeps its last good state; try a smaller --lr, or --precision fp32."
        )
    # Balanced accuracy, for a rare class counts as much; equal scores go by the loss. Without
    # validation photographs the last epoch is kept.
    score, loss = row.get("validation_score", 1.0), row.get("validation_loss", 0.0)
    best = (score, -loss) > (progress.best_score, -progress.best_loss)
    best = best or not len(fit.validation) or fit.config.keep == "last"
    if progress.best_epoch < 0 or best:
        progress.best_epoch, progress.best_score, progress.best_loss = progress.epoch, score, loss
        if fit.accelerator.is_main_process:
            checkpoint.save_model(fit.out, fit.model, progress.epoch)
    if fit.accelerator.is_main_process:
        progress.metrics_bytes = log.append(
            fit.out / checkpoint.METRICS, row, progress.metrics_bytes
        )
        if fit.tensorboard is not None:
            log.to_tensorboard(fit.tensorboard, row)
    progress.epoch, progress.step = progress.epoch + 1, 0
    fit.sums.zero_()
    commit(fit)
    parts = [f"{name} {value:.4g}" for name, value in row.items() if name.endswith("loss")]
    parts += [f"{name} {value:.3f}" for name, value in row.items() if name.endswith("_accuracy")]
    fit.tell(f"epoch {progress.epoch}: " + ", ".join(parts))


def commit(fit: Fit) -> None:
    """Save the whole state of the training at this step."""
    if fit.accelerator.is_main_process:
        checkpoint.save_last(fit.out, fit.model, fit.optimizer, fit.progress, fit.sums)


def finish(fit: Fit, run: RunConfig, prepared: Prepared) -> dict[str, Any]:
    """Fit the best model's temperatures on validation groups, and write the summary and curves."""
    fit.tell("fitting temperatures on the validation photographs")
    _, model = checkpoint.load_model(fit.out)
    model.move_to(fit.accelerator.device)
    if len(fit.validation):
        logits = predict_logits(model, fit.validation, bf16=fit.bf16)
        for place, task in enumerate(run.model.tasks):
            truth = fit.validation.targets[task.name].numpy()
            model.temperatures[place] = fit_temperature(logits[task.name], truth)
    checkpoint.save_model(fit.out, model, fit.progress.best_epoch)
    rows = log.read(fit.out / checkpoint.METRICS, fit.progress.metrics_bytes)
    tasks = [task.name for task in run.model.tasks]
    log.draw_curves(
        fit.out / checkpoint.CURVES, rows, tasks, f"{run.model.name}: {prepared.caption()}"
    )
    summary = {
        "name": run.model.name,
        "protocol": prepared.plan.protocol,
        "leaky": prepared.plan.leaky,
        "data": prepared.describe(),
        "epochs": fit.progress.epoch,
        "keep": fit.config.keep,
        "best_epoch": fit.progress.best_epoch + 1,
        "best": rows[fit.progress.best_epoch] if rows else {},
        "temperatures": {
            task.name: float(model.temperatures[place])
            for place, task in enumerate(run.model.tasks)
        },
        "refused": dict(prepared.rows.refused),
    }
    files.write_json(fit.out / checkpoint.SUMMARY, summary)
    return summary


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
        WbczooError: if bf16 was asked for, and a layer of the model has none on this device.
    """
    device = accelerator.device
    model.open_for_training(config.trainable)
    model.move_to(device)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    optimizer = kinds[config.optimizer](
        [parameter for _, parameter in model.named_trainable()],
        lr=config.lr,
        weight_decay=config.weight_decay,
    )
    tasks = model.config.tasks
    return Fit(
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


def _take_up(fit: Fit, digest: str) -> None:
    progress, sums = checkpoint.load_last(fit.out, fit.model, fit.optimizer, digest)
    checkpoint.refuse_lost(fit.out, progress)
    now = machine.bits_depend_on(fit.accelerator.device.type, fit.bf16)
    then = progress.environment or {}
    changed = [
        f"{key} was {then.get(key)}, is {now[key]}" for key in now if then.get(key) != now[key]
    ]
    if changed:
        fit.tell(
            "This machine differs from the one where the run was stopped "
            f"({'; '.join(changed)}): it goes on, but equal bits are not promised."
        )
    fit.progress = progress
    # The sums are the first device's; with the others at zero their ratios stay right.
    if fit.accelerator.is_main_process:
        fit.sums.copy_(sums)
    fit.tell(f"resuming at epoch {progress.epoch + 1}, step {progress.step + 1}")


def _rate(fit: Fit, step: int) -> float:
    """The learning rate of one of the epoch's steps: constant, or half a cosine to 0."""
    config = fit.config
    if config.schedule == "constant":
        return config.lr
    done = fit.progress.epoch * fit.steps + step
    return config.lr * 0.5 * (1 + math.cos(math.pi * done / (config.epochs * fit.steps)))

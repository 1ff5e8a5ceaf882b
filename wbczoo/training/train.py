"""A composition and photographs go in, a run comes out: train -> fit -> epoch, top to bottom."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from wbczoo import files, machine
from wbczoo.config import RunConfig
from wbczoo.data.augment import Augmentation, blend, mates
from wbczoo.data.plan import write_split
from wbczoo.data.prepared import Prepared
from wbczoo.model.build import build, rebuild
from wbczoo.progress import Tell, bar
from wbczoo.training import checkpoint, epoch_metrics
from wbczoo.training.captured import capture
from wbczoo.training.fit import Fit, prepare_fit, share_of
from wbczoo.training.inference import choose_device, predict_logits
from wbczoo.training.init import start_from
from wbczoo.training.interrupt import stop_on_signal
from wbczoo.training.keep import commit, finish, keep, refuse_nan
from wbczoo.training.loss import Blend, summed_cross_entropy
from wbczoo.training.resume import digest_run, go_on, read_begun, refuse_differences, take_up
from wbczoo.training.track import Tracker, refuse_missing, tracked

# Steps between two looks at the loss where looking costs time.
_LOOK_EVERY = 20


def train(
    run: RunConfig,
    prepared: Prepared,
    out: Path,
    *,
    weights: str = "imagenet",
    device: str = "auto",
    resume: bool = False,
    checkpoint_seconds: float = 300.0,
    track: Tracker | None = None,
    init: Path | None = None,
    tell: Tell = print,
) -> dict[str, Any]:
    """Train a model and leave a run in `out`.

    Args:
        run: the composition and how to train it.
        prepared: the rows, their split, and their cached pixels.
        out: a new folder; with `resume`, one that may hold a stopped run of the same settings.
        weights: `imagenet`, `none` or a safetensors file.
        init: a run of this composition, whose weights are taken instead.
        device: `auto`, `cpu`, `cuda` or `mps`.
        checkpoint_seconds: how much work a kill may cost at most; each epoch's end saves too.
        track: who hears of each epoch, beside the files of the run.
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
    refuse_missing(track)
    where = choose_device(device)
    accelerator = Accelerator(
        cpu=where.type == "cpu", mixed_precision="no", log_with=track, project_dir=out
    )
    run = run.model_copy(update={"split_sha256": prepared.digest})
    begun = read_begun(out) if resume else None
    if begun is None and init is not None:
        model = start_from(init, run.model, config.seed, tell)
    elif begun is None:
        model = build(run.model, weights=weights, seed=config.seed)
    else:  # its state holds every weight, so that nothing is fetched again
        run = go_on(begun, run)
        refuse_differences(out, begun, run, weights)
        model = rebuild(begun.model)
    run = run.model_copy(update={"model": model.config})
    assert run.train is not None
    config = run.train
    fit = prepare_fit(model, config, *prepared.sides(accelerator.device), out, accelerator)
    out.mkdir(parents=True, exist_ok=True)
    fit.checkpoint_seconds, fit.tell = checkpoint_seconds, tell
    begin(fit, digest_run(run), resume)
    described = (checkpoint.CONFIG, checkpoint.SPLIT, checkpoint.ENVIRONMENT)
    kept = all((out / name).is_file() for name in described) and fit.progress.best_epoch >= 0
    if accelerator.is_main_process and not (kept and begun == run):
        run.write(out / checkpoint.CONFIG)
        write_split(out / checkpoint.SPLIT, prepared.rows, prepared.plan)
        files.write_json(out / checkpoint.ENVIRONMENT, machine.describe())
    with tracked(accelerator, track, run, prepared, out, resumed=begun is not None):
        run_epochs(fit)
        return finish(fit, run, prepared) if accelerator.is_main_process else {}


def begin(fit: Fit, digest: str, resume: bool) -> None:
    """Take up the state that the fit's folder holds, if it is to be resumed, or start anew.

    Args:
        digest: of the settings and the split, so that no other training's state is taken up.

    Raises:
        UsageError, WbczooError: as `take_up` does.
    """
    if resume and (fit.out / checkpoint.LAST).is_file():
        take_up(fit, digest)
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
    fit.captured = capture(fit)
    with stop_on_signal(fit.tell) as fit.stop_asked:
        for _ in range(fit.progress.epoch, fit.config.epochs):
            run_epoch(fit)
    fit.accelerator.wait_for_everyone()


def run_epoch(fit: Fit) -> None:
    """One pass over the training images from where it stands, its validation and its commit."""
    progress, config = fit.progress, fit.config
    count = len(fit.training)
    order = fit.order()
    # An image that is drawn twice in an epoch is shown in two ways.
    drawn = np.arange(count) if config.draws_evenly else order
    height, width = fit.model.config.preprocessing.size
    shown = Augmentation(config, progress.epoch, count, height == width)
    fit.wrapped.train()
    saved = time.monotonic()
    started = time.monotonic()
    first = progress.step
    on_cpu = fit.accelerator.device.type == "cpu"
    with bar(fit.steps, f"epoch {progress.epoch + 1}/{config.epochs}", first) as advance:
        batches, places = fit.batches(order)[first:], fit.batches(drawn)[first:]
        shares = [positions[share_of(fit.accelerator)] for positions in batches]
        steps = zip(batches, places, fit.training.ahead(shares), strict=True)
        for positions, place, images in steps:
            train_step(fit, positions, images, shown, place)
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
    row = {"epoch": progress.epoch + 1, "lr": fit.rate(fit.steps - 1)}
    row.update(epoch_metrics.of_training(sums, list(fit.class_weights)))
    row["images_per_second"] = (fit.steps - first) * config.batch_size / max(seconds, 1e-9)
    row.update(validate(fit))
    keep(fit, row)


def train_step(
    fit: Fit,
    positions: np.ndarray[Any, Any],
    images: Tensor,
    shown: Augmentation | None = None,
    places: np.ndarray[Any, Any] | None = None,
) -> None:
    """One optimiser step, over all devices together.

    Args:
        positions: of the whole batch's images, (N,).
        images: this device's share of them, uint8 (n, 3, H, W).
        shown: what the epoch does to its images, or None to show them as they are.
        places: which of what it does each of the whole batch's images gets; the positions if None.
    """
    accelerator = fit.accelerator
    mine, world = share_of(accelerator), accelerator.num_processes
    targets = fit.training.targets_at(positions)
    blended = None
    if shown is not None:
        at = positions if places is None else places
        images = shown.show(images, at[mine])
        if shown.blends is not None:
            shares = shown.blends[at]
            images = blend(images, shares[mine])
            blended = Blend(torch.from_numpy(mates(len(at), world)), torch.from_numpy(shares))
    for group in fit.optimizer.param_groups:
        group["lr"] = fit.rate(fit.progress.step)
    fit.optimizer.zero_grad(set_to_none=True)
    if fit.captured is not None and len(positions) == fit.config.batch_size:
        logits = fit.captured(images)
    else:
        with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=fit.bf16):
            logits = fit.wrapped(images)
    loss = summed_cross_entropy(
        logits, targets, fit.class_weights, mine, fit.config.smoothing, blended
    )
    # DDP averages gradients over devices; the loss above is a share of a sum.
    accelerator.backward(loss * world)
    fit.optimizer.step()
    if fit.averaged is not None:
        fit.averaged.update_parameters(fit.model)
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


def validate(fit: Fit) -> dict[str, float]:
    """The figures of the validation photographs; empty where there are none."""
    if len(fit.validation) == 0:
        return {}
    logits = predict_logits(fit.judged, fit.validation, bf16=fit.bf16)
    return epoch_metrics.of_validation(logits, fit.validation.targets)

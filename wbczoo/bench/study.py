"""The study's speeds are measured here: cached heads, a branch's trial, an open last block's."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from wbczoo import machine
from wbczoo.config import Part, Protocol, Trainable, train_config
from wbczoo.data.batches import draw_order
from wbczoo.data.prepared import prepare
from wbczoo.errors import UsageError, WbczooError
from wbczoo.model.build import build
from wbczoo.progress import Tell
from wbczoo.study.plan.trial import NetworkTrial
from wbczoo.study.run.cached import prepare_cached
from wbczoo.study.run.context import Context, build_trial, compose_trial, open_context
from wbczoo.study.run.heads import run_heads
from wbczoo.study.run.roles import Library
from wbczoo.training.fit import Fit, prepare_fit
from wbczoo.training.loss import summed_cross_entropy
from wbczoo.training.train import train_step

_ROUNDS = 3

# Figures 4 and 5 of the report: batch sizes at one learning rate, then learning rates.
FIGURES = ((8, 1e-4), (16, 1e-4), (64, 1e-4), (8, 1e-5), (8, 1e-3))


def bench_study(
    data: Path,
    dataset: Part,
    backbones: Sequence[str],
    *,
    sequence: str = "bilstm",
    weights: str = "imagenet",
    protocol: Protocol = "report",
    epochs: int = 10,
    batch_size: int = 8,
    steps: int = 24,
    device: str = "auto",
    tell: Tell = print,
) -> dict[str, Any]:
    """Run the CNN trials of Figures 4 and 5, and measure the other ways beside that from images.

    Nothing is extrapolated: what is printed was run. Decoding and features are computed in a
    fresh cache, and count.

    Args:
        backbones: whose trials are run; the first also stands beside the branch and is what is run
            from images.
        batch_size: of the steps that are measured.
        steps: in a round of those.

    Returns:
        `trials`, seconds and images/s of each backbone's trials; `branch`, images/s of a trial
        with the branch and of the bare branch's step, in turn, and their ratio; `images`, images/s
        of an ordinary training of the same trial, and the ratio of the cached trials to it;
        `last_block`, for each backbone, images/s of the steps of a trial that opens its last block,
        over its trunk's features and from images.

    Raises:
        UsageError, WbczooError: as the trials do, and if there are too few training images.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        context = open_context(Library({dataset.name: data}, tell), out, device, tell)
        context.cache = out / "cache"

        def trial(
            backbone: str, branch: str, size: int, lr: float, trainable: Trainable = "head"
        ) -> NetworkTrial:
            config = train_config(
                dataset=dataset, protocol=protocol, batch_size=size, lr=lr, epochs=epochs,
                precision="fp32", trainable=trainable,
            )  # fmt: skip
            return NetworkTrial(
                train=config, tasks=("cell", "nucleus"), backbone=backbone, sequence=branch,
                hidden=64, weights=weights,
            )  # fmt: skip

        cached = []
        for backbone in backbones:
            tell(f"the {len(FIGURES)} trials of {backbone}")
            job = [trial(backbone, "none", size, lr) for size, lr in FIGURES]
            cached.append(_time_heads(job, context))
        beside = trial(backbones[0], sequence, batch_size, 1e-4)
        alone = trial(backbones[0], "none", batch_size, 1e-4)
        branch = _time_branch(beside, context, steps)
        from_images = _time_images(alone, context, out / "images", steps)
        opened = []
        for backbone in backbones:
            one = trial(backbone, "none", batch_size, 1e-3, "last-block")
            ordinary = _time_images(one, context, out / f"{backbone}-images", steps)
            opened.append(_time_last_block(one, context, steps, ordinary))
    return {
        "trials": cached,
        "branch": {"name": beside.model, **branch},
        "images": {
            "name": alone.model,
            "images_per_second": from_images,
            "cached_images_per_second": cached[0]["images_per_second"],
            "ratio": cached[0]["images_per_second"] / from_images,
        },
        "last_block": opened,
        "epochs": epochs,
        "batch_size": batch_size,
        "steps": steps,
        "rounds": _ROUNDS,
        "protocol": protocol,
        "device": str(context.device),
        "processor": machine.processor(),
    }


def _time_heads(job: Sequence[NetworkTrial], context: Context) -> dict[str, Any]:
    started = time.perf_counter()
    rows = [row for _, row in run_heads(job, context)]
    seconds = time.perf_counter() - started
    if refused := [row for row in rows if isinstance(row, str)]:
        raise WbczooError(refused[0])
    first = job[0]
    images = len(context.library.split(first, first.folds[0]).numbers("train"))
    return {
        "name": first.model,
        "trials": len(job),
        "seconds": seconds,
        "training_images": images,
        "images_per_second": images * first.train.epochs * len(job) * len(first.folds) / seconds,
    }


def _time_branch(trial: NetworkTrial, context: Context, steps: int) -> dict[str, float]:
    """Images/s of a trial's training steps and of the bare branch's, in turn."""
    split = context.library.split(trial, trial.folds[0])
    fit, _, _ = prepare_cached(trial, split, context)
    batches = _batches(fit, steps)
    bare = _bare_step(trial, fit, batches[0])

    def real() -> None:
        for positions, images in zip(batches, fit.training.ahead(batches), strict=True):
            train_step(fit, positions, images)

    def alone() -> None:
        for _ in batches:
            bare()

    fit.wrapped.train()
    seconds = _in_turn({"trial": real, "bare": alone}, context.device)
    shown = _ROUNDS * steps * fit.config.batch_size
    return {
        "images_per_second": shown / seconds["trial"],
        "bare_images_per_second": shown / seconds["bare"],
        "ratio": seconds["bare"] / seconds["trial"],
    }


def _time_last_block(
    trial: NetworkTrial, context: Context, steps: int, from_images: float
) -> dict[str, Any]:
    """Images/s of a trial's training steps over its trunk's features, beside those from images."""
    split = context.library.split(trial, trial.folds[0])
    fit, _, _ = prepare_cached(trial, split, context)
    cached = _time_steps(fit, context.device, steps)
    return {
        "name": trial.model,
        "cached_images_per_second": cached,
        "images_per_second": from_images,
        "ratio": cached / from_images,
    }


def _time_steps(fit: Fit, device: torch.device, steps: int) -> float:
    """Images/s of a training's steps."""
    fit.wrapped.train()
    batches = _batches(fit, steps)

    def real() -> None:
        for positions, images in zip(batches, fit.training.ahead(batches), strict=True):
            train_step(fit, positions, images)

    seconds = _in_turn({"steps": real}, device)["steps"]
    return _ROUNDS * steps * fit.config.batch_size / seconds


def _bare_step(
    trial: NetworkTrial, fit: Fit, positions: np.ndarray[Any, Any]
) -> Callable[[], None]:
    """A training step of the branch and heads of its own, on one batch that lies ready."""
    whole = build_trial(trial).to(fit.accelerator.device)
    branch = whole.sequence
    assert branch is not None
    width = int(whole.sequence_features)
    heads = nn.ModuleDict(
        {f"{task.name}_head": nn.Linear(width, len(task.classes)) for task in whole.config.tasks}
    ).to(fit.accelerator.device)
    optimizer = torch.optim.Adam([*branch.parameters(), *heads.parameters()], lr=fit.config.lr)
    pixels, features = fit.training.images(positions)
    if pixels is None:
        read: Tensor = features
    else:
        read = whole.shown(pixels.float() / 255)
    targets = fit.training.targets_at(positions)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        given = branch(read)
        logits = {task.name: heads[f"{task.name}_head"](given) for task in whole.config.tasks}
        loss = summed_cross_entropy(logits, targets, fit.class_weights, slice(None))
        torch.autograd.backward(loss)
        optimizer.step()

    return step


def _time_images(trial: NetworkTrial, context: Context, out: Path, steps: int) -> float:
    """Images/s of the training steps of `wbczoo train` of the same trial."""
    split = context.library.split(trial, trial.folds[0])
    config = trial.train_config(trial.folds[0])
    composition = compose_trial(trial)
    prepared = prepare(
        config, split.rows.source.root, split.tasks, composition.preprocessing,
        rows=split.rows, tell=context.tell,
    )  # fmt: skip
    accelerator = Accelerator(cpu=context.device.type == "cpu", mixed_precision="no")
    model = build(composition, weights=trial.weights)
    fit = prepare_fit(model, config, *prepared.sides(context.device), out, accelerator)
    return _time_steps(fit, context.device, steps)


def _batches(fit: Fit, steps: int) -> list[np.ndarray[Any, Any]]:
    size = fit.config.batch_size
    if len(fit.training) < steps * size:
        raise UsageError(
            f"{len(fit.training)} training images are too few for {steps} steps of {size}; give "
            "more images, or fewer --steps."
        )
    order = draw_order(fit.config.seed, 0, len(fit.training))
    return [order[at * size : (at + 1) * size] for at in range(steps)]


def _in_turn(runs: dict[str, Callable[[], None]], device: torch.device) -> dict[str, float]:
    """Seconds of each over all rounds, after one to warm up; whoever goes first changes."""
    seconds = dict.fromkeys(runs, 0.0)
    for number in range(_ROUNDS + 1):
        for name, run in sorted(runs.items(), reverse=bool(number % 2)):
            started = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if number:
                seconds[name] += time.perf_counter() - started
    return seconds

"""Cells of networks are trained and tested here, each by the cheapest way that gives its answers.

Heads over a frozen backbone train together over cached features; a sequence branch beside one
reads cached features and cached pixels; whatever opens the backbone is an ordinary training.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import softmax
from torch import nn

from wbczoo.config import RunConfig
from wbczoo.data.batches import Batches
from wbczoo.data.cache import PixelCache
from wbczoo.data.prepared import fill, prepare
from wbczoo.data.splits import Role, digest_of
from wbczoo.model.fused import FusedClassifier
from wbczoo.progress import bar
from wbczoo.study.plan.plan import Cell
from wbczoo.study.run.branches import prepare_branch, train_branch
from wbczoo.study.run.context import (
    Context,
    build_cell,
    calibrate,
    compose_cell,
    fill_features,
    fill_pixels,
    used_rows,
)
from wbczoo.study.run.features import FeatureCache
from wbczoo.study.run.heads import Head, answer, train_heads
from wbczoo.study.run.results import Answered, Row, make_row
from wbczoo.study.run.roles import Split
from wbczoo.training import checkpoint, log
from wbczoo.training.inference import Logits, predict_logits, use_bf16
from wbczoo.training.train import train


@dataclass
class _Trained:
    """One head: a cell's fold, what it is trained from, and who may be used of each role."""

    cell: Cell
    split: Split
    cache: FeatureCache
    used: dict[Role, tuple[int, ...]]
    head: Head


def run_heads(cells: Sequence[Cell], context: Context) -> Iterator[tuple[Cell, Row | str]]:
    """Train cells of a frozen backbone and no branch, together; equal but for seed, size and rate.

    Yields:
        each cell with its row, or with the reason why it has none.
    """
    started = time.perf_counter()
    trained: list[_Trained] = []
    origins = {}
    for seed in dict.fromkeys(cell.seed for cell in cells):
        mine = [cell for cell in cells if cell.seed == seed]
        model = build_cell(mine[0])
        origins[seed] = model.config.weights.model_dump()
        cache = context.features(model, "pooled")
        for cell in mine:
            for fold in cell.folds_run:
                split = context.library.split(cell, fold)
                fill_features(cache, split, context)
                head = _start_head(model, cell, split)
                trained.append(_Trained(cell, split, cache, used_rows(cache, split), head))
    stacks: dict[tuple[int, str], list[_Trained]] = {}
    for one in trained:
        stacks.setdefault((one.cell.batch_size or 1, one.cache.folder.name), []).append(one)
    epochs = cells[0].epochs or 1
    with bar(epochs * len(stacks), f"heads of {cells[0].model}", unit="epoch") as advance:
        for (size, _), stack in stacks.items():
            _train_stack(stack, size, epochs, context, advance)
    share = (time.perf_counter() - started) / len(cells)
    for cell in cells:
        folds = [one for one in trained if one.cell is cell]
        if failure := next((one.head.failure for one in folds if one.head.failure), ""):
            yield cell, failure
            continue
        yield cell, make_row(cell, [_test_head(one) for one in folds], seconds=share,
                             how="cached heads", device=context.machine,
                             weights=origins[cell.seed])  # fmt: skip


def _train_stack(
    stack: Sequence[_Trained],
    batch_size: int,
    epochs: int,
    context: Context,
    advance: Callable[[int], object],
) -> None:
    """Train the heads of one batch size over one backbone's features."""
    # MPS has no float64, in which sums and Adam's powers are kept; the heads are small.
    device = context.device if context.device.type == "cuda" else torch.device("cpu")
    rows, tasks = stack[0].split.rows, stack[0].split.tasks
    roles: tuple[Role, ...] = ("train", "validation")
    shown = sorted({number for one in stack for role in roles for number in one.used[role]})
    place = np.full(len(rows), -1, np.int64)
    place[shown] = np.arange(len(shown))
    for one in stack:
        one.head.train, one.head.validation = (place[list(one.used[role])] for role in roles)
    train_heads(
        [one.head for one in stack],
        stack[0].cache.gather([rows.hashes[number] for number in shown]).to(device),
        {
            name: torch.from_numpy(values[shown]).to(device)
            for name, values in rows.targets(tasks).items()
        },
        {task.name: len(task.classes) for task in tasks},
        batch_size=batch_size,
        epochs=epochs,
        advance=advance,
    )


def run_branch(cell: Cell, context: Context) -> Row:
    """Train a cell with a sequence branch beside a frozen backbone, over cached features."""
    started = time.perf_counter()
    tested, origin = [], {}
    for fold in cell.folds_run:
        split = context.library.split(cell, fold)
        model = build_cell(cell)
        origin = model.config.weights.model_dump()
        cache = context.features(model, "map" if model.reads == "features" else "pooled")
        fill_features(cache, split, context)
        if model.reads == "pixels":
            fill_pixels(cache.pixels, split, context.tell)
        fit, test, numbers = prepare_branch(
            cell,
            model,
            cache,
            split,
            context.run_folder(cell, split),
            used_rows(cache, split),
            context.device,
        )
        fit.tell = context.tell
        digest = hashlib.sha256(f"{cell.key}{digest_of(split.rows, split.plan)}".encode())
        curves = train_branch(fit, digest.hexdigest())
        held = predict_logits(fit.model, fit.validation)
        truth = {name: values.numpy() for name, values in fit.validation.targets.items()}
        found = calibrate(held, truth, predict_logits(fit.model, test))
        tested.append(Answered(split, numbers, found, curves, fit.progress.best_epoch + 1))
    return make_row(cell, tested, seconds=time.perf_counter() - started, how="cached branch",
                    device=context.machine, weights=origin)  # fmt: skip


def run_images(cell: Cell, context: Context) -> Row:
    """Train a cell from its images, as `wbczoo train` does, and test it."""
    started = time.perf_counter()
    tested, origin = [], {}
    composition = compose_cell(cell)
    for fold in cell.folds_run:
        split = context.library.split(cell, fold)
        config = cell.train_config(fold)
        prepared = prepare(
            config, split.rows.source.root, split.tasks, composition.preprocessing,
            rows=split.rows, tell=context.tell,
        )  # fmt: skip
        folder = context.run_folder(cell, split)
        with checkpoint.alone_in(folder):
            summary = train(
                RunConfig(model=composition, train=config), prepared, folder,
                weights=cell.weights or "none", device=context.device.type, resume=True,
                tell=context.tell,
            )  # fmt: skip
        run, model = checkpoint.load_model(folder)
        origin = run.model.weights.model_dump()
        model.move_to(context.device)
        cache = PixelCache(run.model.preprocessing, context.cache)
        refused = fill(cache, split.tested, split.test, context.tell)
        numbers = tuple(n for n in split.test if split.tested.samples[n].path not in refused)
        places = cache.rows([split.tested.hashes[n] for n in numbers])
        bf16 = use_bf16(model, config.precision, context.device)
        logits = predict_logits(
            model, Batches(cache.pixels(), places, {}, context.device), bf16=bf16
        )
        found = {
            task.name: softmax(logits[task.name] / float(model.temperatures[place]), 1)
            for place, task in enumerate(split.tasks)
        }
        metrics = folder / checkpoint.METRICS
        curves = log.read(metrics, metrics.stat().st_size)
        tested.append(Answered(split, numbers, found, curves, int(summary["best_epoch"])))
    return make_row(cell, tested, seconds=time.perf_counter() - started, how="images",
                    device=context.machine, weights=origin)  # fmt: skip


def _start_head(model: FusedClassifier, cell: Cell, split: Split) -> Head:
    layers = [model.heads[f"{task.name}_head"] for task in split.tasks]
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    nowhere = np.zeros(0, np.int64)
    return Head(
        weight=torch.cat([layer.weight.detach().T for layer in linear], 1),
        bias=torch.cat([layer.bias.detach() for layer in linear]),
        lr=cell.lr or 1e-4,
        seed=cell.seed,
        train=nowhere,
        validation=nowhere,
    )


def _test_head(one: _Trained) -> Answered:
    weight, bias = one.head.weight.cpu(), one.head.bias.cpu()
    classes = {task.name: len(task.classes) for task in one.split.tasks}

    def logits(role: Role) -> Logits:
        hashes = one.split.rows_of(role).hashes
        if not one.used[role]:
            return {name: np.zeros((0, size), np.float32) for name, size in classes.items()}
        features = one.cache.gather([hashes[number] for number in one.used[role]])
        return answer(features, weight, bias, classes)

    truth = one.split.targets("validation", one.used["validation"])
    found = calibrate(logits("validation"), truth, logits("test"))
    return Answered(one.split, one.used["test"], found, one.head.curves, one.head.best_epoch + 1)

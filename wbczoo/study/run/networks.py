"""Trials whose backbone is opened, or whose images change, train here as `wbczoo train` does."""

from __future__ import annotations

from wbczoo.config import RunConfig
from wbczoo.data.cache import PixelCache
from wbczoo.data.prepared import fill, prepare
from wbczoo.evaluation.answer import predict_with_torch
from wbczoo.study.plan.trial import NetworkTrial
from wbczoo.study.run.context import Context, compose_trial
from wbczoo.study.run.roles import Split
from wbczoo.study.run.row import Answered, Row, run_folds
from wbczoo.training import checkpoint, log
from wbczoo.training.statistics import restate, restate_evenly
from wbczoo.training.train import train


def run_images(trial: NetworkTrial, context: Context) -> Row:
    """Train a trial from its images, and test it."""
    composition = compose_trial(trial)

    def answer(split: Split) -> Answered:
        config = trial.train_config(split.plan.fold)
        prepared = prepare(
            config, split.rows.source.root, split.tasks, composition.preprocessing,
            rows=split.rows, tell=context.tell,
        )  # fmt: skip
        folder = context.run_folder(trial, split)
        with checkpoint.alone_in(folder):
            summary = train(
                RunConfig(model=composition, train=config), prepared, folder,
                weights=trial.weights, device=context.device.type, resume=True, tell=context.tell,
            )  # fmt: skip
        run, model = checkpoint.load_model(folder)
        cache = PixelCache(run.model.preprocessing, context.cache)
        refused = fill(cache, split.tested, split.test, context.tell)
        numbers = tuple(n for n in split.test if split.tested.samples[n].path not in refused)
        places = cache.rows([split.tested.hashes[n] for n in numbers])
        if trial.statistics == "tested":
            restate(model, cache.pixels(), places, context.device)
        if trial.statistics == "evened":
            restate_evenly(model, cache.pixels(), places, context.device)
        found = predict_with_torch(model, context.device.type)(cache, places)
        metrics = folder / checkpoint.METRICS
        curves = log.read(metrics, metrics.stat().st_size)
        weights = run.model.weights.model_dump()
        return Answered(split, numbers, found, curves, int(summary["best_epoch"]), weights)

    row = run_folds(trial, context.library, answer, device=context.machine)
    return {**row, "how": "images"}  # also where the plan thought of a quicker way

"""What a training leaves on the disk: each epoch's row, best model and commit, and its summary."""

from __future__ import annotations

import math
from typing import Any

from scipy.special import softmax

from wbczoo import files
from wbczoo.config import RunConfig, TrainConfig
from wbczoo.data.prepared import Prepared
from wbczoo.errors import WbczooError
from wbczoo.metrics import fit_temperature
from wbczoo.metrics.limits import weigh
from wbczoo.runtime.sets import fit_sets
from wbczoo.training import checkpoint, log
from wbczoo.training.fit import Fit
from wbczoo.training.inference import predict_logits
from wbczoo.training.novelty import fit_novelty
from wbczoo.training.track import log_intervals


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


def keep(fit: Fit, row: dict[str, float]) -> None:
    """Write an epoch down: its row, the model if it is the best so far, then the commit."""
    progress = fit.progress
    if strange := [name for name, value in row.items() if not math.isfinite(value)]:
        raise WbczooError(
            f"In epoch {progress.epoch + 1} {strange[0]} became no number. The run in {fit.out} "
            "keeps its last good state; try a smaller --lr, or --precision fp32."
        )
    if progress.improves(row, fit.config.keep) and fit.accelerator.is_main_process:
        checkpoint.save_model(fit.out, fit.judged, progress.epoch)
    if fit.accelerator.is_main_process:
        progress.metrics_bytes = log.append(
            fit.out / checkpoint.METRICS, row, progress.metrics_bytes
        )
        told = {name: value for name, value in row.items() if name != "epoch"}
        fit.accelerator.log(told, progress.epoch + 1)
    progress.epoch, progress.step = progress.epoch + 1, 0
    fit.sums.zero_()
    commit(fit)
    parts = [f"{name} {value:.4g}" for name, value in row.items() if name.endswith("loss")]
    parts += [f"{name} {value:.3f}" for name, value in row.items() if name.endswith("_accuracy")]
    fit.tell(f"epoch {progress.epoch}: " + ", ".join(parts))


def commit(fit: Fit) -> None:
    """Save the whole state of the training at this step."""
    if fit.accelerator.is_main_process:
        checkpoint.save_last(
            fit.out, fit.model, fit.optimizer, fit.progress, fit.sums, fit.averaged
        )


def finish(fit: Fit, run: RunConfig, prepared: Prepared) -> dict[str, Any]:
    """Fit what the best model says of its doubts, and write the summary and curves."""
    _, model = checkpoint.load_model(fit.out)
    model.move_to(fit.accelerator.device)
    used, rows_of = prepared.used("validation"), prepared.rows
    groups, laboratories = (
        [column[row] for row in used] for column in (rows_of.groups, rows_of.laboratories)
    )
    sets = None
    if len(fit.validation):
        fit.tell("fitting temperatures on the validation photographs")
        logits = predict_logits(model, fit.validation, bf16=fit.bf16)
        for place, task in enumerate(run.model.tasks):
            truth = fit.validation.targets[task.name].numpy()
            model.temperatures[place] = fit_temperature(logits[task.name], truth)
        targets, epoch = fit.validation.targets, fit.progress.epoch
        log_intervals(fit.accelerator, model, prepared, logits, targets, epoch)
        likely = {
            task.name: softmax(logits[task.name] / float(model.temperatures[place]), 1)
            for place, task in enumerate(run.model.tasks)
        }
        known = {name: values.numpy() for name, values in targets.items()}
        sets = fit_sets(run.model.tasks, likely, known, [*zip(laboratories, groups, strict=True)])
    fit.tell("fitting the novelty on the training photographs")
    weights = weigh(groups, laboratories)
    limits = fit_novelty(model, fit.training, fit.validation, weights, fit.config.seed)
    if model.novelty is None:
        fit.tell("no novelty: too few training images of each class, so answers have no flags")
    checkpoint.save_model(fit.out, model, fit.progress.best_epoch)
    rows = log.read(fit.out / checkpoint.METRICS, fit.progress.metrics_bytes)
    tasks = [task.name for task in run.model.tasks]
    title = f"{run.model.name}: {prepared.caption()}"
    segments = _segments(fit.config)
    shown = [(first + 1, lr) for first, _, lr in segments] if fit.config.earlier else []
    log.draw_curves(fit.out / checkpoint.CURVES, rows, tasks, title, shown)
    summary = {
        "name": run.model.name,
        "protocol": prepared.plan.protocol,
        "leaky": prepared.plan.leaky,
        "data": prepared.describe(),
        "epochs": fit.progress.epoch,
        "segments": [{"epochs": end, "lr": lr} for _, end, lr in segments],
        "keep": fit.config.keep,
        "best_epoch": fit.progress.best_epoch + 1,
        "best": rows[fit.progress.best_epoch] if rows else {},
        "temperatures": {
            task.name: float(model.temperatures[place])
            for place, task in enumerate(run.model.tasks)
        },
        "limits": {**limits.to_dict(), "groups": len(set(groups)), "files": len(groups)},
        "sets": sets.to_dict() if sets else None,
        "refused": dict(prepared.rows.refused),
    }
    files.write_json(fit.out / checkpoint.SUMMARY, summary)
    return summary


def _segments(config: TrainConfig) -> list[tuple[int, int, float]]:
    starts = [0, *(each.epochs for each in config.earlier)]
    return [config.segment(epoch) for epoch in starts]

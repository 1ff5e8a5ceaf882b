"""What a training says of each epoch goes to a tracker too, through Accelerate: one way for all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from accelerate import Accelerator
from numpy.typing import NDArray

from wbczoo.config import RunConfig
from wbczoo.data.prepared import Prepared
from wbczoo.data.samples import LEFT_OUT
from wbczoo.errors import UsageError, WbczooError
from wbczoo.machine import how_to_install
from wbczoo.metrics import measure
from wbczoo.model.fused import FusedClassifier
from wbczoo.text import first_line

Tracker = Literal["tensorboard", "mlflow", "trackio"]

_PROJECT = "wbczoo"
_FOLDER = "wbczoo.folder"  # the tag by which MLflow finds the run of a training that goes on
_ROLES = ("train", "validation", "test")


def refuse_missing(track: Tracker | None) -> None:
    """UsageError where a tracker is wanted that is not installed."""
    if track is not None and find_spec(track) is None:
        raise UsageError(
            f"{track} is not installed: {how_to_install(track)}, or leave out --track."
        )


@contextmanager
def tracked(
    accelerator: Accelerator,
    track: Tracker | None,
    run: RunConfig,
    prepared: Prepared,
    out: Path,
    resumed: bool,
) -> Iterator[None]:
    """Let the tracker that an accelerator logs with hear of a run, until its training ends.

    TensorBoard writes into `out/tensorboard`, MLflow and trackio where their own environment
    variables say. A training that goes on goes on with its run there.
    """
    if track is None:
        yield
        return
    chosen: dict[str, Any] = {}
    if track == "trackio":
        chosen = {"name": out.resolve().name, "resume": "allow"}
    settings = None if resumed else settings_of(run, prepared)
    project = track if track == "tensorboard" else _PROJECT
    try:
        if track == "mlflow" and accelerator.is_main_process:
            chosen = _mlflow_run(out, resumed)
        with redirect_stdout(sys.stderr):  # what they say is no result
            accelerator.init_trackers(project, settings, {track: chosen})
    except Exception as error:  # each has kinds of its own
        raise WbczooError(f"{track} cannot be reached: {first_line(error)}.") from error
    try:
        yield
    finally:
        with redirect_stdout(sys.stderr):
            for tracker in accelerator.trackers:
                tracker.finish()


def settings_of(run: RunConfig, prepared: Prepared) -> dict[str, str | int | float | bool]:
    """What is known before the first step: composition, protocol, data by photographs and files."""
    config = run.train
    assert config is not None
    data = prepared.describe()
    counts = {
        f"{role}_{what}": "unknown" if number is None else number
        for role in _ROLES
        for what, number in data[role].items()
    }
    kept = config.model_dump(exclude={"parts", "datasets", "earlier"})
    plain = {name: value for name, value in kept.items() if isinstance(value, str | int | float)}
    return {
        **plain,
        "name": run.model.name,
        "tasks": ", ".join(task.name for task in run.model.tasks),
        "dataset": data["dataset"],
        "unit": data["unit"],
        "part": str(data["part"]),
        "leaky": prepared.plan.leaky,
        **counts,
    }


def log_intervals(
    accelerator: Accelerator,
    model: FusedClassifier,
    prepared: Prepared,
    logits: Mapping[str, NDArray[Any]],
    targets: Mapping[str, Any],
    epoch: int,
) -> None:
    """Log the kept model's validation figures with their intervals by group, where one listens.

    Args:
        logits: task -> (N, classes) of the validation images.
        targets: task -> (N,), aligned.
        epoch: the last.
    """
    if not accelerator.trackers:
        return
    import torch

    used, rows = prepared.used("validation"), prepared.rows
    groups, strata = ([column[row] for row in used] for column in (rows.groups, rows.strata))
    where = model.temperatures.device
    likely = model.probabilities(
        {name: torch.from_numpy(each).to(where) for name, each in logits.items()}
    )
    values: dict[str, float] = {}
    for task in model.config.tasks:
        truth = targets[task.name].numpy()
        if not (truth != LEFT_OUT).any():
            continue
        found = measure(task, truth, likely[task.name].cpu().numpy(), groups, strata)
        for name in ("accuracy", "macro_f1"):
            for end, value in found[name].items():
                if value is not None:
                    values[f"kept_validation_{task.name}_{name}_{end}"] = value
    accelerator.log(values, step=epoch)


def _mlflow_run(out: Path, resumed: bool) -> dict[str, Any]:
    # Counting its users is MLflow's own wish, and no part of a training.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    folder = str(out.resolve())
    chosen: dict[str, Any] = {"run_name": out.resolve().name, "tags": {_FOLDER: folder}}
    if resumed:
        before = mlflow.search_runs(
            experiment_names=[_PROJECT],
            filter_string=f"tags.`{_FOLDER}` = '{folder}'",
            max_results=1,
            output_format="list",
        )
        chosen |= {"run_id": before[0].info.run_id} if before else {}
    return chosen

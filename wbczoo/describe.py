"""What is said of a model before it is trained, and how it is saved as an untrained run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wbczoo import checkpoint, environment, files
from wbczoo.config import RunConfig
from wbczoo.errors import UsageError
from wbczoo.model import FusedClassifier


def describe_model(model: FusedClassifier) -> dict[str, Any]:
    """Name, counts of parameters, widths, tasks and weights, as `build --json` prints them."""
    return {
        "name": model.config.name,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "trainable_parameters": sum(p.numel() for _, p in model.named_trainable()),
        "features": {
            "backbone": model.backbone_features,
            "sequence": model.sequence_features,
            "fused": model.backbone_features + model.sequence_features,
        },
        "tasks": {task.name: list(task.classes) for task in model.config.tasks},
        "weights": model.config.weights.model_dump(),
        "config": model.config.model_dump(mode="json"),
    }


def save_untrained(model: FusedClassifier, out: Path) -> None:
    """Save a model as a run that was never trained, which `export` takes.

    Raises:
        UsageError: if `out` is not a new or empty folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not an empty folder. Name a new one.")
    out.mkdir(parents=True, exist_ok=True)
    checkpoint.save_model(out, model, epoch=-1)
    files.write_json(out / checkpoint.ENVIRONMENT, environment.describe())
    RunConfig(model=model.config).write(out / checkpoint.CONFIG)

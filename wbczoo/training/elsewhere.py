"""A model that wbczoo did not train becomes a run here: an untrained one, or one of an own loop."""

from __future__ import annotations

import os
from pathlib import Path

from wbczoo import files, machine
from wbczoo.config import RunConfig
from wbczoo.errors import UsageError
from wbczoo.model.fused import FusedClassifier
from wbczoo.model.weights import digest_of
from wbczoo.training import checkpoint


def save_run(
    model: FusedClassifier, out: str | os.PathLike[str], *, trained_on: str | None = None
) -> Path:
    """Save a model as a run that `export`, `evaluate` and `train --init` take.

    Args:
        model: as `create_model` made it, on any device; trained in a loop of one's own, or not.
        out: a new or empty folder.
        trained_on: what it was trained on, in words for its card. If None, a model whose weights
            are no longer those that it was made with counts as trained on nobody knows what.

    Returns:
        the run's folder.

    Raises:
        UsageError: if `out` holds anything, or if a model is said to be trained whose weights
            are those that it was made with.
    """
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not an empty folder. Name a new one.")
    changed = digest_of(model.state_dict()) != model.initial
    if trained_on is not None and not changed:
        raise UsageError(
            f"{model.config.name} has the very weights that it was made with, so it was not "
            "trained. Train it before it is saved, or leave out trained_on."
        )
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.save_model(folder, model, epoch=-1)
    files.write_json(folder / checkpoint.ENVIRONMENT, machine.describe())
    told = (trained_on or "").strip() if changed else None
    RunConfig(model=model.config, trained_on=told).write(folder / checkpoint.CONFIG)
    return folder

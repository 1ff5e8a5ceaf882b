"""What is to be measured is opened here: a run, an export, or runs that answer together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from wbczoo import files, progress
from wbczoo.cells.crop import explain_other_finder
from wbczoo.config import RunConfig
from wbczoo.data.cache import PixelCache
from wbczoo.errors import UsageError
from wbczoo.evaluation.answer import (
    Predict,
    Probabilities,
    predict_with_session,
    predict_with_torch,
)
from wbczoo.evaluation.leakage import Seen
from wbczoo.runtime.flags import Limits, average
from wbczoo.runtime.folder import CONFIG, MODEL
from wbczoo.runtime.published import published_name
from wbczoo.runtime.sets import Sets, read_sets


@dataclass(frozen=True)
class Opened:
    """A model that can be asked about rows of the pixel cache.

    Attributes:
        folder: of a run, an export, or an ensemble's runs; or a lone ONNX file.
        name: the composition's, the ensemble's, or that of a published model.
        run: the config; of an ensemble the first member's.
        seen: what it was trained and chosen on; None where nobody knows.
        split_sha256: of the split that it was trained on, to know it again; empty where its
            members were trained on several.
        limits: of flags, if any.
        reviewed: content hashes of what it was adapted to.
        sets: what it promises of each class, if anything.
    """

    folder: Path
    name: str
    run: RunConfig
    seen: Seen | None
    split_sha256: str
    predict: Predict
    limits: Limits | None
    reviewed: frozenset[str] = frozenset()
    sets: Sets | None = None


def find_folders(model: Path) -> list[Path]:
    """The runs of folds or of held-out laboratories in a folder, else the one run or export.

    Raises:
        UsageError: if it is none of these.
    """
    folds = [
        path
        for path in (model.glob("fold-*") if model.is_dir() else ())
        if re.fullmatch(r"fold-\d+", path.name) and is_run(path)
    ]
    if folds:
        return sorted(folds, key=lambda path: int(path.name.split("-")[1]))
    held_out = sorted(model.glob("laboratory-*")) if model.is_dir() else []
    if runs := [path for path in held_out if is_run(path)]:
        return runs
    if is_run(model) or _is_export(model):
        return [model]
    raise UsageError(
        f"{model} is neither a run (config.json with model.safetensors) nor an export (model.onnx)."
    )


def _is_export(path: Path) -> bool:
    return path.suffix == ".onnx" or any((path / each).is_file() for each in (MODEL, CONFIG))


def is_run(path: Path) -> bool:
    """Whether a folder holds a run."""
    return (path / "config.json").is_file() and (path / "model.safetensors").is_file()


def open_model(folder: Path, device: str) -> Opened:
    """Open a run in PyTorch, or an export without torch.

    Raises:
        UsageError: if the device is not one that it runs on.
        WbczooError: if its files are damaged, or the list of what a run has seen is.
    """
    if not is_run(folder):
        from wbczoo.runtime.opening import Device
        from wbczoo.runtime.session import Session

        if device == "mps":
            raise UsageError("An export runs on cpu or cuda; --device mps is for runs.")
        session = Session(folder, device=cast(Device, device))
        return Opened(
            folder,
            published_name(session.path) or session.file.name,
            session.config,
            None,
            session.config.split_sha256,
            predict_with_session(session),
            session.limits,
            session.file.reviewed,
            session.file.sets,
        )
    from wbczoo.training.checkpoint import SPLIT, SUMMARY, load_model

    run, model = load_model(folder)
    if other := explain_other_finder(run.model.finder_sha256):
        progress.tell(f"{folder}: {other}")
    if run.trained_on is not None:
        progress.tell(
            f"WARNING: {folder} was trained elsewhere, so nobody knows which of these photographs "
            "it has seen"
        )
    return Opened(
        folder,
        run.model.name,
        run,
        Seen.nothing() if run.train is None else Seen.read(folder / SPLIT, run.split_sha256),
        run.split_sha256,
        predict_with_torch(model, device),
        _limits_of(folder / SUMMARY),
        sets=read_sets(folder / SUMMARY),
    )


def open_ensemble(folder: Path, device: str) -> Opened:
    """Open all runs of a folder as one model: the mean of their calibrated probabilities.

    Raises:
        UsageError: if they are fewer than two, or do not fit each other.
        WbczooError: as `open_model`.
    """
    from wbczoo.model.ensemble import name_of, refuse_unlike
    from wbczoo.training.members import find_members

    members = [open_model(each, device) for each in find_members(folder)]
    refuse_unlike([member.run.model for member in members])
    splits = {member.split_sha256 for member in members}
    seen = [member.seen for member in members if member.seen]
    return Opened(
        folder,
        name_of([member.name for member in members]),
        members[0].run,
        Seen(
            frozenset[str]().union(*(each.hashes for each in seen)),
            frozenset[str]().union(*(each.groups for each in seen)),
        ),
        splits.pop() if len(splits) == 1 else "",
        _predict_together([member.predict for member in members]),
        average([member.limits for member in members]),
    )


def _predict_together(members: Sequence[Predict]) -> Predict:
    def predict(cache: PixelCache, places: NDArray[np.int64]) -> Probabilities:
        answers = [member(cache, places) for member in members]
        shared = answers[0].keys() & frozenset.intersection(*(frozenset(each) for each in answers))
        return {name: np.mean([each[name] for each in answers], 0) for name in sorted(shared)}

    return predict


def _limits_of(summary: Path) -> Limits | None:
    """The limits of flags that a training fitted, if any."""
    found = files.read_json(summary).get("limits") if summary.is_file() else None
    if not isinstance(found, dict):
        return None
    return Limits(found.get("unknown_above"), found.get("unsure_below", {}))

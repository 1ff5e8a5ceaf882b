"""How long trials will take, from what done trials took, or from rough figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wbczoo.study.plan.trial import Trial

# Rough figures of a machine of two cores: images that training sees in a second, of branches,
# of last blocks over what lies below them, and of what trains from images. They only serve until
# a study has done trials of its own.
_BRANCH = {8: 160.0, 16: 220.0}
_TRUNK = 40.0
_IMAGES = 12.0
_HEADS = 15.0  # seconds of one trial among many
_BASELINE = 300.0

# Training images of one epoch, all folds together, where nothing is known yet.
_TRAINING = {"report": 10_000, "official": 8_500, "grouped": 1_200, "external": 9_000,
             "laboratory": 5_000}  # fmt: skip


def seconds_of(trials: Sequence[Trial], rows: Sequence[Mapping[str, Any]]) -> float:
    """Seconds that trials will take in one process.

    Args:
        rows: done trials. The nearest tells: of the same model, protocol and batch size, else of
            the same model and protocol, else of the same way and protocol; each scaled by epochs.
    """
    return sum(_one(trial, rows) for trial in trials)


def _one(trial: Trial, rows: Sequence[Mapping[str, Any]]) -> float:
    ours = trial.fields
    near: list[list[float]] = [[], [], []]
    for row in rows:
        done = row["settings"]
        if row["how"] != trial.how or done["protocol"] != ours["protocol"]:
            continue
        seconds = row["seconds"] * (ours["epochs"] or 1) / (done["epochs"] or 1)
        alike = row["model"] == trial.model
        near[2].append(seconds)
        if alike:
            near[1].append(seconds)
        if alike and done["batch_size"] == ours["batch_size"]:
            near[0].append(seconds)
    for found in near:
        if found:
            return sum(found) / len(found)
    images = _TRAINING[ours["protocol"]] * (ours["epochs"] or 1)
    by_branch = images / _BRANCH.get(ours["batch_size"], 200.0)
    return {
        "cached heads": _HEADS,
        "baseline": _BASELINE,
        "cached branch": by_branch,
        "cached trunk": images / _TRUNK,
        "images": by_branch if ours["backbone"] == "none" else images / _IMAGES,
    }[trial.how]

"""What an export's `card.json` holds: what it is, what it saw, how it was measured."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from wbczoo import __version__, files, machine
from wbczoo.exporting.parity import Parity
from wbczoo.exporting.trained import Trained
from wbczoo.registry import backbones, datasets, sequences
from wbczoo.tasks import INTENDED, NOT_INTENDED


def describe(
    trained: Trained, export_folder: Path, parity: Parity, opset: int, measured: dict[str, Any]
) -> dict[str, Any]:
    """What `card.json` holds, but for its format.

    Args:
        measured: `precision`, `agreement`, `embedded` and `speed`, as they stand in the card;
            `statistics` where other images gave them, `maps` where the graph tells them.
    """
    run, summary = trained.config, trained.summary
    # What other statistics answer was not measured by an evaluation of the run.
    evaluations = [] if measured.get("statistics") else trained.evaluations()
    model = run.model
    return {
        "name": trained.name,
        "tasks": {task.name: list(task.classes) for task in model.tasks},
        **_training(trained),
        "preprocessing": run.model_dump(mode="json")["model"]["preprocessing"],
        **({"finder_sha256": model.finder_sha256} if model.finder_sha256 else {}),
        "data": summary.get("data"),
        "protocol": summary.get("protocol"),
        "leaky": summary.get("leaky"),
        "evaluations": evaluations,
        "intended_use": INTENDED,
        "not_for": NOT_INTENDED,
        "licences": _licences(trained),
        "parity": {**asdict(parity), "batches": list(parity.batches)},
        **measured,
        "opset": opset,
        "weights_sha256": trained.weights_sha256,
        "files": {
            name: files.sha256_of(export_folder / name) for name in ("model.onnx", "example.npz")
        },
        "bytes": (export_folder / "model.onnx").stat().st_size,
        "wbczoo": __version__,
        "versions": machine.describe()["packages"],
    }


def _training(trained: Trained) -> dict[str, Any]:
    """What a run is and how it was trained; of an ensemble the same of each member."""
    if trained.members:
        members = [{"name": each.name, **_training(each)} for each in trained.members]
        for member, each in zip(members, trained.members, strict=True):
            member["weights_sha256"] = each.weights_sha256
        limits = trained.limits
        return {
            "members": members,
            "trained": all(member["trained"] for member in members),
            "limits": limits.to_dict() if limits else None,
        }
    model, train, summary = trained.config.model, trained.config.train, trained.summary
    elsewhere = trained.config.trained_on
    return {
        "composition": {
            "backbone": model.backbone.model_dump(),
            "sequence": model.sequence.model_dump(),
            "hidden": model.hidden,
            "initial_weights": model.weights.model_dump(),
        },
        "trained": (train is not None and bool(summary)) or elsewhere is not None,
        **({} if elsewhere is None else {"trained_on": elsewhere}),
        "training": train.model_dump(mode="json") if train else None,
        "best_epoch": summary.get("best_epoch"),
        "temperatures": summary.get("temperatures"),
        "limits": None if trained.limits is None else summary.get("limits"),
        "sets": None if trained.sets is None else trained.sets.to_dict(),
        "split_sha256": trained.config.split_sha256,
    }


def _licences(trained: Trained) -> dict[str, str]:
    if trained.members:
        return {
            what: licence
            for member in trained.members
            for what, licence in _licences(member).items()
        }
    run, licences = trained.config, {}
    for kind, registry, part in (
        ("backbone", backbones, run.model.backbone),
        ("sequence branch", sequences, run.model.sequence),
    ):
        if part.name != "none":
            licences[f"{kind} {part.name}"] = registry.spec(part.selector).licence or "not stated"
    if run.model.weights.source != "none":
        licences["initial weights"] = (
            f"{run.model.weights.description or run.model.weights.source}; see their origin"
        )
    if run.train is not None:
        for data in run.train.parts.values():
            licences[f"data set {data.name}"] = datasets.spec(data.selector).licence or "not stated"
    licences["code of wbczoo"] = "MIT"
    return licences

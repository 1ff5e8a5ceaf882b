"""What an export's `card.json` holds: what it is, what it saw, how it was measured."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from wbczoo import __version__, files, machine
from wbczoo.config import RunConfig
from wbczoo.exporting.card_page import ALL
from wbczoo.exporting.parity import Parity
from wbczoo.registry import backbones, datasets, sequences
from wbczoo.tasks import INTENDED, NOT_INTENDED
from wbczoo.training import checkpoint


def describe(
    run: RunConfig,
    run_folder: Path,
    export_folder: Path,
    parity: Parity,
    weights_sha256: str,
    opset: int,
    measured: dict[str, Any],
) -> dict[str, Any]:
    """What `card.json` holds, but for its format.

    Args:
        measured: `precision`, `agreement`, `embedded` and `speed`, as they stand in the card;
            `statistics` where other images gave them.
    """
    summary: dict[str, Any] = {}
    if (run_folder / checkpoint.SUMMARY).is_file():
        summary = files.read_json(run_folder / checkpoint.SUMMARY)
    # What other statistics answer was not measured by an evaluation of the run.
    evaluations = [] if measured.get("statistics") else _evaluations(run_folder, run.model.name)
    model = run.model
    return {
        "name": model.name,
        "tasks": {task.name: list(task.classes) for task in model.tasks},
        "composition": {
            "backbone": model.backbone.model_dump(),
            "sequence": model.sequence.model_dump(),
            "hidden": model.hidden,
            "initial_weights": model.weights.model_dump(),
        },
        "preprocessing": run.model_dump(mode="json")["model"]["preprocessing"],
        **({"finder_sha256": model.finder_sha256} if model.finder_sha256 else {}),
        "trained": (run.train is not None and bool(summary)) or run.trained_on is not None,
        **({} if run.trained_on is None else {"trained_on": run.trained_on}),
        "training": run.train.model_dump(mode="json") if run.train else None,
        "data": summary.get("data"),
        "protocol": summary.get("protocol"),
        "leaky": summary.get("leaky"),
        "best_epoch": summary.get("best_epoch"),
        "temperatures": summary.get("temperatures"),
        "limits": summary.get("limits"),
        "evaluations": evaluations,
        "intended_use": INTENDED,
        "not_for": NOT_INTENDED,
        "licences": _licences(run),
        "parity": {**asdict(parity), "batches": list(parity.batches)},
        **measured,
        "opset": opset,
        "split_sha256": run.split_sha256,
        "weights_sha256": weights_sha256,
        "files": {
            name: files.sha256_of(export_folder / name) for name in ("model.onnx", "example.npz")
        },
        "bytes": (export_folder / "model.onnx").stat().st_size,
        "wbczoo": __version__,
        "versions": machine.describe()["packages"],
    }


def _evaluations(run_folder: Path, name: str) -> list[dict[str, Any]]:
    """What was measured of a run; of a fold's run also of all folds pooled."""
    own = [files.read_json(path) for path in sorted(run_folder.glob("evaluation*.json"))]
    if not run_folder.resolve().name.startswith("fold-"):
        return own
    beside = sorted(run_folder.resolve().parent.glob("evaluation*.json"))
    pooled = [found for found in map(files.read_json, beside) if found.get("fold") == ALL]
    return own + [found for found in pooled if found.get("name") == name]


def _licences(run: RunConfig) -> dict[str, str]:
    licences = {}
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

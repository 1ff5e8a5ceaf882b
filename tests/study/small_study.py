"""A study that takes seconds: drawn smears, a small backbone without weights, two branches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wbczoo.config import Part, train_config
from wbczoo.study.plan.trial import NetworkTrial
from wbczoo.study.run.context import Context, open_context
from wbczoo.study.run.roles import Library

PLAN = """
format = 1
name = "small"
epochs = 2
seeds = [0, 1]

[data.drawn]
dataset = "synthetic"
path = "{smears}"

[protocols]
official = {{ protocol = "official", data = "drawn" }}
report = {{ protocol = "report", data = "drawn" }}

[[blocks]]
name = "heads"
backbones = ["squeezenet1_1"]
weights = "none"
batch_sizes = [8, 16]
learning_rates = [1e-2]
protocols = ["official", "report"]

[[blocks]]
name = "branch"
backbones = ["none"]
sequences = ["gru"]
hidden = 4
batch_sizes = [16]
protocols = ["official"]
seeds = [0]
"""

# What is not changed is a frozen backbone of random weights.
COMPOSITION: dict[str, Any] = {
    "tasks": ("cell", "nucleus"), "backbone": "squeezenet1_1", "sequence": "none", "hidden": 4,
    "weights": "none", "image_size": None,
}  # fmt: skip
TRAINING: dict[str, Any] = {
    "dataset": "synthetic", "batch_size": 8, "lr": 1e-2, "epochs": 2, "precision": "fp32",
}  # fmt: skip


def write_plan(folder: Path, smears: Path, text: str = PLAN) -> Path:
    """The plan as a file of its own folder."""
    path = folder / "small.toml"
    path.write_text(text.format(smears=smears), encoding="utf-8")
    return path


def trial(test: str | None = None, **changes: Any) -> NetworkTrial:
    """One trial of the small study; `test` is another data set, which tests."""
    settings = changes.pop("settings", {})
    composed = {n: changes.pop(n, value) for n, value in COMPOSITION.items()}
    trained = {**TRAINING, **changes, **settings}
    trained["dataset"] = Part(name=trained["dataset"])
    return NetworkTrial(
        train=train_config(**trained), test=Part(name=test) if test else None,
        settings=settings, **composed,
    )  # fmt: skip


def context(smears: Path, out: Path) -> Context:
    """What trials share, on the CPU."""
    library = Library({"synthetic": smears}, lambda sentence: None)
    return open_context(library, out, "cpu", lambda sentence: None)

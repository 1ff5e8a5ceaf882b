"""A study that takes seconds: drawn smears, a small backbone without weights, two branches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wbczoo.study.plan.plan import Cell
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

# Every way that a cell may leave: what is not named is a frozen backbone of random weights.
SETTINGS: dict[str, Any] = {
    "dataset": "synthetic", "protocol": "official", "tasks": ("cell", "nucleus"), "seed": 0,
    "backbone": "squeezenet1_1", "sequence": "none", "hidden": 4, "weights": "none",
    "trainable": "head", "batch_size": 8, "lr": 1e-2, "epochs": 2, "precision": "fp32",
}  # fmt: skip


def write_plan(folder: Path, smears: Path, text: str = PLAN) -> Path:
    """The plan as a file of its own folder."""
    path = folder / "small.toml"
    path.write_text(text.format(smears=smears), encoding="utf-8")
    return path


def cell(**changes: Any) -> Cell:
    """One cell of the small study."""
    return Cell(**{**SETTINGS, **changes})


def context(smears: Path, out: Path) -> Context:
    """What trials share, on the CPU."""
    library = Library({"synthetic": smears}, lambda sentence: None)
    return open_context(library, out, "cpu", lambda sentence: None)

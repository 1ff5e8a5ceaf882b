"""What a training says of each epoch is kept here: JSON lines and curves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from wbczoo import files

Row = Mapping[str, float]


def append(path: Path, row: Row, committed: int) -> int:
    """Add an epoch's row after the first `committed` bytes; returns the new length.

    What lies behind them was written by a training that died before its commit, and goes.
    """
    before = path.read_bytes()[:committed] if committed else b""
    content = before + json.dumps(row, allow_nan=False).encode() + b"\n"
    files.write_bytes(path, content)
    return len(content)


def read(path: Path, committed: int) -> list[dict[str, float]]:
    """The committed rows."""
    return [json.loads(line) for line in path.read_bytes()[:committed].splitlines()]


def draw_curves(
    path: Path,
    rows: Sequence[Row],
    tasks: Sequence[str],
    title: str,
    segments: Sequence[tuple[int, float]] = (),
) -> None:
    """Loss and accuracy of training and validation by epoch (the report's Figures 6 to 13).

    Args:
        segments: the first epoch, from 1, and the learning rate of each, where there are several.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(4.5 * (1 + len(tasks)), 3.8), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    panels = figure.subplots(1, 1 + len(tasks), squeeze=False)[0]
    pairs = [("loss", "train_loss", "validation_loss")]
    pairs += [
        (f"{task} accuracy", f"train_{task}_accuracy", f"validation_{task}_accuracy")
        for task in tasks
    ]
    for panel, (name, train, validation) in zip(panels, pairs, strict=True):
        for label, key in (("training files", train), ("validation files", validation)):
            if all(key in row for row in rows):
                panel.plot(epochs, [row[key] for row in rows], marker="o", label=label)
        for first, lr in segments:
            panel.axvline(first - 0.5, color="grey", linestyle=":", linewidth=1)
            where = panel.get_xaxis_transform()
            panel.text(first - 0.45, 0.02, f"lr {lr:g}", transform=where, fontsize="x-small")
        panel.set_title(name)
        panel.set_xlabel("epoch")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.grid(alpha=0.3)
        if "accuracy" in name:
            panel.set_ylim(0, 1.02)
    panels[0].legend()
    with files.written_aside(path) as aside:
        figure.savefig(aside, format="png", dpi=120)

"""The pictures of the pages are made here, from drawn smears and the kept study alone.

`make pictures` trains the demonstration's model where `runs/demo` is not there, and writes into
`docs/pictures/`. The differential's page is photographed by chromium where it is installed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from PIL import Image
from review_pictures import photograph_review

from wbczoo import locate
from wbczoo.runtime.drawing import draw_cells
from wbczoo_datasets.smear import render_photograph

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
DEMO = ROOT / "runs" / "demo"

# Okabe and Ito 2008, Color Universal Design: told apart by every kind of colour vision.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#767676"

rcParams["svg.hashsalt"] = "wbczoo"  # so that equal pictures are equal files
rcParams["svg.fonttype"] = "none"


def wbczoo(*arguments: object) -> str:
    """What a command prints."""
    line = [sys.executable, "-m", "wbczoo", *map(str, arguments)]
    return subprocess.run(line, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def save(figure: Figure, name: str) -> None:
    """Write a figure as SVG or PNG, by its suffix, without a date."""
    metadata = {"Date": None} if name.endswith(".svg") else {"Software": None}
    figure.savefig(PICTURES / name, dpi=110, metadata=metadata, bbox_inches="tight")


def draw_architecture() -> None:
    """The model, from the image to the answers."""
    figure = Figure(figsize=(9.2, 4.6), facecolor="white")
    panel = figure.subplots()
    panel.set_xlim(0, 100)
    panel.set_ylim(0, 50)
    panel.set_axis_off()

    def box(x: float, y: float, width: float, text: str, colour: str) -> None:
        shape = FancyBboxPatch(
            (x - width / 2, y - 3.6), width, 7.2, boxstyle="round,pad=0.3,rounding_size=1.2",
            facecolor="white", edgecolor=colour, linewidth=1.6,
        )  # fmt: skip
        panel.add_patch(shape)
        panel.text(x, y, text, ha="center", va="center", fontsize=9)

    def arrow(start: tuple[float, float], end: tuple[float, float], style: str = "-") -> None:
        panel.add_patch(
            FancyArrowPatch(
                start,
                end,
                arrowstyle="-|>",
                mutation_scale=11,
                linestyle=style,
                color=GREY,
                shrinkA=0,
                shrinkB=0,
                linewidth=1.3,
            )
        )

    box(9, 25, 14, "image\nuint8 RGB\n(3, H, W)", GREY)
    box(32, 38, 20, "backbone\nmobilenetv2, ...", BLUE)
    box(32, 12, 20, "sequence branch\nbilstm, gru, none", ORANGE)
    box(55, 38, 15, "mean over\npositions (C)", BLUE)
    box(68, 25, 14, "concatenate\n(C + S)", GREY)
    box(89, 38, 20, "dense layer: cell\n4 classes", GREEN)
    box(89, 12, 20, "dense layer: nucleus\n2 classes", GREEN)
    arrow((16.5, 27), (21.5, 36))
    arrow((16.5, 23), (21.5, 14))
    panel.text(17, 33, "normalised", fontsize=8, ha="right", color=GREY)
    panel.text(17, 17, "grey rows", fontsize=8, ha="right", color=GREY)
    arrow((42.5, 38), (47, 38))
    arrow((32, 34), (32, 16), "--")
    panel.text(33, 25, "feature map (C, h, w),\nfor bilstm_features", fontsize=8, color=GREY)
    arrow((62.8, 36), (64.5, 29))
    arrow((42.5, 12), (64, 21))
    panel.text(55, 14, "(S)", fontsize=8, color=GREY)
    arrow((75.5, 27), (78.5, 35))
    arrow((75.5, 23), (78.5, 15))
    save(figure, "architecture.svg")


def draw_answer() -> None:
    """Drawn smears, and what the demonstration's model says of them."""
    images = sorted((DEMO / "smears" / "test").rglob("*.jp*g"))
    chosen = {path.parent.name: path for path in reversed(images)}
    rows = [
        json.loads(line)
        for line in wbczoo(
            "predict", *chosen.values(), "--model", DEMO / "export", "--format", "jsonl"
        ).splitlines()
    ]
    figure = Figure(figsize=(9.2, 2.6), facecolor="white")
    for panel, (truth, path), row in zip(
        figure.subplots(1, len(chosen)), chosen.items(), rows, strict=True
    ):
        panel.imshow(Image.open(path))
        panel.text(0.5, -0.12, f"drawn as {truth}", transform=panel.transAxes, ha="center",
                   fontsize=8, color=GREY)  # fmt: skip
        panel.set_axis_off()
        answers = [
            f"{found['class']} {found['probability']:.2f}" for found in row["tasks"].values()
        ]
        panel.set_title("\n".join(answers), fontsize=9)
    save(figure, "answer.png")


def draw_located() -> None:
    """Six drawn photographs side by side, with the cells that are found in them."""
    kinds = ("neutrophil", "lymphocyte", "monocyte", "eosinophil", "neutrophil", "lymphocyte")
    drawn = [
        np.asarray(render_photograph(kind, np.random.default_rng(seed)).image)
        for seed, kind in enumerate(kinds)
    ]
    field = np.concatenate([np.concatenate(drawn[row : row + 3], axis=1) for row in (0, 3)])
    cells = locate(field)[0]["cells"]
    draw_cells(field, cells).save(PICTURES / "located.jpg", quality=85, subsampling=0)


def draw_leaking_pair() -> None:
    """Two views of one drawn photograph, as a random split parts them."""
    views: dict[str, list[Path]] = {}
    for path in sorted((DEMO / "smears" / "train").rglob("*.jp*g")):
        views.setdefault(path.stem.rsplit("_", 1)[0], []).append(path)
    first, second = next(paths for paths in views.values() if len(paths) > 1)[:2]
    figure = Figure(figsize=(6.4, 2.7), facecolor="white")
    for panel, path, role in zip(
        figure.subplots(1, 2), (first, second), ("trains", "tests"), strict=True
    ):
        panel.imshow(Image.open(path))
        panel.set_title(f"this view {role}", fontsize=9)
        panel.set_axis_off()
    save(figure, "leaking-pair.png")


def draw_forest() -> None:
    """What a sequence branch adds to each network of the kept study, by protocol."""
    with tempfile.TemporaryDirectory() as folder:
        study = ROOT / "docs" / "studies" / "report-2020.toml"
        found = json.loads(wbczoo("study", "report", study, "--out", folder, "--json"))
    shown = [
        one
        for one in found["comparisons"]
        if one["kind"] == "branch"
        and one["task"] == "cell"
        and not one["still_learning"]
        and one["seeds"] > 1  # one training says nothing of the next
    ]
    shown.sort(key=lambda one: (one["protocol"], one["first"], one["setting"]))
    figure = Figure(figsize=(9, 1.1 + 0.26 * len(shown)), facecolor="white")
    panel = figure.subplots()
    labels = []
    for place, one in enumerate(reversed(shown)):
        value, low, high = (100 * one["accuracy"][name] for name in ("value", "low", "high"))
        colour = ORANGE if "LEAKY" in one["protocol"] else BLUE
        panel.plot([low, high], [place, place], color=colour, linewidth=2)
        panel.plot(value, place, "s", color=colour, markersize=5)
        trained = f"{one['setting']}, {one['epochs']} epochs, {one['seeds']} seeds"
        labels.append(f"{one['first']}, {trained}; {one['protocol']}")
    panel.axvline(0, color=GREY, linewidth=1)
    panel.set_yticks(range(len(labels)), labels, fontsize=7)
    panel.set_xlabel("accuracy with the branch less without it, points", fontsize=8)
    panel.grid(axis="x", alpha=0.3)
    save(figure, "forest.svg")


def photograph_differential() -> None:
    """The page of a differential of drawn smears, as a browser shows it."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        sys.stderr.write("chromium is not installed: differential.png is left as it is\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "differential.html"
        wbczoo("differential", DEMO / "smears" / "test", "--model", DEMO / "export",
               "--html", page)  # fmt: skip
        subprocess.run(
            [browser, "--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=900,760",
             f"--screenshot={PICTURES / 'differential.png'}", page.as_uri()],
            check=True, capture_output=True,
        )  # fmt: skip


def main() -> Any:
    """Make every picture anew."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    if not DEMO.is_dir():
        wbczoo("demo", "--out", DEMO)
    draw_architecture()
    draw_answer()
    draw_located()
    draw_leaking_pair()
    draw_forest()
    photograph_differential()
    photograph_review(ROOT, PICTURES)
    shutil.copy(DEMO / "run" / "curves.png", PICTURES / "curves.png")


if __name__ == "__main__":
    main()

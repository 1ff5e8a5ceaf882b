"""Done trials become drawings here: curves, confusion matrices, reliability, a forest plot."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wbczoo.evaluation.drawings import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    draw_panels,
    fill_confusion,
    fill_reliability,
)
from wbczoo.study.report.compare import SEEDS, Comparison
from wbczoo.study.report.pages import DENSITY
from wbczoo.study.report.series import Series
from wbczoo.study.report.tally import tally_together
from wbczoo.study.report.words import format_seeds

_WIDTH = 9.6  # inches of a page's picture
_COLOURS = (BLUE, ORANGE, GREEN)  # of a panel's tasks


def draw_curves(shown: Sequence[Series]) -> bytes:
    """Loss and accuracy by epoch of each network, a row for each (the report's Figures 6 to 13).

    Lines are means over seeds and folds; bands reach from the least to the largest.

    Args:
        shown: networks of one protocol.
    """
    tasks = list(next(iter(shown[0].rows.values()))["tasks"])
    figure = _open(_WIDTH, 0.5 + 1.9 * len(shown))
    panels = figure.subplots(len(shown), 1 + len(tasks), squeeze=False)
    for line, one in zip(panels, shown, strict=True):
        names = [("loss", "loss"), *((f"{task}_accuracy", f"{task} accuracy") for task in tasks)]
        for panel, (key, title) in zip(line, names, strict=True):
            _fill_curves(panel, one, key, "{} files", (BLUE, ORANGE), bands=True)
            panel.set_title(f"{one.model}: {title}", fontsize="small")
    for panel in panels[-1]:
        panel.set_xlabel("epoch")
    panels[0][0].legend(fontsize="x-small")
    return _to_webp(figure, _title(shown, "training and validation"))


def draw_beside(shown: Sequence[Sequence[Series]]) -> bytes:
    """Loss and accuracy by epoch of equal trainings, the leaking one beside the first honest one.

    Args:
        shown: of each network its series, those that leak first.
    """
    figure = _open(_WIDTH, 0.6 + 1.55 * len(shown))
    panels = figure.subplots(len(shown), 4, squeeze=False)
    for line, each in zip(panels, shown, strict=True):
        honest = next(one for one in each if not one.leaky)
        for (left, right), one in zip((line[:2], line[2:]), (each[0], honest), strict=True):
            _fill_curves(left, one, "loss", "loss, {}", (GREY, GREY), ticks=4)
            for task, colour in zip(next(iter(one.rows.values()))["tasks"], _COLOURS, strict=False):
                key = f"{task}_accuracy"
                _fill_curves(right, one, key, f"{task}, {{}}", (colour, colour), ticks=4)
            trains = f"trains: {one.fields['trainable']}"
            left.set_title(f"{one.model}\n{one.arena}: loss", fontsize="x-small")
            right.set_title(f"{trains}\n{one.arena}: accuracy", fontsize="x-small")
            for panel in (left, right):
                panel.tick_params(labelsize="x-small")
    for panel in panels[0, :2]:
        panel.legend(fontsize="xx-small")
    return _to_webp(figure, "The same trainings by epoch, LEAKY on the left, honest on the right")


def _fill_curves(
    panel: Any, one: Series, key: str, label: str, colours: tuple[str, str], *,
    bands: bool = False, ticks: int = 10,
) -> None:  # fmt: skip
    """A figure by epoch, its mean over seeds and folds: dashed of training, whole of validation.

    Args:
        key: of the figure; one that is no loss is a share.
        label: of a line; {} is `train` or `validation`.
        colours: of training and of validation.
        bands: whether they reach from the least to the largest of several.
        ticks: at most so many epochs are named.
    """
    from matplotlib.ticker import MaxNLocator

    curves = [curve for row in one.rows.values() for curve in row["curves"] if curve]
    epochs = [epoch["epoch"] for epoch in curves[0]]
    for side, colour, style in zip(("train", "validation"), colours, ("--", "-"), strict=True):
        values = [[epoch.get(f"{side}_{key}", np.nan) for epoch in each] for each in curves]
        panel.plot(epochs, np.mean(values, 0), style, color=colour, label=label.format(side))
        if bands and len(values) > 1:
            low, high = np.min(values, 0), np.max(values, 0)
            panel.fill_between(epochs, low, high, color=colour, alpha=0.15, linewidth=0)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=ticks))
    panel.grid(alpha=0.3)
    if key != "loss":
        panel.set_ylim(0, 1.02)


def draw_confusions(shown: Sequence[Series], task: str) -> bytes:
    """A confusion matrix for each series: files of all seeds; colour is the share of the truth."""
    classes = next(iter(shown[0].rows.values()))["tasks"][task]["classes"]
    size = 0.62 * len(classes) + 1.5
    figure, panels = _grid(len(shown), size, size)
    for panel, one in zip(panels, shown, strict=False):
        (tally,) = tally_together([list(one.rows.values())], task)
        matrix = tally.counts.sum((0, 1))
        fill_confusion(panel, matrix, classes)
        panel.set_title(f"{one.model}, {format_seeds(len(one.rows))}", fontsize="small", wrap=True)
    return _to_webp(figure, _title(shown, f"{task}, files by truth and answer"))


def draw_reliability(shown: Sequence[Series], task: str) -> bytes:
    """How often answers of a confidence were right: a reliability diagram for each series.

    DeGroot and Fienberg 1983, The comparison and evaluation of forecasters. Bins are of equal
    width; the grey bars are the share of files in each. Without intervals: results keep the bins
    by file, not by group.
    """
    figure, panels = _grid(len(shown), 2.4, 2.5)
    for panel, one in zip(panels, shown, strict=False):
        bins = sum(np.array(row["tasks"][task]["reliability"]) for row in one.rows.values())
        fill_reliability(panel, np.asarray(bins))
        panel.set_title(f"{one.model}, {format_seeds(len(one.rows))}", fontsize="small", wrap=True)
    return _to_webp(figure, _title(shown, f"{task}, reliability"))


def draw_forest(comparisons: Sequence[Comparison]) -> bytes:
    """Each comparison's difference in accuracy with its interval: a forest plot.

    Blue with a full marker: enough seeds, and no leak. Orange with an empty one: LEAKY, or too
    few seeds.
    """
    figure = _open(_WIDTH, 1.3 + 0.3 * len(comparisons))
    panel = figure.subplots()
    for place, one in enumerate(reversed(comparisons)):
        value, low, high = (
            100 * (one.figures["accuracy"][k] or 0) for k in ("value", "low", "high")
        )
        firm = one.seeds >= SEEDS and not one.first.leaky
        colour = BLUE if firm else ORANGE
        panel.plot([low, high], [place, place], color=colour, linewidth=2)
        panel.plot(
            value, place, "s" if firm else "o", color=colour, markersize=5,
            markerfacecolor=colour if firm else "white",
        )  # fmt: skip
    panel.axvline(0, color=GREY, linewidth=1)
    panel.set_ylim(-0.7, len(comparisons) - 0.3)
    panel.set_yticks(
        range(len(comparisons)), [_label(one) for one in reversed(comparisons)], fontsize="x-small"
    )
    panel.set_xlabel("difference in accuracy, points; positive: the branch helps", fontsize="small")
    panel.grid(axis="x", alpha=0.3)
    return _to_webp(figure, "With a branch less without it, 95 % interval by group and seed")


def draw_accuracy(path: Path, models: Sequence[Mapping[str, Any]], tasks: Iterable[str]) -> None:
    """`PATH.png` and `.svg`: each model's accuracy with its 95 % interval, protocols by colour.

    Args:
        models: as `describe_models` has them; those that are not done are left out.
    """
    done = [one for one in models if one["tasks"]]
    names = list(dict.fromkeys(one["label"] for one in done))
    arenas = list(dict.fromkeys(one["arena"] for one in done))
    colours = dict(zip(arenas, itertools.cycle((BLUE, ORANGE, GREEN, GREY))))

    def fill(panel: Any, task: str) -> None:
        for arena in arenas:
            here = [one for one in done if one["arena"] == arena]
            shift = (arenas.index(arena) - (len(arenas) - 1) / 2) * 0.7 / len(arenas)
            found = [one["tasks"][task]["accuracy"] for one in here]
            places = [names.index(one["label"]) + shift for one in here]
            limits = [[f[name] for f in found] for name in ("low", "high")]
            panel.hlines(places, *limits, color=colours[arena], linewidth=2)
            panel.plot([f["value"] for f in found], places, "o", color=colours[arena], label=arena,
                       markerfacecolor="white" if "LEAKY" in arena else None)  # fmt: skip
        panel.set_ylim(len(names) - 0.5, -0.5)
        panel.set_yticks(range(len(names)), names, fontsize="small")
        panel.set_xlabel("accuracy", fontsize="small")
        panel.grid(axis="x", alpha=0.3)
        panel.legend(fontsize="x-small", loc="lower left", bbox_to_anchor=(0, 1), ncols=len(arenas))

    counts = {one["arena"]: one["test"] for one in done}
    lines = [f"{arena}: {test}" for arena, test in counts.items()]
    title = "\n".join(["Accuracy with its 95 % interval, by group and seed", *lines])
    draw_panels(path, title, tasks, fill, 6.0, 0.8 + 0.25 * len(names) * (1 + len(arenas)))


def _label(one: Comparison) -> str:
    where = f"{one.first.arena}, {one.task}, {one.sources}"
    return f"{one.first.model}, {one.first.setting}; {where}, {format_seeds(one.seeds)}"


def _title(shown: Sequence[Series], what: str) -> str:
    return f"{shown[0].arena}: {what}\ntest: {shown[0].counts}"


_HIGHEST = 16_000  # pixels: WebP holds 16 383, so a drawing of very many trials is smaller


def _open(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def _grid(number: int, width: float, height: float) -> tuple[Any, list[Any]]:
    """A figure of small panels, those that stay empty hidden."""
    columns = min(number, max(1, int(_WIDTH / width)))
    rows = ceil(number / columns)
    figure = _open(columns * width, rows * height + 0.6)
    panels = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for panel in panels[number:]:
        panel.set_visible(False)
    return figure, panels


def _to_webp(figure: Any, title: str) -> bytes:
    """The drawing in 32 colours, in a fifth of the bytes that SVG takes for so many letters."""
    figure.suptitle(title, fontsize="medium")
    drawn, stream = io.BytesIO(), io.BytesIO()
    dpi = min(DENSITY, _HIGHEST / figure.get_figheight())
    figure.savefig(drawn, format="png", dpi=dpi)
    flat = Image.open(drawn).convert("RGB").quantize(32, dither=Image.Dither.NONE)
    flat.convert("RGB").save(stream, format="WebP", lossless=True)
    return stream.getvalue()

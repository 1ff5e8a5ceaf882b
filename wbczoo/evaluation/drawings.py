"""An evaluation is drawn here: confusion, reliability, and error against coverage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wbczoo import files
from wbczoo.errors import UsageError
from wbczoo.machine import how_to_install
from wbczoo.metrics.formulas import BINS, COVERAGES

# Okabe and Ito 2008, Color Universal Design: told apart by every kind of colour vision.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#767676"

SUFFIXES = ("png", "svg")

Floats = NDArray[np.float64]


def explain_no_matplotlib() -> str | None:
    """Why nothing can be drawn, and what to do; None where it can."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return (
            "drawings are made by matplotlib, which is not installed: pip install matplotlib, or "
            f"what training needs: {how_to_install('train')}"
        )
    return None


def check_matplotlib() -> None:
    """UsageError where there is nothing to draw with."""
    if why := explain_no_matplotlib():
        raise UsageError(f"{why[0].upper()}{why[1:]}.")


def draw_confusion(folder: Path, title: str, tasks: Mapping[str, Mapping[str, Any]]) -> None:
    """`confusion.png` and `.svg`: files by truth and answer, a panel for each task.

    Args:
        tasks: as an evaluation's document has them.
    """
    widest = max(len(found["classes"]) for found in tasks.values())

    def fill(panel: Any, task: str) -> None:
        found = tasks[task]
        fill_confusion(panel, np.array(found["confusion"]), found["classes"])

    draw_panels(folder / "confusion", title, tasks, fill, 0.62 * widest + 1.9)


def draw_reliability(
    folder: Path,
    title: str,
    tasks: Mapping[str, Mapping[str, Any]],
    answers: Mapping[str, tuple[Floats, NDArray[np.bool_]]],
) -> None:
    """`reliability.png` and `.svg`: how often answers of a confidence were right.

    Args:
        answers: task -> confidences (N,) and whether each was right (N,).
    """

    def fill(panel: Any, task: str) -> None:
        confidences, right = answers[task]
        places = np.clip(np.ceil(confidences * BINS) - 1, 0, BINS - 1).astype(int)
        bins = [np.bincount(places, each, BINS) for each in (None, confidences, right)]
        fill_reliability(panel, np.stack(bins, 1))

    draw_panels(folder / "reliability", title, tasks, fill, 3.6)


def draw_coverage(
    folder: Path,
    title: str,
    tasks: Mapping[str, Mapping[str, Any]],
    answers: Mapping[str, tuple[Floats, NDArray[np.bool_]]],
) -> None:
    """`coverage.png` and `.svg`: the error among the most confident share, 95 % intervals by group.

    Args:
        answers: task -> confidences (N,) and whether each was right (N,).
    """

    def fill(panel: Any, task: str) -> None:
        confidences, right = answers[task]
        order = np.argsort(-confidences, kind="stable")
        count = np.arange(1, len(order) + 1)
        panel.plot(count / len(order), (~right[order]).cumsum() / count, color=BLUE, linewidth=1)
        for share, found in zip(COVERAGES, tasks[task]["coverage"], strict=True):
            error = found["error"]
            if error["value"] is not None:
                panel.plot([share, share], [error["low"], error["high"]], color=ORANGE)
                panel.plot(share, error["value"], "o", color=ORANGE, markersize=4)
        panel.set_xlim(0, 1.02)
        panel.set_ylim(bottom=0)
        panel.set_xlabel("coverage: share of files, the most confident first", fontsize="small")
        panel.set_ylabel("error", fontsize="small")
        panel.tick_params(labelsize="small")
        panel.grid(alpha=0.3)

    draw_panels(folder / "coverage", title, tasks, fill, 4.2)


def fill_confusion(panel: Any, matrix: NDArray[np.integer], classes: Sequence[str]) -> None:
    """Files by truth and answer, (classes, classes); colour is the share of the truth."""
    share = matrix / matrix.sum(1, keepdims=True).clip(min=1)
    panel.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for truth, answer in np.ndindex(*matrix.shape):
        panel.text(
            answer, truth, int(matrix[truth, answer]), ha="center", va="center",
            fontsize="x-small", color="white" if share[truth, answer] > 0.55 else "black",
        )  # fmt: skip
    panel.set_xticks(range(len(classes)), classes, rotation=35, ha="right", fontsize="x-small")
    panel.set_yticks(range(len(classes)), classes, fontsize="x-small")
    panel.set_xlabel("answer", fontsize="x-small")
    panel.set_ylabel("truth", fontsize="x-small")


def fill_reliability(panel: Any, bins: Floats) -> None:
    """How often answers of a confidence were right (DeGroot and Fienberg 1983).

    Args:
        bins: (B, 3), of equal width: files, the sum of their confidences, files answered rightly.
            Grey bars are the share of files in each.
    """
    number, confidence, right = bins.T
    some = number > 0
    places = (np.arange(len(bins)) + 0.5) / len(bins)
    panel.bar(places, number / max(number.sum(), 1), width=0.9 / len(bins), color=GREY, alpha=0.35)
    panel.plot([0, 1], [0, 1], ":", color=GREY)
    panel.plot(
        confidence[some] / number[some], right[some] / number[some], "o-", color=BLUE, markersize=3
    )
    panel.set_xlim(0, 1)
    panel.set_ylim(0, 1)
    panel.set_xlabel("confidence", fontsize="x-small")
    panel.set_ylabel("share right", fontsize="x-small")
    panel.tick_params(labelsize="x-small")


def draw_panels(
    path: Path,
    title: str,
    tasks: Iterable[str],
    fill: Callable[[Any, str], None],
    width: float,
    height: float | None = None,
) -> None:
    """A drawing as `.png` and `.svg`, a panel for each task, which `fill` draws.

    Args:
        path: of both, without its suffix.
        width, height: of a panel, in inches; it is square if no height is given.
    """
    import matplotlib
    from matplotlib.figure import Figure

    tasks = list(tasks)
    size = (max(6.0, width * len(tasks)), (height or width) + 0.9)
    figure = Figure(size, layout="constrained")
    figure.set_facecolor("white")
    figure.suptitle(title, fontsize="small", wrap=True)
    panels = figure.subplots(1, len(tasks), squeeze=False)[0]
    for panel, task in zip(panels, tasks, strict=True):
        fill(panel, task)
        panel.set_title(task, fontsize="medium")
    # Equal figures are equal bytes: no date, and ids that chance does not choose.
    with matplotlib.rc_context({"svg.hashsalt": "wbczoo", "svg.fonttype": "none"}):
        for suffix in SUFFIXES:
            with files.written_aside(path.with_suffix(f".{suffix}")) as aside:
                told = {"Date": None} if suffix == "svg" else {}
                figure.savefig(aside, format=suffix, dpi=130, metadata=told)

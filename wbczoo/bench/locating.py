"""How well white cells are found: recall, precision and overlap, with intervals over groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wbczoo.cells.overlap import overlap
from wbczoo.metrics.formulas import Floats, ratio
from wbczoo.metrics.intervals import METHOD, Interval, draw, effective_groups, interval, replicate

Box = Sequence[float]

LEVELS = (0.5, 0.7)


@dataclass(frozen=True, slots=True)
class Located:
    """One image: the cells that it shows, and those that were found.

    Attributes:
        truth: boxes left, top, right, bottom in pixels.
        found: boxes too, the best first.
        group: what the image must stay together with; the unit of the bootstrap.
        stratum: its raw label.
    """

    truth: Sequence[Box]
    found: Sequence[Box]
    group: str
    stratum: str = ""


def pair_by_overlap(truth: Sequence[Box], found: Sequence[Box], least: float) -> list[float]:
    """The overlap (IoU) of each found box with a true one that no better box has taken.

    Args:
        truth, found: boxes; those found come best first, and choose in that order.
        least: the overlap from which a pair counts.

    Returns:
        for each pair its overlap; so the length is the number of hits.
    """
    shares = overlap(_boxes(found), _boxes(truth))
    pairs: list[float] = []
    for row in shares:
        if not len(row) or row.max() < least:
            continue
        pairs.append(float(row.max()))
        shares[:, int(row.argmax())] = -1
    return pairs


def count_centres(truth: Sequence[Box], found: Sequence[Box]) -> int:
    """How many true boxes have the middle of a found box in them, each box counted once."""
    free = [tuple(box) for box in truth]
    hits = 0
    for box in found:
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        inside = [t for t in free if t[0] <= x <= t[2] and t[1] <= y <= t[3]]
        if inside:
            # Where boxes of touching cells overlap, the nearest one is meant.
            free.remove(
                min(inside, key=lambda t: abs(t[0] + t[2] - 2 * x) + abs(t[1] + t[3] - 2 * y))
            )
            hits += 1
    return hits


def measure_locating(
    images: Sequence[Located], *, resamples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Recall, precision and mean overlap of a set of images.

    A found box is right at the `centre` if its middle lies in a true box, and at `iou 0.5` if
    the two share half of what they cover together; a true box is hit once. `overlap` is the mean
    of IoU over the pairs that share at least a tenth.

    Args:
        images: of one data set.
        resamples, seed: of the bootstrap.

    Returns:
        what JSON can hold: `images`, `groups`, `cells`, `found`, then `centre`, `iou 0.5` and
        `iou 0.7` with `recall` and `precision`, `overlap`, `quiet` (the share of images without
        a cell in which none is found), each figure as value, low, high; and `interval`.
    """
    drawn = draw([one.group for one in images], [one.stratum for one in images], resamples, seed)
    truth = np.array([len(one.truth) for one in images], float)
    found = np.array([len(one.found) for one in images], float)
    pairs = [pair_by_overlap(one.truth, one.found, 0.1) for one in images]
    hits = {"centre": np.array([count_centres(one.truth, one.found) for one in images], float)}
    for level in LEVELS:
        hits[f"iou {level}"] = np.array(
            [len(pair_by_overlap(one.truth, one.found, level)) for one in images], float
        )
    paired = np.array([len(pair) for pair in pairs], float)
    shares = np.array([sum(pair) for pair in pairs])
    empty = (truth == 0).astype(float)

    def scores(weights: Floats) -> dict[str, Floats]:
        figures = {
            f"{name} recall": ratio(weights @ hit, weights @ truth) for name, hit in hits.items()
        }
        for name, hit in hits.items():
            figures[f"{name} precision"] = ratio(weights @ hit, weights @ found)
        figures["overlap"] = ratio(weights @ shares, weights @ paired)
        figures["quiet"] = ratio(weights @ (empty * (found == 0)), weights @ empty)
        return figures

    point, again = replicate(drawn, scores)

    def figure(name: str, rests_on: NDArray[np.float64]) -> Interval:
        return interval(float(point[name]), again[name], effective_groups(rests_on, drawn) or 1.0)

    return {
        "images": len(images),
        "groups": drawn.groups,
        "cells": int(truth.sum()),
        "found": int(found.sum()),
        **{
            name: {
                "recall": figure(f"{name} recall", truth),
                "precision": figure(f"{name} precision", found),
            }
            for name in hits
        },
        "overlap": figure("overlap", paired),
        "quiet": figure("quiet", empty),
        "interval": METHOD,
    }


def _boxes(boxes: Sequence[Box]) -> NDArray[np.float64]:
    return np.asarray(boxes, np.float64).reshape(-1, 4)

"""The network that marks the middles of white cells, and what it marks on each level."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnxruntime

Boxes = NDArray[np.float64]

NETWORK = Path(__file__).with_name("finder.onnx")
STRIDE = 4  # pixels of a level for each place of the network's answer
_ALIGN = 32  # the network halves its input five times
# Pixels of a level that a cell may be wide: beyond the outer two its answer does not count, within
# the inner two it counts fully. Each cell lies within the inner ones on one level at least.
_SIZES = (7.0, 13.0, 28.0, 40.0)
_MOST = 2000  # candidates of an image that are looked at, the best ones


@cache
def _session() -> onnxruntime.InferenceSession:
    import onnxruntime  # takes its time, and those who crop alone need none of it

    options = onnxruntime.SessionOptions()
    # One thread: the answer is then the same whatever the machine's load and settings.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(NETWORK, options, providers=["CPUExecutionProvider"])


def candidates(
    seen: Sequence[tuple[int, NDArray[np.float32]]], size: tuple[int, int], threshold: float
) -> tuple[Boxes, NDArray[np.float64]]:
    """Boxes around all places that look like the middle of a white cell, on any level.

    Args:
        seen: (factor, absorbed light (3, h, w)) of each level.
        size: the image's height and width.
        threshold: the lowest score.

    Returns:
        boxes (N, 4), left, top, right, bottom in pixels of the image, cut at its frame, and
        scores (N,), the best first; a cell stands there once for each level that shows it.
    """
    boxes, scores = [np.empty((0, 4))], [np.empty(0)]
    for factor, level in seen:
        heat, sides = _ask(level)
        rows, columns = _peaks(heat, threshold)
        middle = np.stack([columns, rows, columns, rows], 1) * STRIDE + STRIDE / 2
        reach = sides[:, rows, columns].T.astype(np.float64) * STRIDE
        box = middle + reach * (-1, -1, 1, 1)
        box = np.clip(box, 0, np.array([level.shape[2], level.shape[1]] * 2, float))
        wide = (box[:, 2:] - box[:, :2]).max(axis=1, initial=0)
        score = heat[rows, columns] * np.interp(wide, _SIZES, (0.6, 1, 1, 0.6), left=0, right=0)
        fits = score >= threshold
        boxes.append(box[fits] * factor)
        scores.append(score[fits])
    every, score = np.concatenate(boxes), np.concatenate(scores)
    order = np.argsort(-score, kind="stable")[:_MOST]
    every = np.minimum(every[order], np.array([size[1], size[0]] * 2, float))
    return every, score[order]


def _ask(level: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Heat (h, w) in [0, 1] and distances to the four sides (4, h, w) in strides."""
    height, width = level.shape[1:]
    padded = np.zeros((1, 3, -(-height // _ALIGN) * _ALIGN, -(-width // _ALIGN) * _ALIGN), "f4")
    padded[0, :, :height, :width] = level
    heat, sides = _session().run(None, {_session().get_inputs()[0].name: padded})
    rows, columns = -(-height // STRIDE), -(-width // STRIDE)
    return heat[0, 0, :rows, :columns], sides[0, :, :rows, :columns]


def _peaks(
    heat: NDArray[np.float32], threshold: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the places that no neighbour exceeds."""
    around = np.pad(heat, 1)
    across = np.maximum(np.maximum(around[:, :-2], around[:, 1:-1]), around[:, 2:])
    highest = np.maximum(np.maximum(across[:-2], across[1:-1]), across[2:])
    rows, columns = np.nonzero((heat >= highest) & (heat >= threshold))
    return rows, columns

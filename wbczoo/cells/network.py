"""The network that marks the middles of white and red cells, and what it marks on each level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnxruntime

Boxes = NDArray[np.float64]
Scores = NDArray[np.float64]

NETWORK = Path(__file__).with_name("finder.onnx")
STRIDE = 4  # pixels of a level for each place of the network's answer
_ALIGN = 32  # the network halves its input five times
# Pixels of a level that a cell may be wide: beyond the outer two its answer does not count, within
# the inner two it counts fully. Each cell lies within the outer ones on two levels at least.
_SIZES = (7.0, 11.0, 32.0, 44.0)
_WEIGHTS = (0.6, 1.0, 1.0, 0.6)
_FAINTEST = 0.1  # below this score nothing is a candidate
_MOST = 2000  # candidates of an image that are looked at, the best ones


@dataclass(frozen=True, slots=True)
class Marked:
    """What looks like cells of one kind, each once for each level that shows it, the best first.

    Attributes:
        boxes: (N, 4), left, top, right, bottom in pixels of the image, cut at its frame.
        scores: (N,), the network's answer by how much it counts at this width.
        factors: (N,), of the level.
    """

    boxes: Boxes
    scores: Scores
    factors: NDArray[np.int64]


def weight(wide: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much the answer about a cell counts that is so many pixels of a level wide, 0 to 1."""
    return np.asarray(np.interp(wide, _SIZES, _WEIGHTS, left=0, right=0))


@cache
def _session() -> onnxruntime.InferenceSession:
    import onnxruntime  # takes its time, and those who crop alone need none of it

    options = onnxruntime.SessionOptions()
    # One thread: the answer is then the same whatever the machine's load and settings.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised, and said once
    return onnxruntime.InferenceSession(NETWORK, options, providers=["CPUExecutionProvider"])


def candidates(
    seen: Sequence[tuple[int, NDArray[np.float32]]], size: tuple[int, int]
) -> tuple[Marked, Marked]:
    """All places that look like the middle of a white or of a red cell, on any level.

    Args:
        seen: (factor, absorbed light (3, h, w)) of each level.
        size: the image's height and width.

    Returns:
        what looks like white cells, and what looks like red ones.

    Raises:
        MemoryError: if the network needs more than there is.
    """
    marked: tuple[list[Marked], list[Marked]] = ([], [])
    for number, (factor, level) in enumerate(seen):
        # The first level takes three quarters of the time, and there a cell has most pixels.
        kinds, boxes, scores = _boxes(level, turned=number > 0)
        for kind, kept in enumerate(marked):
            mine = kinds == kind
            kept.append(Marked(boxes[mine] * factor, scores[mine], np.full(mine.sum(), factor)))
    white, red = (_best(some, size) for some in marked)
    return white, red


def _boxes(level: NDArray[np.float32], *, turned: bool) -> tuple[NDArray[np.intp], Boxes, Scores]:
    """What the network marks on absorbed light (3, h, w), in the order of its places.

    Args:
        turned: the mean of the level's answers and of those to it upside down, for the network's
            answer depends on where a cell lies on its grid.

    Returns:
        kinds (N,), 0 of white cells and 1 of red ones; boxes (N, 4) in pixels of the level; scores.
    """
    height, width = level.shape[1:]
    padded = np.zeros((1, 3, -(-height // _ALIGN) * _ALIGN, -(-width // _ALIGN) * _ALIGN), "f4")
    padded[0, :, :height, :width] = level
    heat, sides = _run(padded)
    rows, columns = -(-height // STRIDE), -(-width // STRIDE)
    if not turned:
        kinds, row, column = _peaks(heat[:, :rows, :columns])
        distances = sides[kinds, :, row, column]
    else:
        other, far = _run(np.ascontiguousarray(padded[..., ::-1, ::-1]))
        heat = np.asarray((heat + other[..., ::-1, ::-1]) / 2, np.float32)
        kinds, row, column = _peaks(heat[:, :rows, :columns])
        # Upside down, the side on the left is the one on the right, and the upper one the lower.
        opposite = far[kinds, :, -1 - row, -1 - column][:, [2, 3, 0, 1]]
        distances = np.asarray((sides[kinds, :, row, column] + opposite) / 2, np.float32)
    middle = np.stack([column, row, column, row], 1) * STRIDE + STRIDE / 2
    reach = distances.astype(np.float64) * STRIDE
    edge = np.array([width, height, width, height], float)
    boxes = (middle + reach * (-1, -1, 1, 1)).clip(0, edge)
    scores = heat[kinds, row, column] * weight((boxes[:, 2:] - boxes[:, :2]).max(1, initial=0))
    kept = scores >= _FAINTEST
    return kinds[kept], boxes[kept], scores[kept]


def _best(marked: Sequence[Marked], size: tuple[int, int]) -> Marked:
    scores = np.concatenate([one.scores for one in marked])
    order = np.argsort(-scores, kind="stable")[:_MOST]
    boxes = np.concatenate([one.boxes for one in marked])[order]
    factors = np.concatenate([one.factors for one in marked])[order]
    return Marked(
        np.minimum(boxes, np.array([size[1], size[0]] * 2, float)), scores[order], factors
    )


def _run(padded: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Heat (2, h, w) and sides (2, 4, h, w) of absorbed light (1, 3, H, W)."""
    session = _session()
    try:
        heat, sides = session.run(None, {session.get_inputs()[0].name: padded})
    except Exception as error:  # onnxruntime's share no base; of this graph only memory can fail
        raise MemoryError(str(error)) from None
    return heat[0], sides.reshape(2, 4, *sides.shape[2:])


def _peaks(
    heat: NDArray[np.float32],
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Kinds, rows and columns of the places of a heat (2, h, w) that no neighbour exceeds."""
    kinds, height, width = heat.shape
    framed = np.zeros((kinds, height + 2, width + 2), np.float32)
    framed[:, 1:-1, 1:-1] = heat
    kind, row, column = np.nonzero(heat >= _FAINTEST)
    place = (kind * (height + 2) + row + 1) * (width + 2) + column + 1
    steps = np.array([[-1], [0], [1]]) * (width + 2) + np.array([-1, 0, 1])
    near = framed.ravel()[place[:, None] + steps.ravel()]
    highest = (near[:, 4:5] >= near).all(axis=1)
    return kind[highest], row[highest], column[highest]

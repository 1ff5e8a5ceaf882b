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
        for kind, (heat, sides) in enumerate(zip(*_ask(level, turned=number > 0), strict=True)):
            boxes, scores = _boxes(heat, sides, level.shape[2:0:-1])
            marked[kind].append(Marked(boxes * factor, scores, np.full(len(boxes), factor)))
    white, red = (_best(some, size) for some in marked)
    return white, red


def _boxes(
    heat: NDArray[np.float32], sides: NDArray[np.float32], size: Sequence[int]
) -> tuple[Boxes, Scores]:
    """Boxes in pixels of a level of this width and height, and what they score there."""
    rows, columns = _peaks(heat)
    middle = np.stack([columns, rows, columns, rows], 1) * STRIDE + STRIDE / 2
    reach = sides[:, rows, columns].T.astype(np.float64) * STRIDE
    boxes = np.clip(middle + reach * (-1, -1, 1, 1), 0, np.array([*size, *size], float))
    scores = heat[rows, columns] * weight((boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0))
    return boxes[scores >= _FAINTEST], scores[scores >= _FAINTEST]


def _best(marked: Sequence[Marked], size: tuple[int, int]) -> Marked:
    scores = np.concatenate([one.scores for one in marked])
    order = np.argsort(-scores, kind="stable")[:_MOST]
    boxes = np.concatenate([one.boxes for one in marked])[order]
    factors = np.concatenate([one.factors for one in marked])[order]
    return Marked(
        np.minimum(boxes, np.array([size[1], size[0]] * 2, float)), scores[order], factors
    )


def _ask(
    level: NDArray[np.float32], *, turned: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Heat (2, h, w) in [0, 1] and distances to the four sides (2, 4, h, w) in strides.

    Args:
        turned: the mean of the level's answers and of those to it upside down, for the network's
            answer depends on where a cell lies on its grid.
    """
    height, width = level.shape[1:]
    padded = np.zeros((1, 3, -(-height // _ALIGN) * _ALIGN, -(-width // _ALIGN) * _ALIGN), "f4")
    padded[0, :, :height, :width] = level
    heat, sides = _run(padded)
    if turned:
        other, far = _run(np.ascontiguousarray(padded[..., ::-1, ::-1]))
        heat = ((heat + other[..., ::-1, ::-1]) / 2).astype(np.float32)
        sides = ((sides + far[:, [2, 3, 0, 1], ::-1, ::-1]) / 2).astype(np.float32)
    rows, columns = -(-height // STRIDE), -(-width // STRIDE)
    return heat[:, :rows, :columns], sides[:, :, :rows, :columns]


def _run(padded: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Heat (2, h, w) and sides (2, 4, h, w) of absorbed light (1, 3, H, W)."""
    session = _session()
    try:
        heat, sides = session.run(None, {session.get_inputs()[0].name: padded})
    except Exception as error:  # onnxruntime's share no base; of this graph only memory can fail
        raise MemoryError(str(error)) from None
    return heat[0], sides.reshape(2, 4, *sides.shape[2:])


def _peaks(heat: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the places that no neighbour exceeds."""
    highest = heat
    for axis in (0, 1):
        near, highest = np.moveaxis(highest, axis, 0), highest.copy()
        moved = np.moveaxis(highest, axis, 0)
        np.maximum(moved[1:], near[:-1], out=moved[1:])
        np.maximum(moved[:-1], near[1:], out=moved[:-1])
    rows, columns = np.nonzero((heat >= highest) & (heat >= _FAINTEST))
    return rows, columns

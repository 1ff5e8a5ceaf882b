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
def _session() -> tuple[onnxruntime.InferenceSession, str]:
    """The network, and the name of what it reads."""
    import onnxruntime  # takes its time, and those who crop alone need none of it

    options = onnxruntime.SessionOptions()
    # One thread: the answer is then the same whatever the machine's load and settings.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised, and said once
    session = onnxruntime.InferenceSession(NETWORK, options, providers=["CPUExecutionProvider"])
    return session, session.get_inputs()[0].name


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
    # The first level takes three quarters of the time, and there a cell has most pixels.
    peaks = [_mark(level, turned=number > 0) for number, (_, level) in enumerate(seen)]
    counts = [len(one.kinds) for one in peaks]
    factors = np.repeat([factor for factor, _ in seen], counts)
    edges = np.repeat([[*light.shape[:0:-1]] * 2 for _, light in seen], counts, axis=0)
    kinds = np.concatenate([one.kinds for one in peaks])
    middle = np.concatenate([one.places for one in peaks])[:, [1, 0, 1, 0]] * STRIDE + STRIDE / 2
    reach = np.concatenate([one.distances for one in peaks]).astype(np.float64) * STRIDE
    boxes = (middle + reach * (-1, -1, 1, 1)).clip(0, edges.astype(float))
    wide = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
    scores = np.concatenate([one.heat for one in peaks]) * weight(wide)
    boxes = np.minimum(boxes * factors[:, None], np.array([size[1], size[0]] * 2, float))
    white, red = (
        _best(boxes[mine], scores[mine], factors[mine])
        for mine in ((kinds == kind) & (scores >= _FAINTEST) for kind in (0, 1))
    )
    return white, red


@dataclass(frozen=True, slots=True)
class _Peaks:
    """Places of a level's answer that no neighbour exceeds, in their order.

    Attributes:
        kinds: (N,), 0 of white cells and 1 of red ones.
        places: (N, 2), row and column.
        heat: (N,).
        distances: (N, 4), strides to the left, top, right and bottom of the cell.
    """

    kinds: NDArray[np.intp]
    places: NDArray[np.intp]
    heat: NDArray[np.float32]
    distances: NDArray[np.float32]


def _mark(level: NDArray[np.float32], *, turned: bool) -> _Peaks:
    """What the network marks on absorbed light (3, h, w).

    Args:
        turned: the mean of the level's answers and of those to it upside down, for the network's
            answer depends on where a cell lies on its grid.
    """
    height, width = level.shape[1:]
    padded = np.zeros((1, 3, -(-height // _ALIGN) * _ALIGN, -(-width // _ALIGN) * _ALIGN), "f4")
    padded[0, :, :height, :width] = level
    heat, sides = _run(padded)
    rows, columns = -(-height // STRIDE), -(-width // STRIDE)
    if not turned:
        heat = heat[:, :rows, :columns]
        kinds, row, column = _peaks(heat)
        distances = sides[kinds, :, row, column]
    else:
        other, far = _run(np.ascontiguousarray(padded[..., ::-1, ::-1]))
        heat = np.asarray((heat + other[..., ::-1, ::-1])[:, :rows, :columns] / 2, np.float32)
        kinds, row, column = _peaks(heat)
        # Upside down, the side on the left is the one on the right, and the upper one the lower.
        opposite = far[kinds, :, -1 - row, -1 - column][:, [2, 3, 0, 1]]
        distances = np.asarray((sides[kinds, :, row, column] + opposite) / 2, np.float32)
    return _Peaks(kinds, np.stack([row, column], 1), heat[kinds, row, column], distances)


def _best(boxes: Boxes, scores: Scores, factors: NDArray[np.int64]) -> Marked:
    order = np.argsort(-scores, kind="stable")[:_MOST]
    return Marked(boxes[order], scores[order], factors[order])


def _run(padded: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Heat (2, h, w) and sides (2, 4, h, w) of absorbed light (1, 3, H, W)."""
    session, name = _session()
    try:
        heat, sides = session.run(None, {name: padded})
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
    across = np.maximum(np.maximum(framed[..., :-2], framed[..., 2:]), framed[..., 1:-1])
    near = np.maximum(np.maximum(across[:, :-2], across[:, 2:]), across[:, 1:-1])
    place = np.flatnonzero((heat >= near) & (heat >= _FAINTEST))
    kind, place = np.divmod(place, height * width)
    row, column = np.divmod(place, width)
    return kind, row, column

"""A boxed image becomes a small view at some magnification and under some lamp, with its answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wbczoo.cells.network import STRIDE
from wbczoo.cells.slide import slide_colour

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Halves = NDArray[np.float16]

SIDE = 96  # pixels of a view
# Pixels of a view that a cell may be wide to be asked for; a little beyond, either answer is right.
# Cells of each width are asked for on two levels of a pyramid, so that their boxes can be averaged.
_ASKED = (9.0, 36.0)
_LOOSE = (6.5, 50.0)
_SEEN = 0.3  # of a cell must lie in the view to be asked for


@dataclass(frozen=True)
class Scene:
    """An image at sizes that halve, and boxes (N, 4) in pixels of the first.

    Attributes:
        sizes: the image, and halves of it.
        boxes: of its white cells.
        red: of its red cells.
        unsure: in which red cells may be that have no box.
        usual: how wide its white cells are, where it has none.
    """

    sizes: list[Pixels]
    boxes: Floats
    red: Floats
    unsure: Floats
    usual: float

    @classmethod
    def of(
        cls,
        image: Pixels,
        boxes: object,
        red: object = (),
        unsure: object = (),
        *,
        usual: float = 100,
        shrink: int = 0,
    ) -> Scene:
        """`shrink` leaves out the largest sizes, where cells are wider than any view."""
        sizes = [image]
        while min(sizes[-1].shape[:2]) >= 48 and len(sizes) < 4 + shrink:
            height, width = sizes[-1].shape[:2]
            smaller = (width // 2, height // 2)
            sizes.append(cv2.resize(sizes[-1], smaller, interpolation=cv2.INTER_AREA))
        factor = 2**shrink
        scaled = [
            np.asarray(some, np.float32).reshape(-1, 4) / factor for some in (boxes, red, unsure)
        ]
        return cls([np.ascontiguousarray(s) for s in sizes[shrink:]], *scaled, usual / factor)


@dataclass(frozen=True)
class View:
    """What the network sees, and what it is to answer, on a grid of strides.

    All are float16: thousands of views are kept. The first of each pair is for white cells, the
    second for red ones.

    Attributes:
        light: absorbed light (3, S, S).
        heat: (2, S / 4, S / 4), 1 in the middle of a cell and falling off around it.
        counts: (2, S / 4, S / 4), 0 where either answer is right.
        reach: (2, 4, S / 4, S / 4), strides to the left, top, right and bottom of the cell.
        near: (2, S / 4, S / 4), how much the reach counts.
    """

    light: Halves
    heat: Halves
    counts: Halves
    reach: Halves
    near: Halves


def draw_view(scene: Scene, rng: np.random.Generator, side: int, wide: tuple[float, float]) -> View:
    """A view of `side` pixels in which a cell is so many pixels wide, lit at random.

    One in three shows a part of the image that is cut closely around the cell: the frame that a
    cell fills.
    """
    boxes = scene.boxes
    widths = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
    which = int(rng.integers(len(boxes))) if len(boxes) else -1
    width = float(widths[which]) if len(boxes) else scene.usual * rng.uniform(0.7, 1.4)
    scale = np.exp(rng.uniform(*np.log(wide))) / width
    squeeze = np.exp(rng.normal(0, 0.05))
    scales = np.array([scale * squeeze, scale / squeeze])  # x, y
    whole = np.array(scene.sizes[0].shape[1::-1], float)
    low, high = np.zeros(2), whole
    close = len(boxes) > 0 and rng.random() < 0.3
    if close:
        spare = (-0.05, 0.3) if rng.random() < 0.5 else (-0.12, 0.8)
        low = np.maximum(0, boxes[which, :2] - width * rng.uniform(*spare, 2))
        high = np.minimum(whole, boxes[which, 2:] + width * rng.uniform(*spare, 2))
    middle = (boxes[which, :2] + boxes[which, 2:]) / 2 if len(boxes) else None
    shift = np.array([_shift(rng, side, axis, low, high, scales, middle) for axis in (0, 1)])
    image = _resample(scene.sizes, side, scales, shift - low * scales)
    first = np.rint(np.maximum(shift, 0)).astype(int)
    last = np.rint(np.minimum(shift + (high - low) * scales, side)).astype(int)
    inside = np.zeros((side, side), bool)
    inside[first[1] : last[1], first[0] : last[0]] = True
    placed = [
        ((some.reshape(-1, 2, 2) - low) * scales + shift).reshape(-1, 4)
        for some in (boxes, scene.red, scene.unsure)
    ]
    slide = None if close or rng.random() < 0.3 else slide_colour([(1, scene.sizes[-1])])
    light = _relit(image, inside, slide, rng)
    return View(light, *_answer(placed, np.concatenate([first, last]), inside))


def _shift(
    rng: np.random.Generator,
    side: int,
    axis: int,
    low: NDArray[np.floating],
    high: NDArray[np.floating],
    scales: NDArray[np.floating],
    middle: NDArray[np.floating] | None,
) -> float:
    """Where the part of the image begins in the view, along one axis."""
    length = (high[axis] - low[axis]) * scales[axis]
    if length <= side:
        return float(rng.choice([0.0, rng.uniform(0, side - length)]))
    if middle is not None and rng.random() < 0.75:
        shown = (middle[axis] - low[axis]) * scales[axis]
    else:
        shown = rng.uniform(0, length)
    return float(np.clip(rng.uniform(6, side - 6) - shown, side - length, 0))


def _resample(
    sizes: list[Pixels], side: int, scales: NDArray[np.floating], shift: NDArray[np.floating]
) -> Pixels:
    level = 0
    while level + 1 < len(sizes) and scales.max() * 2 ** (level + 1) <= 1:
        level += 1
    step = scales * 2**level
    matrix = np.zeros((2, 3), np.float32)
    matrix[0, 0], matrix[1, 1] = step
    matrix[:, 2] = shift + 0.5 * step - 0.5
    border = cv2.BORDER_REPLICATE
    moved = cv2.warpAffine(
        sizes[level], matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=border
    )
    return np.asarray(moved, np.uint8)


def _relit(
    image: Pixels,
    inside: NDArray[np.bool_],
    slide: tuple[int, int, int] | None,
    rng: np.random.Generator,
) -> Halves:
    """Absorbed light (3, S, S) under another stain, lamp, camera and focus; 0 outside."""
    if slide is None:
        slide = slide_colour([(1, image[inside].reshape(-1, 1, 3))])
    density = -np.log((image.astype(np.float32) + 1) / (np.array(slide, np.float32) + 1))
    mixed = np.eye(3) + rng.normal(0, 0.12, (3, 3))
    density = density @ mixed.astype(np.float32)
    if rng.random() < 0.35:  # towards grey, and one in five all the way
        grey = rng.uniform(0, 0.8) if rng.random() < 0.8 else 1.0
        one = density @ rng.dirichlet([2, 2, 2]).astype(np.float32)
        density = density * np.float32(1 - grey) + np.float32(grey) * one[..., None]
    density *= np.exp(rng.normal(0, 0.18, 3) + rng.normal(0, 0.22)).astype(np.float32)
    light = np.exp(-density)
    if rng.random() < 0.6:
        light *= (1 + rng.normal(0, 0.07) + rng.normal(0, 0.05, 3)).astype(np.float32)
    if rng.random() < 0.3:
        light **= np.float32(np.exp(rng.normal(0, 0.2)))
    side = len(image)
    down, across = (np.mgrid[:side, :side] / side - 0.5).astype(np.float32)
    if rng.random() < 0.3:
        slope = rng.normal(0, 0.15, 2).astype(np.float32)
        light *= (1 + across * slope[0] + down * slope[1])[..., None]
    focus = rng.random()
    if focus < 0.2:
        light = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.4, 1.3))
    elif focus < 0.35:
        light += 0.7 * (light - cv2.GaussianBlur(light, (0, 0), 1))
    if rng.random() < 0.3:
        light += np.float32(rng.uniform(0, 0.06)) * rng.standard_normal(light.shape, np.float32)
    absorbed = 1 - light.clip(0, 1 if rng.random() < 0.3 else 1.25)
    absorbed[~inside] = 0
    if rng.random() < 0.06:  # a black border
        normal = rng.normal(0, 1, 2)
        normal /= np.hypot(*normal)
        absorbed[across * normal[0] + down * normal[1] > rng.uniform(0.38, 0.7)] = 1
    return np.ascontiguousarray(absorbed.transpose(2, 0, 1), np.float16)


def _answer(
    placed: Sequence[Floats], frame: NDArray[np.intp], inside: NDArray[np.bool_]
) -> Iterator[Halves]:
    """Heat, counts, reach and near of a view, in which boxes of three kinds are placed."""
    white, red, unsure = placed
    share = cv2.resize(
        inside.astype(np.float32), None, fx=1 / STRIDE, fy=1 / STRIDE, interpolation=cv2.INTER_AREA
    )
    sure = (0.2 + 0.8 * share).astype(np.float32)
    doubtful = sure.copy()
    for left, top, right, bottom in np.rint(unsure / STRIDE).astype(int).clip(0):
        doubtful[top:bottom, left:right] = 0
    for left, top, right, bottom in np.rint(white / STRIDE).astype(int).clip(0):
        here = np.s_[top:bottom, left:right]
        doubtful[here] = sure[here]  # no red cell is there
    answers = _mark(white, frame, sure, sure), _mark(red, frame, doubtful, sure)
    for pair in zip(*answers, strict=True):
        yield np.stack(pair).astype(np.float16)


def _mark(
    boxes: Floats, frame: NDArray[np.intp], counts: Floats, sure: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    counts, places = counts.copy(), len(counts)
    heat, near = np.zeros((2, places, places), np.float32)
    reach = np.zeros((4, places, places), np.float32)
    x = (np.arange(places, dtype=np.float32) + 0.5) * STRIDE
    y = x[:, None]
    for left, top, right, bottom in boxes:
        width = max(right - left, bottom - top)
        area = (right - left) * (bottom - top)
        left, right = np.clip([left, right], frame[0], frame[2])
        top, bottom = np.clip([top, bottom], frame[1], frame[3])
        across, down = right - left, bottom - top
        if min(across, down) <= 1 or not _LOOSE[0] <= width <= _LOOSE[1]:
            continue
        u, v = x - (left + right) / 2, y - (top + bottom) / 2
        ours = (u / (across / 2 + 2)) ** 2 + (v / (down / 2 + 2)) ** 2 < 1
        if across * down < _SEEN * area or not _ASKED[0] <= width <= _ASKED[1]:
            counts[ours] = 0
            continue
        counts[ours] = sure[ours]
        spread = np.maximum([0.16 * across, 0.16 * down], 1.6)
        hill = np.exp(-((u / spread[0]) ** 2 + (v / spread[1]) ** 2) / 2).astype(np.float32)
        hill[_place(top, bottom, places), _place(left, right, places)] = 1
        ours = (hill > near) & (hill > 0.25)
        for number, distance in enumerate((x - left, y - top, right - x, bottom - y)):
            reach[number][ours] = np.broadcast_to(distance / STRIDE, hill.shape)[ours]
        near[ours] = hill[ours]
        heat = np.maximum(heat, hill)
    return heat, counts, reach, near


def _place(low: float, high: float, places: int) -> int:
    return int(np.clip((low + high) / 2 // STRIDE, 0, places - 1))


def turned(view: View, rng: np.random.Generator) -> View:
    """The view as one of the eight that a mirror and quarter turns make of it."""
    arrays = [view.light, view.heat, view.counts, view.reach, view.near]
    for sides, turn in (
        ([2, 1, 0, 3], lambda a: a[..., ::-1]),
        ([1, 0, 3, 2], lambda a: a.swapaxes(-1, -2)),
        ([2, 1, 0, 3], lambda a: a[..., ::-1]),
    ):
        if rng.random() < 0.5:
            arrays = [turn(a) for a in arrays]
            arrays[3] = arrays[3][:, sides]
    return View(*arrays)


def tiled(views: list[View]) -> View:
    """Four views of half the side as one."""
    both = [
        [np.concatenate([getattr(a, name), getattr(b, name)], axis=-1) for name in _NAMES]
        for a, b in (views[:2], views[2:])
    ]
    return View(*(np.concatenate(pair, axis=-2) for pair in zip(*both, strict=True)))


_NAMES = ("light", "heat", "counts", "reach", "near")

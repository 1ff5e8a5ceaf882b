"""Red cells that stand alone are outlined by a threshold; the network learns the others by them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from wbczoo.cells.slide import absorbed, levels, slide_colour

Pixels = NDArray[np.uint8]
Boxes = NDArray[np.float64]

_SIDE = 400  # pixels of the longer side on which outlines are drawn
_ROUND, _FULL, _LONG = 0.88, 0.88, 1.45  # least circularity and convexity, greatest length by width
_LIKE = (0.75, 1.3)  # of the usual red cell's width; what is narrower is no red cell


def outline(image: Pixels, white: Sequence[Sequence[float]]) -> tuple[Boxes, Boxes]:
    """Boxes of red cells, and boxes in which others may be: clumps, and what the frame cuts.

    Args:
        image: uint8 RGB (H, W, 3).
        white: boxes of the white cells, in which no red cell is.
    """
    scale = min(1.0, _SIDE / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    light = absorbed(small, slide_colour(levels(small)))
    shade = cv2.GaussianBlur((light[1].clip(0, 1) * 255).astype(np.uint8), (0, 0), 1)
    outside = np.ones(shade.shape, bool)
    for box in white:
        left, top, right, bottom = (round(side * scale) for side in box)
        outside[max(top, 0) : bottom, max(left, 0) : right] = False
    if not outside.any():
        return np.empty((0, 4)), np.empty((0, 4))
    level, _ = cv2.threshold(shade[outside], 0, 255, cv2.THRESH_OTSU)
    stained = ((shade > level) & outside).astype(np.uint8)
    outlines, _ = cv2.findContours(stained, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    alone, others = [], []
    for line in outlines:
        x, y, width, height = cv2.boundingRect(line)
        if min(width, height) < 5:
            continue
        box = (x, y, x + width, y + height)
        whole = x > 0 and y > 0 and box[2] < size[0] and box[3] < size[1]
        (alone if whole and _is_round(line) and not _near(box, outside) else others).append(box)
    sure, unsure = (np.array(some, float).reshape(-1, 4) for some in (alone, others))
    wide, usual = _wide(sure), 0.0
    if len(sure):
        order = wide.argsort()  # the median red cell, not the median speck: by area
        usual = wide[order][np.searchsorted((wide[order] ** 2).cumsum(), (wide**2).sum() / 2)]
    like = (wide > _LIKE[0] * usual) & (wide < _LIKE[1] * usual)
    red = np.array([_mean(light[0], box) for box in np.concatenate([sure, unsure])])
    if len(red):  # a large platelet absorbs red light, which red cells do not
        like &= red[: len(sure)] < 1.5 * np.median(red) + 0.05
    clumps = _wide(unsure)
    if (clumps > 1.6 * usual).sum() > 2 * like.sum():
        like[:] = False  # specks, where every red cell touches another
    larger = sure[~like & (wide >= _LIKE[0] * usual)]
    unsure = np.concatenate([unsure[_wide(unsure) >= 0.3 * usual], larger])
    return sure[like] / scale, unsure / scale


def _is_round(line: NDArray[np.int32]) -> bool:
    hull = cv2.convexHull(line)
    area, length = cv2.contourArea(hull), cv2.arcLength(hull, True)
    (_, sides, _) = cv2.minAreaRect(hull)
    return bool(
        4 * np.pi * area > _ROUND * length**2
        and cv2.contourArea(line) > _FULL * area
        and max(sides) < _LONG * min(sides)
    )


def _near(box: tuple[int, int, int, int], outside: NDArray[np.bool_]) -> bool:
    """Whether a white cell's box lies over this one, and cuts it perhaps."""
    left, top, right, bottom = box
    return bool(outside[top:bottom, left:right].mean() < 0.95)


def _mean(light: NDArray[np.float32], box: NDArray[np.float64]) -> float:
    left, top, right, bottom = box.astype(int)
    return float(light[top:bottom, left:right].mean())


def _wide(boxes: Boxes) -> NDArray[np.float64]:
    return np.asarray(np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])))

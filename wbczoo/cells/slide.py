"""Light is compared with that of the empty slide, and an image becomes a pyramid of levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Slide = tuple[int, int, int]  # the empty slide's red, green and blue, 0 to 255

_EMPTY = 0.9  # the slide is as bright as this quantile of the pixels
_BLACK = 16  # what is nowhere brighter is a border or the fill of an augmentation
_FIRST = 80_000  # pixels of an image that is looked at as it is
_ENOUGH = 20_000  # pixels that show the slide's colour
_SMALLEST = 24  # the longer side of the last level: a cell that fills the image is found there


def slide_colour(pyramid: Sequence[tuple[int, Pixels]]) -> Slide:
    """The empty slide's red, green and blue: each channel's 90 % quantile outside black.

    Args:
        pyramid: of the image, as `levels` gives it.

    Returns:
        0 to 255 each; (255, 255, 255) of an image that is all black.
    """
    coarse = [level for _, level in pyramid if level.shape[0] * level.shape[1] <= _ENOUGH]
    level = coarse[0] if coarse else pyramid[-1][1]
    light = Image.fromarray(_brightest(level) > _BLACK)
    counts = np.array(Image.fromarray(level).histogram(light)).reshape(3, 256).cumsum(axis=1)
    if not counts[0, -1]:
        return 255, 255, 255
    place = int(_EMPTY * (int(counts[0, -1]) - 1))
    red, green, blue = (int(np.searchsorted(count, place, side="right")) for count in counts)
    return red, green, blue


def levels(image: Pixels) -> list[tuple[int, Pixels]]:
    """The image at ever smaller sizes, each half the one before, by means over squares.

    The first level is smaller than the image by a whole factor that grows with the fifth root of
    the pixels: 1 up to 320x240, 2 at 640x480, 3 at 4000x3000. So the time grows less than
    the pixels do, and in a large field small cells are missed (docs/locate.md).

    Args:
        image: uint8 RGB (H, W, 3), at least 1x1.

    Returns:
        (factor, level) pairs; a level's pixel covers factor x factor pixels of the image.
    """
    height, width = image.shape[:2]
    factor = max(1, int(np.ceil(round((height * width / _FIRST) ** 0.2, 6))))
    level = Image.fromarray(image)
    level = level.reduce(factor) if factor > 1 else level
    found = [(factor, np.asarray(level))]
    while max(level.size) > _SMALLEST:
        level, factor = level.reduce(2), factor * 2
        found.append((factor, np.asarray(level)))
    return found


def absorbed(image: Pixels, slide: Slide) -> NDArray[np.float32]:
    """The share of the slide's light that does not come through, 1 - image / slide.

    Args:
        image: uint8 RGB (H, W, 3).
        slide: its colour as `slide_colour` gives it.

    Returns:
        float32 (3, H, W), at least -0.25 and below 1; 0 where the slide is empty, and where the
        image is black: no light at all came from there, as from a border.
    """
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))
    share = planes.astype(np.float32)
    share += 1
    share /= (np.array(slide, np.float32) + 1)[:, None, None]
    np.subtract(1, share, out=share)
    np.maximum(share, np.float32(-0.25), out=share)
    black = planes.max(axis=0) <= _BLACK
    if black.any():
        share[:, black] = 0
    return share


def _brightest(image: Pixels) -> Pixels:
    """The brightest of the three channels, (...)."""
    return np.maximum(np.maximum(image[..., 0], image[..., 1]), image[..., 2])


def balance(image: Pixels, slide: Sequence[int], white: int) -> Pixels:
    """Each channel scaled so that the slide's colour becomes a grey of this level, (H, W, 3)."""
    values = np.arange(256) + 1.0
    tables = np.rint(values / (np.array(slide)[:, None] + 1) * white).clip(0, 255)
    # Pillow looks three tables up at once, in half the time that numpy takes for one by one.
    return np.array(Image.fromarray(image).point(tables.astype(np.uint8).ravel().tolist()))

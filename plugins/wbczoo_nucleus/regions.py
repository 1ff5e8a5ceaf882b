"""An RGB image becomes what its stain absorbs, and soft masks of nucleus, cytoplasm and ring.

Everything here is made of comparisons, sums and pooling, which ONNX has too. Masks are soft: within
a narrow band about a threshold a pixel belongs in part. So the measures are continuous in the
image, and a last digit that another machine rounds otherwise changes last digits alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_DARKEST = 1 / 32  # of the lamp's light; less is noise of the camera
_SHADES = 32
_DEEPEST = 1.0  # of the shades; 98 % of nuclei absorb less
_BAND = 0.08  # within which a pixel belongs in part
_FLAT = 1e-4  # where the best threshold parts less variance, there is nothing to part
_WEAK = 0.25  # of the nucleus's stain is the least of the cytoplasm's
_AROUND = 4.0  # pixels that the ring is wide
_FAR = 10.0  # pixels; nothing is looked at further away
_STRIP = 8  # rows whose surroundings are looked at together


@dataclass(frozen=True)
class Regions:
    """One cell's absorption and where its parts lie; each mask (N, 1, h, w) in [0, 1].

    Attributes:
        absorbed: optical density of red, green and blue, (N, 3, h, w), 0 where the slide is empty.
        ring: what lies close around the nucleus, whatever it is.
        inside: how far each pixel of the nucleus is from the rest, (N, 1, h, w) in pixels.
        outside: how far each pixel of the rest is from the nucleus, likewise.
    """

    absorbed: Tensor
    nucleus: Tensor
    cytoplasm: Tensor
    ring: Tensor
    inside: Tensor
    outside: Tensor


def shrink(colours: Tensor, factor: int) -> Tensor:
    """Images (N, 3, H, W) with each square of `factor` pixels made one, (N, 3, h, w)."""
    return F.avg_pool2d(colours, factor) if factor > 1 else colours


def find_regions(colours: Tensor) -> Regions:
    """Find nucleus and cytoplasm of the cell in the middle of each image (N, 3, h, w) in [0, 1].

    Chromatin absorbs red, which red cells and granules let through, and more green than blue.
    The shade of such stain that parts the pixels best (Otsu 1979) parts the nucleus from the rest,
    image by image, so that a pale stain and a dark one give the same nucleus. The cytoplasm is
    what is stained at least a quarter as much as the nucleus; red cells are not.
    """
    absorbed = density(colours)
    red, green, blue = absorbed[:, :1], absorbed[:, 1:2], absorbed[:, 2:]
    stain = ((2 * red + green - blue) / 3).clamp(0.0, _DEEPEST)  # (N, 1, h, w)
    middle = _disc(stain)  # (h, w)
    nucleus = without_specks(soft(stain, otsu(stain, middle)) * middle)
    typical = _mean(stain, nucleus)
    outside = distance(nucleus)
    cell = soft(stain, _WEAK * typical) * middle
    return Regions(
        absorbed=absorbed,
        nucleus=nucleus,
        cytoplasm=(cell - nucleus).clamp(0.0, 1.0),
        ring=(grown(outside, _AROUND) - nucleus).clamp(0.0, 1.0),
        inside=distance(1 - nucleus),
        outside=outside,
    )


def density(colours: Tensor) -> Tensor:
    """Optical density of images (N, 3, h, w), against the brightest place of each channel.

    The lamp's colour and strength divide out.
    """
    coarse = F.avg_pool2d(colours, 4, ceil_mode=True)
    lamp = coarse.amax((2, 3), keepdim=True).clamp(min=0.1)
    return -torch.log10((colours / lamp).clamp(_DARKEST, 1.0))


def otsu(values: Tensor, where: Tensor) -> Tensor:
    """The threshold that parts the values best, of those at equal distances (Otsu 1979).

    It is the mean of all thresholds that part about as well as the best one, and above every
    value where all are alike.

    Args:
        values: (N, 1, h, w), in [0, 1].
        where: how much each pixel counts, (h, w).

    Returns:
        (N, 1, 1, 1).
    """
    shades = torch.arange(1, _SHADES, device=values.device) * (_DEEPEST / _SHADES)
    weights = where.flatten() / where.sum().clamp(min=1.0)  # (P,)
    flat = values.flatten(2)  # (N, 1, P)
    above = (flat > shades.view(1, -1, 1)) * weights  # (N, shades, P)
    share = above.sum(2)  # (N, shades)
    held = (above * flat).sum(2)
    whole = (flat * weights).sum(2)  # (N, 1)
    # Between-class variance: share above * share below * (mean above - mean below) ** 2
    parted = (held - share * whole) ** 2 / (share * (1 - share)).clamp(min=1e-6)
    best = parted.amax(1, keepdim=True)
    votes = (parted / best.clamp(min=_FLAT) - 0.95).clamp(min=0.0)
    found = (votes * shades).sum(1, keepdim=True) / votes.sum(1, keepdim=True).clamp(min=1e-6)
    return (found + 2 * _DEEPEST * (best < _FLAT)).view(-1, 1, 1, 1)


def soft(values: Tensor, threshold: Tensor) -> Tensor:
    """1 above the threshold, 0 below, and in between within the band about it."""
    return ((values - threshold) / _BAND + 0.5).clamp(0.0, 1.0)


def without_specks(mask: Tensor) -> Tensor:
    """A mask (N, 1, h, w) of what most of a pixel's neighbours and itself belong to."""
    return ((F.avg_pool2d(mask, 3, 1, 1) - 0.5) * 4 + 0.5).clamp(0.0, 1.0)


def distance(mask: Tensor) -> Tensor:
    """The distance (N, C, h, w) of each pixel to the nearest one of a mask, at most 10 pixels.

    The squared distance is the least over all rows of the least over all columns (Saito and
    Toriwaki 1994), so two sums and two minima find it. A pixel that belongs in part counts as
    further away the less it belongs.
    """
    cost = ((1 - mask) * _FAR) ** 2
    return _nearest(_nearest(cost).transpose(-2, -1)).transpose(-2, -1).sqrt()


def _nearest(cost: Tensor) -> Tensor:
    """The least of each pixel's cost (N, C, h, w) and of those above and below it, by distance.

    No cost is above that of the furthest, so what is further away is not looked at: strips of
    rows see what lies within reach of them. With the columns innermost every sum and minimum
    runs along neighbours in memory.
    """
    height, reach = cost.shape[-2], int(_FAR) - 1
    strips, seen = -(-height // _STRIP), _STRIP + 2 * reach
    framed = F.pad(cost, (0, 0, reach, reach + strips * _STRIP - height), value=_FAR**2)
    place = torch.arange(seen, device=cost.device)
    rows = torch.arange(strips, device=cost.device)[:, None] * _STRIP + place
    windows = framed.index_select(-2, rows.flatten())
    windows = windows.view(*cost.shape[:-2], strips, 1, seen, cost.shape[-1])
    away = (place - reach - place[:_STRIP, None]) ** 2  # (strip, seen)
    least: Tensor = (windows + away.to(cost)[..., None]).amin(-2)  # (N, C, strips, strip, w)
    return least.flatten(-3, -2)[..., :height, :]


def grown(outside: Tensor, radius: float | Tensor) -> Tensor:
    """A mask grown by a radius in pixels, from each pixel's distance to it."""
    return (radius + 1 - outside).clamp(0.0, 1.0)


def shrunk(inside: Tensor, radius: float | Tensor) -> Tensor:
    """A mask shrunk by a radius in pixels, from each of its pixels' distance to the rest."""
    return (inside - radius).clamp(0.0, 1.0)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean (N, 1, 1, 1) of values (N, 1, h, w) within a mask."""
    whole = (2, 3)
    return (values * mask).sum(whole, keepdim=True) / mask.sum(whole, keepdim=True).clamp(min=1.0)


def _disc(like: Tensor) -> Tensor:
    """1 in a disc of four fifths of the image's width, 0 outside, with a soft edge, (h, w)."""
    rows, columns = (
        torch.linspace(-1, 1, like.shape[axis], device=like.device) for axis in (-2, -1)
    )
    away = (rows[:, None] ** 2 + columns**2).sqrt()
    return ((0.8 - away) * 8 + 0.5).clamp(0.0, 1.0)

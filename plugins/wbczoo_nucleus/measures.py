"""Absorption and masks of a cell go in here; its shape, colours and grain come out as numbers.

No measure changes when the image is turned by a right angle or mirrored. Areas are shares of the
image or of the nucleus, and lengths are taken against the nucleus's own size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from wbczoo_nucleus.regions import Regions, distance, grown, shrunk

_ERODED = 8  # pixels at most, where a cell is about 43 wide
_OPENED = _CLOSED = 3.0
_LAGS = (1, 2, 4)  # pixels


def measure(found: Regions) -> Tensor:
    """The measures of each cell, (N, `COUNT`), all of them finite."""
    steps = (_measure_shape, _measure_lobes, _measure_stain, _measure_grain)
    return torch.cat([part.flatten(1) for step in steps for part in step(found)], 1)


def _measure_shape(found: Regions) -> Iterator[Tensor]:
    """Size, outline and moments of the nucleus and of the whole cell, each (N, 2) or (N, 1)."""
    masks = torch.cat([found.nucleus, found.nucleus + found.cytoplasm], 1)  # (N, 2, h, w)
    area = masks.sum((2, 3))
    some = area.clamp(min=1.0)
    yield (area / math.prod(masks.shape[-2:])).sqrt()
    yield 4 * math.pi * area / _perimeters(masks).clamp(min=1.0) ** 2  # 1 of a disc
    yield area[:, :1] / some[:, 1:]
    down = torch.arange(masks.shape[-2], device=masks.device).to(masks)[:, None]
    along = torch.arange(masks.shape[-1], device=masks.device).to(masks)
    centres = torch.stack([(masks * axis).sum((2, 3)) / some for axis in (down, along)], 2)
    yield ((centres[:, :1] - centres[:, 1:]) ** 2).sum(2) / some[:, 1:]
    y, x = down - centres[..., :1, None], along - centres[..., 1:, None]  # (N, 2, h, 1), (.., 1, w)
    yield from _invariants(masks, y, x, some)


def _invariants(masks: Tensor, y: Tensor, x: Tensor, area: Tensor) -> Iterator[Tensor]:
    """The first four invariants of Hu 1962, each (N, 2).

    The roots of those that are squares: how spread a shape is, how long, and twice how lopsided.
    """

    def moment(p: int, q: int) -> Tensor:
        weighed = masks
        for axis in [x] * p + [y] * q:  # products, for a power of three takes the time of thirty
            weighed = weighed * axis
        return weighed.sum((2, 3)) / area ** (1 + (p + q) / 2)

    wide, high, tilt = moment(2, 0), moment(0, 2), moment(1, 1)
    yield wide + high
    yield ((wide - high) ** 2 + 4 * tilt**2).sqrt()
    a, b, c, d = moment(3, 0), moment(1, 2), moment(2, 1), moment(0, 3)
    yield ((a - 3 * b) ** 2 + (3 * c - d) ** 2).sqrt()
    yield ((a + b) ** 2 + (c + d) ** 2).sqrt()


def _measure_lobes(found: Regions) -> Iterator[Tensor]:
    """What is left of the nucleus when it is eroded, opened and closed, each (N, radii).

    What falls apart under erosion has lobes; what closing fills lies between them; what opening
    takes away is narrower than the disc that it is opened with.
    """
    radii = torch.arange(1, _ERODED + 1, device=found.inside.device).view(-1, 1, 1)
    eroded = shrunk(found.inside, radii)  # (N, radii, h, w)
    opened = grown(distance(shrunk(found.inside, _OPENED)), _OPENED)
    closed = shrunk(distance(1 - grown(found.outside, _CLOSED)), _CLOSED)
    masks = torch.cat([eroded, opened, closed], 1)
    yield masks.sum((2, 3)) / found.nucleus.sum((2, 3)).clamp(min=1.0)
    yield euler_numbers(torch.cat([found.nucleus, masks], 1)).clamp(-8.0, 8.0)


def _measure_stain(found: Regions) -> Iterator[Tensor]:
    """How much of each colour nucleus, cytoplasm and ring absorb, each (N, 3, colours)."""
    masks = torch.stack([found.nucleus, found.cytoplasm, found.ring], 1)  # (N, 3, 1, h, w)
    area = masks.sum((3, 4)).clamp(min=1.0)
    absorbed = found.absorbed[:, None]  # (N, 1, 3, h, w)
    mean = (absorbed * masks).sum((3, 4)) / area  # (N, 3, 3)
    square = ((absorbed - mean[..., None, None]) ** 2 * masks).sum((3, 4)) / area
    yield mean
    yield square.sqrt()
    yield mean[..., ::2] / (mean[..., 1:2] + 0.02)  # red and blue against green


def _measure_grain(found: Regions) -> Iterator[Tensor]:
    """How much neighbouring pixels of the nucleus and of the cytoplasm differ, each (N, 2, 2).

    Granules are small, and lobes and shades are not: so at several distances, of green, which all
    of the stain absorbs, and of red less blue, which tells pink granules from violet ones.
    """
    red, green, blue = (found.absorbed[:, place : place + 1] for place in range(3))
    values = torch.stack([green, red - blue], 1).transpose(1, 2)  # (N, 1, 2, h, w)
    masks = torch.stack([found.nucleus, found.cytoplasm], 1)  # (N, 2, 1, h, w)
    for lag in _LAGS:
        squares, weights = [], []
        for axis in (3, 4):
            one, other = (
                each.narrow(axis, lag, each.shape[axis] - lag) for each in (values, masks)
            )
            first, second = (
                each.narrow(axis, 0, each.shape[axis] - lag) for each in (values, masks)
            )
            weight = other * second
            squares.append(((one - first) ** 2 * weight).sum((3, 4)))
            weights.append(weight.sum((3, 4)))
        yield ((squares[0] + squares[1]) / (weights[0] + weights[1]).clamp(min=1.0)).sqrt()


def euler_numbers(masks: Tensor) -> Tensor:
    """Parts less holes of masks (N, C, h, w), (N, C), from windows of 2 x 2 pixels (Gray 1971).

    Pixels that touch at a corner hang together. A pixel that belongs by less than half counts
    nothing. Gray's bits are written as products, which hold for parts of pixels too: in each
    window the corner in its middle, less the two edges that go right and down from it, and the
    pixel between them. Nearly all windows give 0. Corners, edges and pixels summed by themselves
    would be thousands that cancel, and their last digits would not.
    """
    framed = F.pad((2 * masks - 1).clamp(min=0.0), (1, 1, 1, 1))
    free = 1 - framed
    right = free[..., :-1, :] * free[..., 1:, :]  # (N, C, h + 1, w + 2): no pixel on either side
    down = free[..., 1:, :-1] * free[..., 1:, 1:]  # (N, C, h + 1, w + 1)
    windows = right[..., 1:] * (1 - right[..., :-1]) + down - free[..., 1:, 1:]
    return windows.sum((2, 3))


def _perimeters(masks: Tensor) -> Tensor:
    """The length (N, C) of the outlines of soft masks (N, C, h, w): the sum of their gradients."""
    upper, lower = masks[..., :-1, :], masks[..., 1:, :]
    down, along = lower - upper, lower + upper
    rise = (down[..., 1:] + down[..., :-1]) / 2
    run = (along[..., 1:] - along[..., :-1]) / 2
    return (rise**2 + run**2).sqrt().sum((2, 3))


_MORPHS = _ERODED + 2
COUNT = 2 * 6 + 2 + 2 * _MORPHS + 1 + 3 * 8 + 4 * len(_LAGS)

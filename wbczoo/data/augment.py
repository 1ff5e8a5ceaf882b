"""Training images come in here and leave turned, distorted and stained otherwise, as drawn.

What is done to an image follows from (seed, epoch, its position) alone, so that a run that was
stopped goes on with equal pixels. Images stay 8-bit RGB: a model reads nothing else later.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Floats = NDArray[np.float32]

_ZOOM = 0.2  # of distort = 1: from 1/1.2 to 1.2 times the size
_STRETCH = 0.08  # wider by up to exp(0.08), and less high by as much
_SHIFT = 0.05  # of the side, to either side

# Which generator of an epoch draws what; 0 draws the order.
_TURNS, _PLACES, _STAINS, _FOCUS, _BLENDS = 1, 2, 3, 4, 5

_TAKEN = 0.075  # of twice the hue's spread: that of what one channel takes of another

_COARSEST = 0.35  # of the side: what is left of the sharpest and the blurriest images' pixels
_SHARPEST = 0.8
_GRAIN = 8.0  # grey levels: the largest standard deviation of a camera's noise


class Settings(Protocol):
    """What a `TrainConfig` says of augmentation."""

    @property
    def augment(self) -> bool: ...
    @property
    def distort(self) -> float: ...
    @property
    def stain(self) -> float: ...
    @property
    def hue(self) -> float | None: ...
    @property
    def blur(self) -> float: ...
    @property
    def mixup(self) -> float: ...
    @property
    def seed(self) -> int: ...


class Augmentation:
    """What one epoch does to each of its images.

    Args:
        settings: `augment` for flips and quarter turns, `distort`, `stain` and `hue` for
            strengths, `blur` for a share, `mixup`, and the seed.
        count: N, the images of the epoch.
        square: whether they are as high as wide.

    Attributes:
        blends: of each image the share that stays of it where a batch is blended, (N,); or None.
    """

    def __init__(self, settings: Settings, epoch: int, count: int, square: bool) -> None:
        seed = settings.seed
        self.turns = draw_turns(seed, epoch, count, square) if settings.augment else None
        self.places = draw_places(seed, epoch, count, settings.distort)
        self.stains = draw_stains(seed, epoch, count, settings.stain, settings.hue)
        self.focus = draw_focus(seed, epoch, count, settings.blur)
        self.blends = draw_blends(seed, epoch, count, settings.mixup)

    def show(self, images: Tensor, positions: NDArray[np.int64]) -> Tensor:
        """The images (n, 3, H, W) uint8 of these positions, as the epoch shows them."""
        if self.turns is not None:
            images = turn(images, self.turns[positions])
        if self.places is not None:
            images = distort(images, self.places[positions])
        if self.stains is not None:
            images = restain(images, self.stains[positions])
        if self.focus is not None:
            images = defocus(images, self.focus[positions])
        return images


def draw_turns(seed: int, epoch: int, count: int, square: bool) -> NDArray[np.int64]:
    """For each image which of the symmetries of its rectangle it is shown in, this epoch.

    Bit 0 mirrors left and right, bit 1 top and bottom, bit 2 swaps the axes; together they are
    the quarter turns and flips of a square, or the half turn and flips of another rectangle.
    None changes a pixel's colour or the cell's size.
    """
    return np.random.default_rng((seed, epoch, _TURNS)).integers(8 if square else 4, size=count)


def turn(images: Tensor, turns: NDArray[np.int64]) -> Tensor:
    """Show each image (N, 3, H, W) in the symmetry that `draw_turns` drew for it."""
    turned = images.clone()
    for kind in np.unique(turns):
        at = torch.from_numpy(np.flatnonzero(turns == kind)).to(images.device)
        chosen = images[at]
        if kind & 1:
            chosen = chosen.flip(3)
        if kind & 2:
            chosen = chosen.flip(2)
        if kind & 4:
            chosen = chosen.transpose(2, 3)
        turned[at] = chosen
    return turned


def draw_places(seed: int, epoch: int, count: int, strength: float) -> Floats | None:
    """For each image the affine map (2, 3) from where it is shown to where it is read.

    Any angle; with strength 1 up to 1.2 times larger or smaller, stretched by 8 % and moved by
    5 % of the side, and in proportion with others. None without strength.
    """
    if strength == 0:
        return None
    drawn = np.random.default_rng((seed, epoch, _PLACES)).uniform(-1, 1, (5, count))
    angle = drawn[0] * math.pi
    zoom = np.exp(drawn[1] * strength * math.log(1 + _ZOOM))
    wide = np.exp(drawn[2] * strength * _STRETCH)
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    shift = 2 * _SHIFT * strength * drawn[3:]  # in affine_grid's units a side is 2
    rows = [[cos * wide, -sin * wide, shift[0]], [sin / wide, cos / wide, shift[1]]]
    return np.stack([np.stack(row, 1) for row in rows], 1).astype(np.float32)


def distort(images: Tensor, places: Floats) -> Tensor:
    """Read each image (N, 3, H, W) uint8 through its map; beyond an edge it is mirrored.

    A square stays a square under a turn; of another rectangle the turn also stretches.
    """
    maps = torch.from_numpy(places).to(images.device)
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    read = F.grid_sample(
        images.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    return _eight_bits(read)


def draw_stains(
    seed: int, epoch: int, count: int, strength: float, hue: float | None = None
) -> Floats | None:
    """For each image what its absorbances become, (3, 4): a mix of channels, and what is added.

    In absorbance two stains add up, and a thicker smear or a longer bath multiplies (Ruifrok and
    Johnston 2001); so strength is the spread of a factor of all channels, hue that of each
    channel alone, and .15 of it that of what one channel takes from another. The lamp's colour
    moves by 4 %. None without strength and hue.

    Args:
        hue: half of the strength if None.
    """
    hue = strength / 2 if hue is None else hue
    if max(strength, hue) == 0:
        return None
    draw = np.random.default_rng((seed, epoch, _STAINS)).standard_normal
    factors = np.exp(strength * draw((count, 1)) + hue * draw((count, 3)))  # (N, 3)
    mix = np.eye(3) + _TAKEN * (2 * hue) * draw((count, 3, 3))
    lamp = min(1.0, max(strength, hue) / 0.3) * 0.04 * draw((count, 3, 1))
    return np.concatenate([mix * factors[:, None, :], lamp], 2).astype(np.float32)


def restain(images: Tensor, stains: Floats) -> Tensor:
    """Change the absorbances of each image (N, 3, H, W) uint8 as drawn."""
    drawn = torch.from_numpy(stains).to(images.device)
    absorbed = -torch.log((images.float() + 1) / 256)
    absorbed = torch.einsum("nij,njhw->nihw", drawn[..., :3], absorbed) + drawn[..., 3:, None]
    return _eight_bits(torch.exp(-absorbed) * 256 - 1)


def draw_focus(seed: int, epoch: int, count: int, share: float) -> Floats | None:
    """For each image (detail, grain, seed of the grain), (N, 3): of this share of the images.

    Detail is the part of the pixels of a side that is left, 1 for a sharp image, as a smaller
    magnification or an objective out of focus leaves it; grain is a standard deviation in grey
    levels. Blur and grain are drawn apart. None without a share.
    """
    if share == 0:
        return None
    random = np.random.default_rng((seed, epoch, _FOCUS))
    chosen = random.random((2, count)) < share
    detail = np.where(chosen[0], random.uniform(_COARSEST, _SHARPEST, count), 1)
    grain = np.where(chosen[1], random.uniform(0, _GRAIN, count), 0)
    return np.stack([detail, grain, random.integers(2**24, size=count)], 1).astype(np.float32)


def defocus(images: Tensor, focus: Floats) -> Tensor:
    """Show each image (N, 3, H, W) uint8 with less detail, and grainier, as drawn."""
    shown = images.float()
    height, width = images.shape[2:]
    for place, (detail, grain, seed) in enumerate(focus):
        one = shown[place : place + 1]
        if detail < 1:
            size = max(1, round(height * detail)), max(1, round(width * detail))
            small = F.interpolate(one, size=size, mode="bilinear", antialias=True)
            one = F.interpolate(small, size=(height, width), mode="bilinear")
        if grain > 0:
            drawn = np.random.default_rng(int(seed)).standard_normal((1, 3, height, width), "f4")
            one = one + float(grain) * torch.from_numpy(drawn).to(images.device)
        shown[place : place + 1] = one
    return _eight_bits(shown)


def draw_blends(seed: int, epoch: int, count: int, mixup: float) -> Floats | None:
    """For each image the share that stays of it in a blend, from Beta(mixup, mixup), (N,).

    (Zhang et al. 2018, mixup: Beyond empirical risk minimization, section 2.) None without mixup.
    """
    if mixup == 0:
        return None
    drawn = np.random.default_rng((seed, epoch, _BLENDS)).beta(mixup, mixup, count)
    return np.maximum(drawn, 1 - drawn).astype(np.float32)


def blend(images: Tensor, shares: Floats) -> Tensor:
    """Of each image (N, 3, H, W) uint8 its share (N,), and for the rest of the one before it."""
    kept = torch.from_numpy(shares).to(images.device)[:, None, None, None]
    return _eight_bits(kept * images.float() + (1 - kept) * images.roll(1, 0).float())


def mates(count: int, devices: int) -> NDArray[np.int64]:
    """Of each of a batch's images the one that `blend` gives it, where devices share the batch."""
    before = np.arange(count)
    for device in range(devices):
        before[device::devices] = np.roll(before[device::devices], 1)
    return before


def _eight_bits(values: Any) -> Tensor:
    rounded: Tensor = values.round().clamp(0, 255).to(torch.uint8)
    return rounded.contiguous(memory_format=torch.channels_last)

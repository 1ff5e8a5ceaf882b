"""A cell's pixels go in here; the colours and textures of nucleus, cytoplasm and ring come out."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.color import rgb2lab
from skimage.feature import graycomatrix, local_binary_pattern

from wbczoo_baselines.segmentation import Cell, Floats, Mask

CHANNELS = ("red", "green", "blue", "lightness", "a", "b")
LEVELS = 16
DISTANCES = (1, 3)
ANGLES = (0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
PATTERNS = 10  # uniform patterns of eight neighbours, turned: 9 and the rest


def measure_colour(cell: Cell) -> dict[str, float]:
    """Means, spreads and quantiles of six channels in each region, and how the regions differ.

    Red, green and blue are relative to empty slide; L*, a* and b* are on a hundredth of their
    scale. A region of no pixel has the nucleus's colour.
    """
    lab = rgb2lab(np.minimum(cell.pixels, 1)) / 100
    stack = np.concatenate([cell.pixels, lab.astype(np.float32)], 2)  # (h, w, 6)
    found: dict[str, float] = {}
    means = {}
    for name, mask in _regions(cell).items():
        values = stack[mask]
        means[name] = values.mean(0)
        low, high = np.quantile(values, [0.1, 0.9], axis=0)
        for place, channel in enumerate(CHANNELS):
            found[f"{name} {channel} mean"] = float(means[name][place])
            found[f"{name} {channel} spread"] = float(values[:, place].std())
            found[f"{name} {channel} low"] = float(low[place])
            found[f"{name} {channel} high"] = float(high[place])
    for other in ("cytoplasm", "ring"):
        for place, channel in enumerate(CHANNELS):
            found[f"nucleus less {other} {channel}"] = float(
                means["nucleus"][place] - means[other][place]
            )
    # Where an eosinophil's granules were taken for nucleus, the whole cell still shows them.
    whole = ndimage.binary_fill_holes(cell.nucleus | cell.cytoplasm)
    for share, values in zip(QUANTILES, np.quantile(stack[whole], QUANTILES, axis=0), strict=True):
        for channel, value in zip(CHANNELS, values, strict=True):
            found[f"whole {channel} at {share}"] = float(value)
    return found


def measure_texture(cell: Cell) -> dict[str, float]:
    """Co-occurrence of green levels (Haralick 1973) and local binary patterns (Ojala 2002).

    Green, because all of the stain absorbs it. Both in the nucleus and in the cytoplasm.
    """
    green = np.clip(cell.pixels[..., 1], 0, 1)
    patterns = local_binary_pattern((green * 255).astype(np.uint8), 8, 1, "uniform")
    found: dict[str, float] = {}
    regions = _regions(cell)
    for name in ("nucleus", "cytoplasm"):
        mask = regions[name]
        found |= {f"{name} {key}": value for key, value in _cooccurrence(green, mask).items()}
        shares = np.bincount(patterns[mask].astype(np.int64), minlength=PATTERNS) / mask.sum()
        found |= {f"{name} pattern {place}": float(share) for place, share in enumerate(shares)}
    return found


def _regions(cell: Cell) -> dict[str, Mask]:
    """Nucleus, cytoplasm and ring; where one is empty the nucleus stands for it."""
    regions = {"nucleus": cell.nucleus, "cytoplasm": cell.cytoplasm, "ring": cell.ring}
    return {name: mask if mask.any() else cell.nucleus for name, mask in regions.items()}


def _cooccurrence(values: Floats, mask: Mask) -> dict[str, float]:
    """Six of Haralick's measures at two distances, over pairs of pixels that both lie inside."""
    levels = np.where(mask, 1 + (values * (LEVELS - 1)).round(), 0).astype(np.uint8)
    counts = graycomatrix(levels, DISTANCES, ANGLES, LEVELS + 1, symmetric=True)
    pairs = counts[1:, 1:].sum(3).astype(np.float64)  # (levels, levels, distances): all angles
    shares = pairs / np.maximum(pairs.sum((0, 1)), 1)
    level = np.arange(LEVELS)[:, None, None]
    apart = np.abs(level - level.transpose(1, 0, 2))
    mean = (level * shares).sum((0, 1))
    spread = ((level - mean) ** 2 * shares).sum((0, 1))
    joint = ((level - mean) * (level.transpose(1, 0, 2) - mean) * shares).sum((0, 1))
    measures = {
        "contrast": (apart**2 * shares).sum((0, 1)),
        "dissimilarity": (apart * shares).sum((0, 1)),
        "homogeneity": (shares / (1 + apart**2)).sum((0, 1)),
        "energy": np.sqrt((shares**2).sum((0, 1))),
        # Of equal pixels it is 1, where the quotient would be 0 / 0.
        "correlation": np.where(spread > 1e-9, joint / np.maximum(spread, 1e-9), 1.0),
        "entropy": -(shares * np.log2(np.maximum(shares, 1e-12))).sum((0, 1)),
    }
    return {
        f"{name} at {distance}": float(numbers[place])
        for name, numbers in measures.items()
        for place, distance in enumerate(DISTANCES)
    }

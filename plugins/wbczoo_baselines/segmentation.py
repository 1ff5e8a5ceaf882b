"""A smear photograph goes in here; the white cell's pixels, nucleus and cytoplasm come out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import label
from skimage.morphology import remove_small_holes

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]
Window = tuple[slice, slice]

LONGER_SIDE = 320  # pixels; every image is brought to it, so that lengths mean the same
SHORTEST_SIDE = 16
FILL = 40  # what is darker in all channels is the black fill of an augmented file
_LEAST = 0.08  # blue minus green where empty slide is 1; with less, nothing is a nucleus
_SPOT = 48  # pixels; about half of a white cell of the BCCD photographs at 320 pixels
_SMALLEST_SHARE = 0.04  # of the largest lobe; smaller spots are platelets and debris


@dataclass(frozen=True)
class Cell:
    """The white cell of one image, cut out with a margin.

    Attributes:
        pixels: (h, w, 3) RGB, 1 where the slide is empty, so that the lamp does not matter.
        nucleus, cytoplasm, ring: (h, w); the ring is what lies close around the nucleus, whatever
            it is, and serves where the cytoplasm is hardly stained.
        image_area: of the whole image at this scale, black fill left out, in pixels.
        cut_sides: how many quarters of the image's border the nucleus touches, 0 to 1.
    """

    pixels: Floats
    nucleus: Mask
    cytoplasm: Mask
    ring: Mask
    image_area: int
    cut_sides: float


def find_cell(image: NDArray[np.uint8]) -> Cell | None:
    """Find a white cell's nucleus and cytoplasm; None where nothing is stained like a nucleus.

    The nucleus is thresholded by its histogram, as in Young 1972, with the threshold of Otsu 1979:
    first on blue minus green, where stained cells stand out from red cells; then near the most
    stained spot on a sum that weighs red more, because an eosinophil's granules are as blue as
    they are not green, but let red light through. Of several cells the most stained one is taken.

    The cytoplasm hangs together with the nucleus, is stained at least a quarter as much, and lies
    no further away than the nucleus's radius. (Rezatofighi and Soltanian-Zadeh 2011, section 2,
    find both with Gram-Schmidt orthogonalisation and a snake.)

    Args:
        image: (H, W, 3) RGB, of any size.
    """
    scaled = _scale(image)
    red, green, blue = (scaled[..., place] for place in range(3))
    lit = np.maximum(np.maximum(red, green), blue) > FILL
    inside = ndimage.binary_erosion(lit, iterations=2, border_value=1)
    if not inside.any():
        return None
    pixels = _balance(scaled, inside)
    violet = ndimage.gaussian_filter(pixels[..., 2] - pixels[..., 1], 1.0)
    violet[~inside] = 0
    rough = np.where(violet > _threshold(violet, inside), violet, 0)
    window = _around_spot(rough)
    body = np.zeros_like(inside)
    stained = violet[window] > max(_threshold(violet[window], inside[window]), _LEAST)
    body[window] = _lobes(stained & inside[window], violet[window])
    if not body.any():
        return None

    radius = float(np.sqrt(body.sum() / np.pi))
    window = _bounds(body, 2 + round(1.1 * radius))
    valid, cut, violet = inside[window], pixels[window], violet[window]
    absorbed = 2 * (1 - ndimage.gaussian_filter(cut[..., 0], 1.0)) + violet
    dark = (absorbed > _threshold(absorbed, valid)) & (violet > _LEAST) & valid
    nucleus = _lobes(dark, absorbed)
    if not nucleus.any():
        return None
    away = ndimage.distance_transform_edt(~nucleus)
    weak = 0.25 * float(np.median(violet[nucleus]))
    near = valid & (violet > weak) & (away < radius)
    whole = label(ndimage.binary_opening(near, iterations=2) | nucleus, connectivity=1)
    cell = ndimage.binary_fill_holes(np.isin(whole, np.unique(whole[nucleus])))
    return Cell(
        pixels=cut,
        nucleus=nucleus,
        cytoplasm=cell & ~nucleus & valid,
        ring=(away > 1) & (away < 0.35 * radius) & valid,
        image_area=int(inside.sum()),
        cut_sides=_cut_sides(nucleus, window, inside.shape),
    )


def _scale(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image with its longer side brought to 320 pixels, its aspect kept."""
    height, width = image.shape[:2]
    factor = LONGER_SIDE / max(height, width)
    columns, rows = (max(SHORTEST_SIDE, round(side * factor)) for side in (width, height))
    shown = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(shown.resize((columns, rows), Image.Resampling.BILINEAR))


def _balance(image: NDArray[np.uint8], inside: Mask) -> Floats:
    """Divide by the colour of the slide where nothing lies, which the brightest fifth shows."""
    green = image[..., 1]
    bright = inside & (green >= np.quantile(green[inside], 0.8))
    empty = np.maximum(np.median(image[bright], axis=0), 1).astype(np.float32)
    return np.asarray(np.minimum(image / empty, 1.5), np.float32)


def _threshold(values: Floats, where: Mask) -> float:
    """Otsu's threshold, or infinity where there is nothing to part."""
    found = values[where]
    return float(threshold_otsu(found)) if found.size and np.ptp(found) > 0 else float("inf")


def _around_spot(stain: Floats) -> Window:
    """A window of about two cells' width around the most stained spot."""
    spot = ndimage.uniform_filter(stain, _SPOT, mode="constant")
    reach = 2 * _SPOT
    row, column = (int(place) for place in np.unravel_index(int(spot.argmax()), spot.shape))
    return (
        slice(max(0, row - reach), row + reach),
        slice(max(0, column - reach), column + reach),
    )


def _lobes(mask: Mask, stain: Floats) -> Mask:
    """The lobes of the most stained nucleus; what lies far from them or is small is left out."""
    opened = ndimage.binary_opening(mask)
    marks = label(opened, connectivity=1)
    areas = np.bincount(marks.ravel())
    areas[0] = 0
    if not areas.any():
        return np.zeros_like(mask)
    lobes = (areas >= max(_SMALLEST_SHARE * areas.max(), 8))[marks]
    # Small holes are bright chromatin; the hole of a ring-shaped nucleus is cytoplasm.
    lobes = remove_small_holes(lobes, max_size=int(0.01 * areas.max()))
    reach = max(2.0, 0.3 * float(np.sqrt(areas.max() / np.pi)))
    joined = label(ndimage.distance_transform_edt(~lobes) <= reach)
    weights = np.bincount(joined.ravel(), weights=(np.maximum(stain, 0) * lobes).ravel())
    weights[0] = -1
    return np.asarray(lobes & (joined == weights.argmax()))


def _bounds(mask: Mask, margin: int) -> Window:
    rows, columns = ndimage.find_objects(mask.astype(np.uint8))[0]
    return (
        slice(max(0, rows.start - margin), rows.stop + margin),
        slice(max(0, columns.start - margin), columns.stop + margin),
    )


def _cut_sides(nucleus: Mask, window: Window, shape: tuple[int, ...]) -> float:
    """The share of the image's four sides that the nucleus comes within three pixels of."""
    touched = 0
    for side, length, places in zip(window, shape, np.nonzero(nucleus), strict=True):
        touched += int(places.min() + side.start < 3) + int(places.max() + side.start >= length - 3)
    return touched / 4

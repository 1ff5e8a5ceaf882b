"""What of a photograph a model reads, and at which size: the crops and the resize."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import numpy as np
from PIL import Image

from wbczoo.cells.crop import WIDTHS, crop_best_cell
from wbczoo.cells.white_cell import crop_white_cell
from wbczoo.errors import UsageError
from wbczoo.images.decoders import Pixels, Source, decode, open_rgb
from wbczoo.specs import Preprocessing

_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

CROPS: Mapping[str, Callable[[Pixels], Pixels]] = MappingProxyType(
    {
        "none": lambda image: image,
        **{name: partial(crop_best_cell, crop=name) for name in WIDTHS},
        "white-cell": crop_white_cell,
    }
)
"""Named steps from a whole photograph (H, W, 3) to the part (h, w, 3) that a model reads."""


def preprocess(image: Pixels, preprocessing: Preprocessing) -> Pixels:
    """Crop an RGB image and squash it to the size that a model reads.

    With `antialias` the resize is Pillow's, whose filter widens as the image shrinks; without, each
    axis interpolates between the two (bilinear) or four (bicubic, a = -1) nearest pixels.

    Args:
        image: uint8 (H, W, 3).
        preprocessing: `crop`, `size`, `interpolation` and `antialias` are read; `mean` and `std`
            belong to the model.

    Returns:
        uint8 (size[0], size[1], 3).

    Raises:
        UsageError: if there is no such crop.
    """
    return _resize(Image.fromarray(find_crop(preprocessing.crop)(image)), preprocessing)


def pixels(source: Source, preprocessing: Preprocessing) -> Pixels:
    """Decode and preprocess: what a model reads of a source; raises as those two do."""
    if preprocessing.crop == "none" and not isinstance(source, np.ndarray):
        # The same, without a way through an array that costs a quarter of the time.
        with contextlib.ExitStack() as held:
            found = open_rgb(source, held)
            image = Image.fromarray(found) if isinstance(found, np.ndarray) else found
            del found  # an image is held as seldom as can be, for it may be large
            return _resize(image, preprocessing)
    return preprocess(decode(source), preprocessing)


def find_crop(name: str) -> Callable[[Pixels], Pixels]:
    """A step of `CROPS`; UsageError with the names that there are."""
    if name not in CROPS:
        raise UsageError(
            f"There is no crop {name!r} in this version of wbczoo; it has {', '.join(CROPS)}."
        )
    return CROPS[name]


def _resize(image: Image.Image, preprocessing: Preprocessing) -> Pixels:
    height, width = preprocessing.size
    resampling = _RESAMPLING[preprocessing.interpolation]
    if preprocessing.antialias:
        resized = image.resize((width, height), resampling)
    else:
        across, down = image.width / width, image.height / height
        resized = image.transform(
            (width, height), Image.Transform.AFFINE, (across, 0, 0, 0, down, 0), resampling
        )
    return np.array(resized)

"""The bytes of a JPEG file become pixels here, by simplejpeg where it is installed.

Both it and Pillow are libjpeg-turbo, so that the pixels are the same; it takes the file in one
piece and saves a fifth of the time of decoding.
"""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType

import numpy as np
from numpy.typing import NDArray


@cache
def simplejpeg() -> ModuleType | None:
    """The module, or None where it is not installed or does not load."""
    try:
        return importlib.import_module("simplejpeg")
    except Exception:  # an ImportError, or whatever a package for another system raises
        return None


def decode(content: bytes) -> NDArray[np.uint8] | None:
    """Decode a JPEG file whose header Pillow has read and found to be RGB.

    Args:
        content: the whole file.

    Returns:
        uint8 (H, W, 3), equal to Pillow's; None where simplejpeg is not there, or where libjpeg
        had the slightest doubt about the bytes: whoever asks then lets Pillow judge them.
    """
    module = simplejpeg()
    if module is None:
        return None
    try:
        # Without `strict` a truncated file is filled with grey and no word said.
        pixels: NDArray[np.uint8] = module.decode_jpeg(content, "RGB", strict=True)
    except Exception:  # whatever it finds, Pillow finds it too, and says what in its own words
        return None
    return pixels

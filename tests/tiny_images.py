"""Small images for the tests of the runtime, each different from the others."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def picture(seed: int, side: int = 20) -> bytes:
    """A PNG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()

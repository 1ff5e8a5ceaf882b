"""Image files become RGB pixels here, for training and runtime alike, or are refused.

`decoders` says what a pixel is, `file` what an image file is, `walk` and `archives` where images
lie. Its names are those of `decoders`, which loads numpy and Pillow when one of them is asked for:
a plugin that lists a folder needs neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wbczoo.images.decoders import CROPS as CROPS
    from wbczoo.images.decoders import FORMATS as FORMATS
    from wbczoo.images.decoders import Pixels as Pixels
    from wbczoo.images.decoders import Readable as Readable
    from wbczoo.images.decoders import Source as Source
    from wbczoo.images.decoders import decode as decode
    from wbczoo.images.decoders import find_crop as find_crop
    from wbczoo.images.decoders import pixels as pixels
    from wbczoo.images.decoders import preprocess as preprocess

_FACE = ("CROPS", "FORMATS", "Pixels", "Readable", "Source",
         "decode", "find_crop", "pixels", "preprocess")  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _FACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from wbczoo.images import decoders

    globals()[name] = getattr(decoders, name)
    return globals()[name]

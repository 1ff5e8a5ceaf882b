"""Image files become RGB pixels here, for training and runtime alike, or are refused.

`decoders` says what a pixel is, `crops` which of them a model reads, `file` what an image file is,
`walk` and `archives` where images lie. Its names are those of the first two, which load numpy and
Pillow when one of them is asked for: a plugin that lists a folder needs neither.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wbczoo.images.crops import CROPS as CROPS
    from wbczoo.images.crops import find_crop as find_crop
    from wbczoo.images.crops import pixels as pixels
    from wbczoo.images.crops import preprocess as preprocess
    from wbczoo.images.decoders import FORMATS as FORMATS
    from wbczoo.images.decoders import Pixels as Pixels
    from wbczoo.images.decoders import Readable as Readable
    from wbczoo.images.decoders import Source as Source
    from wbczoo.images.decoders import decode as decode

_FACE = {
    "decoders": ("FORMATS", "Pixels", "Readable", "Source", "decode"),
    "crops": ("CROPS", "find_crop", "pixels", "preprocess"),
}


def __getattr__(name: str) -> Any:
    for module, names in _FACE.items():
        if name in names:
            globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

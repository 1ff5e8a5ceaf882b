"""Exported models answer here with onnxruntime, numpy and Pillow; PyTorch is never imported.

The names are imported where they are asked for, so that a start brings along what it needs alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wbczoo.images.walk import find_images as find_images
    from wbczoo.runtime.locate import locate_paths as locate_paths
    from wbczoo.runtime.predict import predict_paths as predict_paths
    from wbczoo.runtime.rows import Count as Count
    from wbczoo.runtime.rows import write_csv as write_csv
    from wbczoo.runtime.rows import write_jsonl as write_jsonl
    from wbczoo.runtime.session import Session as Session
    from wbczoo.runtime.verification import Verification as Verification
    from wbczoo.runtime.verification import verify as verify

_FACE = {
    "Count": "runtime.rows",
    "Session": "runtime.session",
    "Verification": "runtime.verification",
    "find_images": "images.walk",
    "locate_paths": "runtime.locate",
    "predict_paths": "runtime.predict",
    "verify": "runtime.verification",
    "write_csv": "runtime.rows",
    "write_jsonl": "runtime.rows",
}
__all__ = [*_FACE]


def __getattr__(name: str) -> Any:
    if name not in _FACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = getattr(import_module(f"wbczoo.{_FACE[name]}"), name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_FACE})

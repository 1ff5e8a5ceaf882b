"""Exported models answer here with onnxruntime, numpy and Pillow; PyTorch is never imported."""

from wbczoo.images.walk import find_images
from wbczoo.runtime.locate import locate_paths
from wbczoo.runtime.predict import predict_paths
from wbczoo.runtime.rows import Count, write_csv, write_jsonl
from wbczoo.runtime.session import Session
from wbczoo.runtime.verify import Verification, verify

__all__ = [
    "Count",
    "Session",
    "Verification",
    "find_images",
    "locate_paths",
    "predict_paths",
    "verify",
    "write_csv",
    "write_jsonl",
]

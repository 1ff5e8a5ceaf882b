"""What machine and which versions this is: for a run's record, for resuming, for `doctor`."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    "wbczoo",
    "numpy",
    "pillow",
    "torch",
    "torchvision",
    "timm",
    "accelerate",
    "safetensors",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "onnxruntime-gpu",
    "pydantic",
)


def installed(package: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def describe() -> dict[str, Any]:
    """What a run records of the machine it ran on."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "packages": {name: found for name in _PACKAGES if (found := installed(name))},
    }


def bits_depend_on(device: str, bf16: bool) -> dict[str, str]:
    """What two trainings must share for equal bits to be promised."""
    import torch

    return {
        "torch": torch.__version__,
        "threads": str(torch.get_num_threads()),
        "processor": processor(),
        "device": device,
        "precision": "bf16" if bf16 else "fp32",
    }


@cache
def processor() -> str:
    """The processor's name and the vector units that decide a kernel's bits."""
    fields = _cpu_fields()
    name = fields.get("model name") or platform.processor() or platform.machine()
    flags = set(fields.get("flags", "").split())
    units = [unit for unit in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if unit in flags]
    return " ".join([name, *units])


def has_bf16() -> bool:
    """Whether the processor computes bfloat16 by itself, so that autocast is worth its rounding."""
    import torch

    # Only Linux tells by name; elsewhere torch's own probe is asked.
    flags = _cpu_fields().get("flags", "").split()
    if flags:
        return "avx512_bf16" in flags or "amx_bf16" in flags
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe()) if probe else False


@cache
def _cpu_fields() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return {}
    fields: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    return fields

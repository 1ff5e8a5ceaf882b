"""What machine and which versions this is: for a run's record, for resuming, for `doctor`."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

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
    "msgspec",
    "pydantic",
)


_UNITS = (
    "avx2",
    "avx512f",
    "avx_vnni",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimddp",
    "bf16",
    "i8mm",
    "sve",
)

# Where pip takes onnxruntime-gpu (pyproject.toml).
_HAS_GPU_BUILD = platform.system() in ("Linux", "Windows") and platform.machine() in (
    "x86_64",
    "AMD64",
)

_MATTERS = re.compile(
    r"(WBCZOO|HF|HUGGING|CUDA|NVIDIA|ORT|TRT|OMP|KMP|MKL|OPENBLAS|TORCH)_|"
    r"(PYTHONPATH|LD_LIBRARY_PATH|XDG_CACHE_HOME|(HTTPS?|ALL|NO)_PROXY)$",
    re.IGNORECASE,
)
_SECRET = re.compile("TOKEN|SECRET|PASSWORD|KEY", re.IGNORECASE)
_LOGIN = re.compile(r"//[^/@\s]+@")  # a name and password within an address


def installed(package: str) -> str | None:
    """The version of an installed distribution, or None."""
    from importlib.metadata import PackageNotFoundError, version  # it brings email along

    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def how_to_install(extra: str) -> str:
    """The command that adds an extra of wbczoo, by the way that it was installed itself.

    From a clone or a wheel file it names these, for an index may not have it. Where onnxruntime
    took the place of onnxruntime-gpu, it names what the extra consists of: by the extra's own
    name pip would bring the other one back.
    """
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        home = distribution("wbczoo")
    except PackageNotFoundError:
        return f"pip install 'wbczoo[{extra}]'"
    from urllib.request import url2pathname  # which brings HTTP and TLS along

    if installed("onnxruntime") and not installed("onnxruntime-gpu") and _HAS_GPU_BUILD:
        own = [
            f"'{one.split(';')[0].strip()}'"
            for one in home.requires or ()
            if re.search(rf"""extra == ['"]{extra}['"]""", one)
        ]
        return f"pip install {' '.join(own)}"
    origin = json.loads(home.read_text("direct_url.json") or "{}")
    address = urlparse(origin.get("url", ""))
    if address.scheme != "file":
        return f"pip install 'wbczoo[{extra}]'"
    how = "--editable " if origin.get("dir_info", {}).get("editable") else ""
    return f"pip install {how}'{url2pathname(address.path)}[{extra}]'"


def describe() -> dict[str, Any]:
    """What a run records of the machine it ran on."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": cores(),
        "packages": {name: found for name in _PACKAGES if (found := installed(name))},
    }


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


def vector_units() -> list[str]:
    """The units that decide how fast a network runs, in Linux's words; empty where nobody tells.

    Of x86: AVX2, AVX-512 and its dot products of int8 (VNNI) and bf16, and AMX. Of Arm: the dot
    products (asimddp), bf16, the int8 matrices (i8mm) and SVE.
    """
    fields = _cpu_fields()
    flags = set((fields.get("flags") or fields.get("Features", "")).split())
    return [unit for unit in _UNITS if unit in flags]


def cpu_quota(system: Path = Path("/")) -> float | None:
    """How many cores' worth of time a container's limit allows; None where it sets none.

    Args:
        system: where Linux's own folders are.
    """
    quotas = []
    for told in _cgroup(system, "cpu.max"):  # "QUOTA PERIOD" in microseconds, or "max PERIOD"
        quota, _, period = told.partition(" ")
        if quota != "max":
            quotas.append(int(quota) / int(period))
    older = (_cgroup(system, f"cpu.cfs_{each}_us", "cpu") for each in ("quota", "period"))
    quotas += [
        int(told) / int(period) for told, period in zip(*older, strict=False) if told != "-1"
    ]
    return min(quotas, default=None)


def memory(system: Path = Path("/")) -> dict[str, int | None]:
    """Bytes of `total` and `available` memory, and the `limit` that a container sets, or None.

    Args:
        system: as of `cpu_quota`.
    """
    import psutil

    found = psutil.virtual_memory()
    limits = [
        int(value)
        for value in (
            *_cgroup(system, "memory.max"),
            *_cgroup(system, "memory.limit_in_bytes", "memory"),
        )
        if value != "max"
    ]
    # The older kind says "no limit" with a number that no machine has.
    limit = min((each for each in limits if each < found.total), default=None)
    return {"total": found.total, "available": found.available, "limit": limit}


def peak_memory() -> int | None:
    """Most bytes of memory that this process ever held; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if os.uname().sysname == "Darwin" else peak * 1024


def variables() -> dict[str, str]:
    """The environment variables that change what wbczoo and its libraries do, without secrets."""
    return {
        name: "set, not shown" if _SECRET.search(name) else _LOGIN.sub("//***@", value)
        for name, value in sorted(os.environ.items())
        if _MATTERS.match(name)
    }


def describe_torch(_: Any = None) -> dict[str, Any]:
    """What PyTorch can use; or `error`, a sentence, where it or torchvision does not load."""
    try:
        import torch
        import torchvision  # noqa: F401 - a pair of two builds fails here
    except Exception as error:
        return {
            "error": f"PyTorch does not load ({type(error).__name__}: {error}). Install torch and "
            "torchvision again, both from one index."
        }
    return {
        "version": torch.__version__,
        "built_for_cuda": torch.version.cuda,
        "cuda": torch.cuda.is_available(),
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "mps": torch.backends.mps.is_available(),
        "threads": torch.get_num_threads(),
    }


def has_bf16() -> bool:
    """Whether the processor computes bfloat16 by itself, so that autocast is worth its rounding."""
    import torch

    # Only Linux tells by name; elsewhere torch's own probe is asked.
    flags = _cpu_fields().get("flags", "").split()
    if flags:
        return "avx512_bf16" in flags or "amx_bf16" in flags
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe()) if probe else False


def _cgroup(system: Path, name: str, controller: str = "") -> Iterator[str]:
    """What the files of that name say, from this process's control group up to the root.

    Args:
        controller: of the older kind of groups, which has a tree for each; else the unified one.
    """
    place = system / "proc/self/cgroup"
    groups = place.read_text(encoding="utf-8").splitlines() if place.is_file() else []
    root = system / "sys/fs/cgroup" / controller
    for line in groups:
        _, kinds, path = line.split(":", 2)
        if controller not in kinds.split(","):
            continue
        below = root / path.strip("/")
        for folder in (below, *below.parents):
            if not folder.is_relative_to(root):
                break
            # Inside a container the path may be the host's, of which only the root is there.
            with contextlib.suppress(OSError):
                told = (folder / name).read_text(encoding="utf-8").strip()
                if re.fullmatch(r"(max|-?\d+)( \d+)?", told):
                    yield told


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

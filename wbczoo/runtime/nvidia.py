"""NVIDIA's driver is asked here for its version and its GPUs, through its own C libraries."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from typing import Any

_TEXT = 96  # bytes that NVML writes of a name or a version at most

_Devices = list[dict[str, Any]]


class _Memory(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


def describe_gpus() -> dict[str, Any]:
    """The driver and every GPU that it knows, also those that CUDA_VISIBLE_DEVICES hides.

    Returns:
        `driver` and `cuda`, the versions of the driver and of the CUDA that it can run, and
        `gpus`: of each its `name`, `memory` and `free` in bytes and `compute_capability`. None
        stands for what cannot be told; without a driver there is nothing else.
    """
    # NVML knows most; small boards have the driver without it.
    return _ask_nvml() or _ask_driver() or {"driver": None, "cuda": None, "gpus": []}


def _ask_nvml() -> dict[str, Any] | None:
    library = _load("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
    if library is None or library.nvmlInit_v2() != 0:
        return None
    try:
        driver = ctypes.create_string_buffer(_TEXT)
        version, count = ctypes.c_int(0), ctypes.c_uint(0)
        known = library.nvmlSystemGetDriverVersion(driver, _TEXT) == 0
        library.nvmlSystemGetCudaDriverVersion(ctypes.byref(version))
        library.nvmlDeviceGetCount_v2(ctypes.byref(count))
        return {
            "driver": _decoded(driver) if known else None,
            "cuda": _version(version.value),
            "gpus": list(_gpus_of_nvml(library, count.value)),
        }
    finally:
        library.nvmlShutdown()


def _gpus_of_nvml(library: ctypes.CDLL, count: int) -> Iterator[dict[str, Any]]:
    for place in range(count):
        handle = ctypes.c_void_p()
        if library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(place), ctypes.byref(handle)) != 0:
            yield {"name": None, "memory": None, "free": None, "compute_capability": None}
            continue
        name, memory = ctypes.create_string_buffer(_TEXT), _Memory()
        major, minor = ctypes.c_int(0), ctypes.c_int(0)
        named = library.nvmlDeviceGetName(handle, name, _TEXT) == 0
        # Where the processor's memory is the GPU's, there is none to tell.
        told = library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) == 0
        capable = (
            library.nvmlDeviceGetCudaComputeCapability(
                handle, ctypes.byref(major), ctypes.byref(minor)
            )
            == 0
        )
        yield {
            "name": _decoded(name) if named else None,
            "memory": memory.total if told else None,
            "free": memory.free if told else None,
            "compute_capability": f"{major.value}.{minor.value}" if capable else None,
        }


def _ask_driver() -> dict[str, Any] | None:
    library = _load("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    if library is None:
        return None
    version, count = ctypes.c_int(0), ctypes.c_int(0)
    library.cuDriverGetVersion(ctypes.byref(version))
    gpus: _Devices = []
    if library.cuInit(0) == 0 and library.cuDeviceGetCount(ctypes.byref(count)) == 0:
        for place in range(count.value):
            device, name = ctypes.c_int(0), ctypes.create_string_buffer(_TEXT)
            memory = ctypes.c_size_t(0)
            library.cuDeviceGet(ctypes.byref(device), place)
            named = library.cuDeviceGetName(name, _TEXT, device) == 0
            told = library.cuDeviceTotalMem_v2(ctypes.byref(memory), device) == 0
            gpus.append(
                {
                    "name": _decoded(name) if named else None,
                    "memory": memory.value if told else None,
                    "free": None,
                    "compute_capability": None,
                }
            )
    return {"driver": None, "cuda": _version(version.value), "gpus": gpus}


def _load(name: str) -> ctypes.CDLL | None:
    with contextlib.suppress(OSError):
        return ctypes.CDLL(name)
    return None


def _decoded(text: ctypes.Array[ctypes.c_char]) -> str:
    return text.value.decode(errors="backslashreplace")


def _version(number: int) -> str | None:
    """13020 is CUDA 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}" if number else None

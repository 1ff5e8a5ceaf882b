"""What onnxruntime can use on this machine: its packages, processor cores and CUDA, explained."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import os
import re
import sys
from types import ModuleType

from wbczoo.errors import WbczooError
from wbczoo.machine import cores as cores
from wbczoo.machine import installed

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"

# They all install the module `onnxruntime`, each over the others' files.
_RUNTIMES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "onnxruntime-qnn",
)


def installed_runtimes() -> dict[str, str]:
    """Name and version of each installed distribution that provides the module onnxruntime.

    More than one is a broken installation: they overwrite one another.
    """
    return {name: found for name in _RUNTIMES if (found := installed(name))}


def import_onnxruntime() -> ModuleType:
    """The module onnxruntime; WbczooError with the cure where it is missing or broken."""
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except Exception as error:  # an ImportError, or whatever a half overwritten package raises
        raise WbczooError(f"onnxruntime does not load: {error}. {_reinstall()}") from None
    if not hasattr(onnxruntime, "InferenceSession"):  # an empty folder that an uninstall left
        raise WbczooError(f"onnxruntime is installed in part only. {_reinstall()}")
    if os.environ.get("ORT_DISABLE_TELEMETRY") == "1":  # it may have been loaded before wbczoo was
        onnxruntime.disable_telemetry_events()
    return onnxruntime


def explain_cuda() -> str | None:
    """Why CUDA cannot be used here, with the cure, as sentences; None where nothing forbids it.

    None is no promise: whether CUDA's own libraries load is known once a session is made.
    """
    if CUDA not in import_onnxruntime().get_available_providers():
        return _explain_build()
    return _explain_driver()


def explain_tensorrt() -> str | None:
    """Why TensorRT cannot be used here, as `explain_cuda` does for CUDA, which it needs."""
    reason = explain_cuda()
    if reason:
        return reason
    if TENSORRT not in import_onnxruntime().get_available_providers():
        return "The installed onnxruntime was built without TensorRT. Use --device cuda."
    # Its Python package carries the libraries where no loader looks for them.
    with contextlib.suppress(Exception):
        importlib.import_module("tensorrt")
    name = "nvinfer_10.dll" if sys.platform == "win32" else "libnvinfer.so.10"
    try:
        ctypes.CDLL(name)
    except OSError:
        return (
            f"TensorRT's library {name} does not load. Install TensorRT 10 with: "
            "pip install tensorrt, or use --device cuda."
        )
    return None


def preload_cuda() -> list[str]:
    """Load CUDA and cuDNN from their Python packages, if they are there.

    Returns:
        the names of the libraries that are missing; a session tells whether it needs them.
    """
    onnxruntime = import_onnxruntime()
    if not hasattr(onnxruntime, "preload_dlls"):  # before 1.21
        return []
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        onnxruntime.preload_dlls()
    missing = re.findall(r"^Failed to load (\S+?):", told.getvalue(), re.MULTILINE)
    return [re.split(r"[/\\]", name)[-1] for name in missing]


def explain_libraries(provider: str, missing: list[str]) -> str:
    """Why a session was refused CUDA or TensorRT although the build and the driver have it."""
    named = f" ({', '.join(dict.fromkeys(missing))})" if missing else ""
    name = {CUDA: "CUDA", TENSORRT: "TensorRT"}[provider]
    return (
        f"onnxruntime could not start {name}: its libraries are missing or do not fit{named}. "
        "Install them with: pip install 'onnxruntime-gpu[cuda,cudnn]'"
    )


def _explain_build() -> str:
    installed = installed_runtimes()
    if len(installed) > 1:
        return f"{' and '.join(installed)} are both installed and overwrite one another. " + (
            _reinstall()
        )
    if sys.platform == "darwin":
        return "There is no CUDA on macOS. Use --device cpu."
    name = next(iter(installed), "onnxruntime")
    return (
        f"The installed {name} was built without CUDA. Exchange it: "
        f"pip uninstall {name}, then pip install 'onnxruntime-gpu[cuda,cudnn]'"
    )


def _explain_driver() -> str | None:
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return (
            f"This machine has no NVIDIA driver ({library} does not load). "
            "Install the driver, or use --device cpu."
        )
    count = ctypes.c_int(0)
    code = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if code == 0 and count.value > 0:
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    hint = "" if visible is None else f" CUDA_VISIBLE_DEVICES is {visible!r}."
    return f"The NVIDIA driver shows no device (its code is {code}).{hint} Use --device cpu."


def _reinstall() -> str:
    gpu = "onnxruntime-gpu" in installed_runtimes()
    names = " ".join(installed_runtimes()) or "onnxruntime"
    wanted = "onnxruntime-gpu" if gpu else "onnxruntime"
    return f"Install one only: pip uninstall -y {names}, then pip install {wanted}"

"""Everything that support would ask of an installation and its machine is put together here."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from wbczoo import files, machine
from wbczoo.errors import WbczooError
from wbczoo.process import JobError, JobProcess
from wbczoo.runtime import devices
from wbczoo.runtime.nvidia import describe_gpus

# Each is asked in a process of its own, for a driver or a half installed package may end or stop
# the process that loads it; seconds that it may take.
_LIMIT = 120.0

# What makes wbczoo faster, or opens a command, where it is installed.
OPTIONAL = ("simplejpeg", "openvino", "tensorrt", "huggingface-hub")

# y = -x for one number, as an ONNX file: what a device must be able to open at least.
_SMALLEST = (
    b'\x08\x08:2\n\x0b\n\x01x\x12\x01y"\x03Neg\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04'
    b"\n\x02\x08\x01b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)


def diagnose(*, ask_torch: bool = True) -> dict[str, Any]:
    """What this installation and machine can do, and what is wrong with them.

    Nothing that is missing or broken makes it fail. No secret is in it: of an environment variable
    that holds one only that it is set.

    Args:
        ask_torch: load PyTorch, if it is installed, and ask what it can use; takes seconds.

    Returns:
        what JSON can hold; sizes are in bytes. `devices` has of `cpu`, `cuda` and `tensorrt` why it
        cannot be used, or None; `problems` a sentence for each thing that must be mended.
    """
    host = machine.describe()
    cache = files.cache_folder()
    weights = os.environ.get("WBCZOO_WEIGHTS")
    runtime = _ask("wbczoo.runtime.diagnosis:try_devices", "onnxruntime")
    torch = None
    if ask_torch and find_spec("torch") is not None:
        torch = _ask("wbczoo.machine:describe_torch", "PyTorch")
    runtimes = devices.installed_runtimes()
    parts = _broken_parts()
    problems = []
    if len(runtimes) > 1:
        problems.append(
            f"{' and '.join(runtimes)} are installed and overwrite each other: uninstall both, "
            "then install one."
        )
    problems += [told["error"] for told in (runtime, torch) if told and "error" in told]
    problems += [f"{name} is {reason}" for name, reason in parts.items()]
    if weights is not None and not Path(weights).is_dir():
        problems.append(f"WBCZOO_WEIGHTS is {weights!r}, which is no folder.")
    if not os.access(_nearest(cache), os.W_OK):
        problems.append(f"The cache {cache} cannot be written; name another in WBCZOO_CACHE.")
    return {
        **host,
        "vector_units": machine.vector_units(),
        "cores_of_the_machine": os.cpu_count(),
        "cpu_quota": machine.cpu_quota(),
        "memory": machine.memory(),
        "onnxruntime": runtimes,
        "providers": runtime.get("providers", []),
        "devices": runtime.get("devices", {}),
        "missing_libraries": runtime.get("missing_libraries", []),
        "nvidia": runtime.get("nvidia"),
        "optional": {name: machine.installed(name) for name in OPTIONAL},
        "torch": torch,
        "telemetry": _telemetry(),
        "weights_folder": weights,
        "cache": {"folder": str(cache), "size": _size(cache), "free": _free(cache)},
        "environment": machine.variables(),
        "problems": problems,
    }


def try_devices(_: Any = None) -> dict[str, Any]:
    """What onnxruntime was built for, and what of it this machine can do, by trying.

    Returns:
        `providers`, `devices`, `missing_libraries` and `nvidia`, as `diagnose` has them; or
        `error`, a sentence, where onnxruntime does not load.
    """
    from wbczoo.runtime.providers import open_on_cuda, open_on_tensorrt

    try:
        providers = devices.import_onnxruntime().get_available_providers()
    except WbczooError as error:
        return {"error": str(error), "nvidia": describe_gpus()}
    with tempfile.TemporaryDirectory() as folder:
        smallest = Path(folder) / "smallest.onnx"
        smallest.write_bytes(_SMALLEST)
        tried = {
            "cuda": open_on_cuda(smallest, 1, None),
            # Only a device that is there is worth the building of an engine.
            "tensorrt": devices.explain_tensorrt() or open_on_tensorrt(smallest, 1, None),
        }
    reasons = {name: found if isinstance(found, str) else None for name, found in tried.items()}
    return {
        "providers": providers,
        "devices": {"cpu": None, **reasons},
        # Without a driver nobody misses its libraries.
        "missing_libraries": [] if devices.explain_cuda() else devices.preload_cuda(),
        "nvidia": describe_gpus(),
    }


def _ask(function: str, what: str) -> dict[str, Any]:
    with JobProcess(function, _LIMIT, quiet=True) as jobs:
        try:
            answer: dict[str, Any] = jobs.ask(None)
        except JobError as ended:
            return {"error": f"Asking {what} what it can use {ended}. Install it again."}
    return answer


def _broken_parts() -> dict[str, str]:
    from wbczoo import registry

    return {
        f"{kind}/{entry.name}": f"{entry.status}: {entry.reason}"
        for kind, entries in registry.ALL.items()
        for entry in entries.entries()
        if entry.status in ("broken", "duplicate")
    }


def _telemetry() -> dict[str, str]:
    """Whether libraries may report to their makers; wbczoo turns it off where nobody chose."""
    return {
        "onnxruntime": _off_by("ORT_DISABLE_TELEMETRY"),
        "huggingface-hub": _off_by("HF_HUB_DISABLE_TELEMETRY"),
        "openvino": "off",
    }


def _off_by(switch: str) -> str:
    value = os.environ.get(switch, "")
    return "off" if value.lower() in ("1", "true", "yes", "on") else f"on, by {switch}={value}"


def _size(folder: Path) -> int:
    size = 0
    for each in folder.rglob("*"):
        with contextlib.suppress(OSError):  # another process may delete it now
            size += each.lstat().st_size if each.is_file() else 0
    return size


def _free(folder: Path) -> int | None:
    with contextlib.suppress(OSError):
        return shutil.disk_usage(_nearest(folder)).free
    return None


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next((each for each in (folder, *folder.parents) if each.exists()), folder)

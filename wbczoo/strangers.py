"""Modules that nobody here knows pass through this door: they may hang, exit, crash and print."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import EntryPoint
from pathlib import Path

from wbczoo.errors import WbczooError

TIME_LIMIT = 10.0  # seconds

_LOADED = 77
_LOAD = f"""
import json, os, sys
sys.path[:] = json.loads(sys.argv[1])
from importlib.metadata import EntryPoint
try:
    EntryPoint(*sys.argv[2:]).load()
except (Exception, SystemExit):
    pass  # a failure that ends is told by the loading that follows
os._exit({_LOADED})
"""


def refuse_apart(point: EntryPoint) -> str:
    """Why an entry point must not be loaded in this process, or "" if it may.

    It is loaded first in another one, which is killed after `TIME_LIMIT`. The verdict is kept by
    distribution, version and the module's file time, so that it costs its time once.
    """
    import hashlib

    from wbczoo import files

    module = locate(point.module)
    if module is None or not sys.executable:
        return ""
    file = Path(module.origin or "")
    about = (
        *((point.dist.name, point.dist.version) if point.dist else ()),
        *(point.group, point.value, str(file)),
        file.stat().st_mtime_ns if file.is_file() else 0,
    )
    name = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
    verdict = files.cache_folder() / "plugins" / f"{name}.json"
    with contextlib.suppress(WbczooError, KeyError):
        return str(files.read_json(verdict)["reason"])
    reason = _load_apart(point)
    with contextlib.suppress(OSError):  # without a cache it is only slower
        files.write_json(verdict, {"plugin": point.value, "reason": reason})
    return reason


def locate(module: str) -> ModuleSpec | None:
    """Where a module is installed, or None; imports nothing, not even a dotted name's parents."""
    top, *below = module.split(".")
    found = importlib.util.find_spec(top)
    for name in below:
        if found is None or found.submodule_search_locations is None:
            return None
        found = PathFinder.find_spec(f"{found.name}.{name}", found.submodule_search_locations)
    return found


@contextlib.contextmanager
def without_stdout() -> Iterator[None]:
    """Lose whatever is written to stdout meanwhile, by Python or below it."""
    try:
        kept = os.dup(1)
    except OSError:  # there is none
        with contextlib.redirect_stdout(None):
            yield
        return
    _flush()
    try:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            os.dup2(nowhere.fileno(), 1)
            yield
    finally:
        _flush()
        os.dup2(kept, 1)
        os.close(kept)


def told(error: BaseException) -> str:
    """An error's type and words in one line that can be printed anywhere."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # its own words fail it
        text = "no reason given"
    return f"{type(error).__name__}: {text}".encode(errors="replace").decode()


def _flush() -> None:
    with contextlib.suppress(OSError, ValueError):
        if sys.__stdout__ is not None:
            sys.__stdout__.flush()


def _load_apart(point: EntryPoint) -> str:
    import subprocess

    path = json.dumps([str(place) for place in sys.path])
    try:
        code = subprocess.run(
            [sys.executable, "-c", _LOAD, path, point.name, point.value, point.group],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TIME_LIMIT,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        return (
            f"{point.value} did not load within {TIME_LIMIT:g} seconds. It should import "
            "frameworks inside `build` alone; it is tried again when its file changes."
        )
    return "" if code == _LOADED else f"{point.value} ended the process that loaded it."

"""Modules that nobody here knows pass through this door: they may hang, exit, crash and print."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from wbczoo import __version__
from wbczoo.errors import WbczooError
from wbczoo.text import describe_error, first_line, printable

TIME_LIMIT = 10.0  # seconds

_PATIENCE = 3600.0  # seconds for which a stranger that hung or died is not tried again


def recall(point: EntryPoint, distribution: str, version: str) -> dict[str, Any] | None:
    """What `try_apart` found when it tried the same distribution, version and files before."""
    from wbczoo import files

    with contextlib.suppress(WbczooError, KeyError):
        kept = files.read_json(_verdict(point, distribution, version))
        found, until = kept["entry"], kept.get("until", math.inf)
        good = isinstance(found, dict) and isinstance(until, int | float) and time.time() < until
        return found if good else None
    return None


def try_apart(point: EntryPoint, distribution: str, version: str) -> dict[str, Any]:
    """What an entry point is, told by another process that loads it and is killed if it hangs.

    The verdict is kept by distribution, version and the module's files, so that it costs its time
    once. A failure that some other installation may mend is not kept.

    Returns:
        fields of the stranger's `Entry`.
    """
    from wbczoo import files
    from wbczoo.process import JobError, JobProcess

    job = {
        "name": point.name,
        "value": point.value,
        "group": point.group,
        "distribution": distribution,
        "version": version,
    }
    with JobProcess("wbczoo.registry.entry:judge_entry", TIME_LIMIT, quiet=True) as jobs:
        try:
            found = dict(jobs.ask(job))
        except JobError as end:
            found = {"lasting": True, "reason": _ended(printable(point.value), end.late)}
        except (OSError, TypeError, ValueError) as error:  # no process, or nonsense from it
            found = {"lasting": False, "reason": f"It could not be tried: {describe_error(error)}"}
    if found.pop("lasting", False):
        kept: dict[str, Any] = {"plugin": printable(point.value), "entry": found}
        if "status" not in found:  # a busy machine, too, may let a good plugin hang or die
            kept["until"] = time.time() + _PATIENCE
        with contextlib.suppress(OSError):  # without a cache it is only slower
            files.write_json(_verdict(point, distribution, version), kept)
    return found


def locate(module: str) -> ModuleSpec | None:
    """Where a module is installed, or None; imports nothing, not even a dotted name's parents."""
    top, *below = module.split(".")
    try:
        found = importlib.util.find_spec(top)
    except ValueError:  # an empty name, or a module without a spec
        return None
    for name in below:
        if found is None or found.submodule_search_locations is None:
            return None
        found = PathFinder.find_spec(f"{found.name}.{name}", found.submodule_search_locations)
    return found


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """What a plugin raises meanwhile, `sys.exit` too, becomes a sentence that begins with `what`.

    Raises:
        WbczooError: the plugin's own, or that sentence.
    """
    try:
        yield
    except WbczooError:
        raise
    except (Exception, SystemExit) as error:
        raise WbczooError(
            f"{what}: {type(error).__name__}: {first_line(error)}. --debug shows where."
        ) from error


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


def _ended(what: str, late: bool) -> str:
    if not late:
        return f"{what} ended the process that loaded it."
    return (
        f"{what} did not load within {TIME_LIMIT:g} seconds. It should import frameworks inside "
        "`build` alone; it is tried again in an hour, or when its files change."
    )


def _verdict(point: EntryPoint, distribution: str, version: str) -> Path:
    import hashlib

    from wbczoo import files

    about: Mapping[str, object] = {
        "wbczoo": __version__,
        "python": [sys.version, sys.prefix],
        "distribution": [distribution, version],
        "point": [point.group, point.name, point.value],
        "files": _times(point.value.partition(":")[0]),
    }
    name = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
    return files.cache_folder() / "plugins" / f"{name}.json"


def _times(module: str) -> list[tuple[str, int]]:
    """Paths and times of a module's file and, in a package, of those beside and above it."""
    with contextlib.suppress(OSError, ImportError):
        top = locate(module.partition(".")[0].strip())
        found = locate(module.strip())
        places = {Path(each.origin) for each in (top, found) if each and each.origin}
        for each in (top, found):
            if each and each.submodule_search_locations:
                for folder in each.submodule_search_locations:
                    places |= set(Path(folder).rglob("*.py"))
        return sorted((str(place), place.stat().st_mtime_ns) for place in places if place.is_file())
    return []


def _flush() -> None:
    with contextlib.suppress(OSError, ValueError):
        if sys.__stdout__ is not None:
            sys.__stdout__.flush()

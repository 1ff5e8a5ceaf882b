"""The distributions that are installed are read here, one by one, for the entry points in them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distributions
from pathlib import Path
from typing import Any

import wbczoo
from wbczoo.registry.entry import HOME, Entry, blank
from wbczoo.text import describe_error, printable


@cache
def find_home() -> Distribution:
    """The distribution of the wbczoo that runs; another of that name may stand before it.

    Raises:
        PackageNotFoundError: if it was never installed.
    """
    running = Path(wbczoo.__file__).resolve()
    called = [found for found in distributions(name=HOME) if _about(found)[0] == HOME]
    for found in called:
        if Path(str(found.locate_file("wbczoo/__init__.py"))).resolve() == running:
            return found
    for found in called:  # editable: its files lie elsewhere, and its origin is written down
        origin = found.read_text("direct_url.json") or ""
        if running.parents[1].as_uri() in origin:
            return found
    if not called:
        raise PackageNotFoundError(HOME)
    return called[0]


def find_strangers(group: str) -> Iterator[Entry[Any]]:
    """A row for each entry point of the group that is not wbczoo's own, of which nothing is known.

    Distribution by distribution, so that one whose metadata are damaged hides no other.
    """
    met = {HOME}
    own = None
    with contextlib.suppress(PackageNotFoundError):
        own = find_home().read_text("entry_points.txt")
    for found in distributions():
        try:
            points = list(found.entry_points.select(group=group))
        except Exception as error:
            if group in _damaged(found, error):
                yield _damage(found, group, error)
            continue
        if not points:
            continue
        name, version = _about(found)
        key = canonical(name)
        if key in met:
            # The first on the path hides later ones, and nobody else may call himself wbczoo.
            if key == HOME and found.read_text("entry_points.txt") != own:
                for point in points:
                    reason = "Its distribution calls itself wbczoo, and is another. Uninstall it."
                    yield replace(blank(point, f"{HOME} (not this one)", version), reason=reason)
            continue
        met.add(key)
        yield from (blank(point, name, version) for point in points)


def _about(found: Distribution) -> tuple[str, str]:
    """Name and version, of which a damaged installation may have neither."""
    with contextlib.suppress(Exception):
        return printable(found.metadata["Name"] or "?"), printable(found.metadata["Version"] or "")
    return "?", ""


def _damaged(found: Distribution, error: Exception) -> str:
    """The text of entry points that cannot be read, as far as it can be."""
    if isinstance(error, UnicodeDecodeError):
        return error.object.decode(errors="replace")
    with contextlib.suppress(Exception):
        return found.read_text("entry_points.txt") or ""
    return ""


def _damage(found: Distribution, group: str, error: Exception) -> Entry[Any]:
    name, version = _about(found)
    reason = f"Its entry_points.txt cannot be read: {describe_error(error)}. Install it again."
    return replace(blank(EntryPoint("?", "?", group), name, version), reason=reason)


def canonical(distribution: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()

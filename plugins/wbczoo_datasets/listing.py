"""The names and tables of a data set pass through here, from a folder or a zip file alike."""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from wbczoo.errors import UsageError, WbczooError

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"))

_OUTSIDE = re.compile(r"(^|[/\\])\.\.([/\\]|$)|^[/\\]|^[A-Za-z]:")


def list_files(root: Path) -> list[str]:
    """The files below a folder, or the members of a zip file, sorted by name.

    Names are relative to `root` with `/`, or the members' own. Hidden files and what macOS adds
    to archives (`__MACOSX`) are no part of a data set and left out.

    Raises:
        UsageError: if `root` is not there, or is neither a folder nor a zip file.
        WbczooError: if it cannot be read, or a member's name points outside the archive.
    """
    try:
        if root.is_dir():
            names = set(_walk(root))
        elif root.is_file():
            names = set(_members(root))
        else:
            raise UsageError(f"{root} is not there; give the folder or the zip file of the data.")
    except OSError as error:
        raise WbczooError(f"{root} cannot be read: {error.strerror or error}.") from None
    return sorted(name for name in names if not _is_clutter(name))


def list_images(root: Path) -> list[str]:
    """Those of `list_files` whose suffix says that they are images; raises what it raises."""
    return [n for n in list_files(root) if PurePosixPath(n).suffix.lower() in IMAGE_SUFFIXES]


def read_files(root: Path, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the named files of a folder or a zip file.

    Raises:
        WbczooError: if one is not there or cannot be read.
    """
    name = ""
    try:
        if root.is_dir():
            for name in names:
                yield name, (root / name).read_bytes()
        else:
            with zipfile.ZipFile(root) as archive:
                for name in names:
                    yield name, archive.read(name)
    except (OSError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise WbczooError(
            f"{name} in {root} cannot be read ({error}); fetch or unpack the data again."
        ) from None


def some(names: Iterable[str], most: int = 3) -> str:
    """The first few names for a sentence, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more if listed else "no files"


def _walk(root: Path) -> Iterator[str]:
    seen = set()
    # Class folders are often links to another disk; a link back up must not be walked for ever.
    for folder, below, files in os.walk(root, followlinks=True, onerror=_raise):
        real = os.path.realpath(folder)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        below.sort()
        for file in files:
            path = Path(folder, file)
            _require_utf8(os.fspath(path))
            yield path.relative_to(root).as_posix()


def _members(root: Path) -> Iterator[str]:
    try:
        with zipfile.ZipFile(root) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise UsageError(
            f"{root} is neither a folder nor a zip file that can be read ({error})."
        ) from None
    for member in members:
        if _OUTSIDE.search(member.filename):
            raise WbczooError(
                f"{root} holds the member {member.filename!r}, which points outside the archive; "
                "no honest data set does. Fetch it again from its source."
            )
        if "\\" in member.orig_filename:
            raise WbczooError(
                f"{root} has backslashes in its names ({member.orig_filename!r}), which are no "
                "folders here. Unpack it and pack it again, or give the folder."
            )
        if not member.is_dir():
            yield member.filename


def _is_clutter(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _require_utf8(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise WbczooError(
            f"The file name {name.encode(errors='surrogateescape')!r} is no UTF-8; rename it."
        ) from None


def _raise(error: OSError) -> None:
    raise error

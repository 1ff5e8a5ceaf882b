"""What a user names, files, folders, patterns, archives or a list, becomes a row of images."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn, Protocol

from wbczoo.errors import UsageError, WbczooError
from wbczoo.images import SUFFIXES
from wbczoo.images.archives.members import Member
from wbczoo.images.archives.tars import Tar
from wbczoo.images.archives.zips import Zip

Found = str | Member

LIST = "-"  # in place of a path: the paths that somebody lists
_ZIP = (".zip",)
_TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz")
_LONGEST = 1 << 20  # bytes; no system has a longer path


class Listing(Protocol):
    """What gives bytes as they arrive, such as `sys.stdin.buffer`."""

    def read1(self, size: int, /) -> bytes: ...


class Images:
    """The images that a user means, one after another; may be iterated again, but for a list.

    Args:
        given: files, taken whatever their suffix; archives, whose images are taken; folders,
            whose image files are taken, sorted, from all folders within that are neither hidden
            nor links; and patterns with `*`, `?`, `[...]` or `**` that the shell did not expand,
            which stand for the files, archives and folders that match, sorted. A name that exists
            is no pattern.
        listed: paths of image files to take where `-` is given. They are not looked at before
            their turn: one that is not there is refused then. If None, `-` is a name.

    Attributes:
        total: how many images there are, or None where only the end will tell.

    Raises:
        UsageError: if nothing is given, a path does not exist, or a folder, an archive or a
            pattern yields no image.
        WbczooError: if a folder or an archive cannot be read.
    """

    def __init__(self, given: Sequence[str], listed: Iterable[str] | None = None) -> None:
        if not given:
            raise UsageError("No image was given. Name a file, a folder or a pattern.")
        if listed is not None and list(given).count(LIST) > 1:
            raise UsageError("The list of paths can be read only once; give one -.")
        self._parts: list[Iterable[Found]] = []
        self.total: int | None = 0
        files: list[str] = []  # a part too; thousands of arguments become one
        for path in given:
            if path == LIST and listed is not None:
                self._add(listed, None)
                continue
            for part in _expand(path):
                if not isinstance(part, list):
                    self._add(part, part.total)
                elif self._parts and self._parts[-1] is files:
                    files += part
                    self.total = None if self.total is None else self.total + len(part)
                else:
                    files = [*part]
                    self._add(files, len(files))

    def __iter__(self) -> Iterator[Found]:
        for part in self._parts:
            yield from part

    def _add(self, part: Iterable[Found], total: int | None) -> None:
        self._parts.append(part)
        self.total = None if self.total is None or total is None else self.total + total


def find_images(paths: Sequence[str]) -> list[Found]:
    """List the images that a user means; see `Images`.

    Returns:
        the files as they were given; a folder's with the folder as it was given before them; and
        an archive's `Member`s, whose `str` is the archive as it was given and the name inside.
    """
    return [*Images(paths)]


def read_list(stream: Listing, *, null: bool = False) -> Iterator[str]:
    """The paths that a stream lists, each as soon as its line has arrived; empty ones are left out.

    Args:
        null: paths end with a NUL, as `find -print0` ends them, and not with a line's end.

    Raises:
        UsageError: if what arrives is no list.
    """
    end = b"\0" if null else b"\n"
    rest = b""
    start = True
    while piece := stream.read1(1 << 16):
        *whole, rest = (rest + piece).split(end)
        for line in whole:
            yield from _listed(line, null=null, start=start)
            start = False
        if len(rest) > _LONGEST:
            raise UsageError(
                "The list on stdin is no list of paths, one to a line; "
                "--null reads paths that end with a NUL."
            )
    yield from _listed(rest, null=null, start=start)


def _listed(line: bytes, *, null: bool, start: bool) -> Iterator[str]:
    if not null:
        if start:
            line = line.removeprefix(b"\xef\xbb\xbf")  # as Windows begins a text file
        line = line.removesuffix(b"\r")
    if line:
        yield os.fsdecode(line)


def _expand(path: str) -> Iterator[list[str] | Zip | Tar]:
    """What stands for a path: lists of files, and archives."""
    if not path:
        raise UsageError("An image's name is empty. Name a file, a folder or a pattern.")
    if Path(path).is_dir():
        found = _walk(path)
        if not found:
            raise UsageError(
                f"The folder {path} holds no image; looked for {', '.join(sorted(SUFFIXES))}."
            )
        yield found
    elif Path(path).exists():
        yield _file(path)
    elif glob.has_magic(path):
        yield from _match(path)
    else:
        raise UsageError(f"{path} is not there.")


def _match(pattern: str) -> Iterator[list[str] | Zip | Tar]:
    # As a shell would have it, matching folders are folders that were given; with `**` a file is
    # then met more than once.
    met: set[str] = set()
    for match in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - paths as given
        files = _walk(match) if Path(match).is_dir() else [match]
        new = [file for file in files if file not in met]
        met.update(new)
        if Path(match).is_dir():
            yield new
        else:
            yield from (_file(file) for file in new)
    if not met:
        raise UsageError(f"The pattern {pattern} matches no image.")


def _file(path: str) -> list[str] | Zip | Tar:
    if Path(path).is_file():  # a pipe of that name would never end
        if path.lower().endswith(_ZIP):
            return Zip(path)
        if path.lower().endswith(_TAR):
            return Tar(path)
    return [path]


def _walk(folder: str) -> list[str]:
    """The image files below a folder, sorted; strings, for pathlib would rewrite what was given."""

    def fail(error: OSError) -> NoReturn:
        raise WbczooError(f"The folder {error.filename} cannot be read: {error.strerror}.")

    found = []
    for parent, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                found.append(os.path.join(parent, name))  # noqa: PTH118
    return sorted(found)

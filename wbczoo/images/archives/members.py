"""An image inside an archive: its name, what reads it, and which are left out or refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, NoReturn, Protocol

from wbczoo.errors import ImageRefused, UsageError
from wbczoo.images import LARGEST_FILE, SUFFIXES


class Contents(Protocol):
    """An opened archive, which several threads may ask at once."""

    def read(self, member: Member) -> bytes:
        """The bytes of one of its members; ImageRefused says why there are none."""


@dataclass(frozen=True, eq=False)
class Member:
    """An image inside an archive.

    Attributes:
        path: the archive's path and the name inside, such as `smears.zip/a/1.jpg`.
        contents: what reads it, and where it lies there.
        broken: it is no image, but stands for what is left of an archive that cannot be read;
            the reason, else None.
    """

    path: str
    contents: Contents
    where: Any = None
    broken: str | None = None

    def read(self) -> bytes:
        """The file's bytes; raises ImageRefused with the reason why there are none."""
        return self.contents.read(self)

    def __str__(self) -> str:
        return self.path


class Refusal:
    """Contents that are not read, for a reason."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def read(self, member: Member) -> bytes:
        """Raises ImageRefused with the reason."""
        raise ImageRefused(self._reason)


def is_image(name: str) -> bool:
    """As in a folder: image files that are not hidden, nor of what a Mac adds to an archive."""
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") and part != ".." for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden and "__MACOSX" not in path.parts


def why_not(name: str, size: int, *, link: bool) -> str | None:
    """Why a member of this name and size (bytes) is refused unread, or None."""
    # A Windows path knows both slashes and drives, so it tells on every system alike.
    path = PureWindowsPath(name)
    if path.root or path.drive or ".." in path.parts:
        return "Its name leads out of the archive."
    if link:
        return "It is a link, not an image."
    if size > LARGEST_FILE:
        return "The file is larger than 1 GiB."
    return None


def broken(path: str, reason: str) -> Member:
    """What stands in an archive's row for all that can no longer be read of it."""
    return Member(path, Refusal(reason), broken=reason)


def refuse_empty(path: str) -> NoReturn:
    """Raises UsageError about an archive without images."""
    looked_for = ", ".join(sorted(SUFFIXES))
    raise UsageError(f"The archive {path} holds no image; looked for {looked_for}.")

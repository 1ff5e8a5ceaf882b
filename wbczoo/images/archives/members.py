"""A file inside an archive: its name, what reads it, and why some are refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import Any, Protocol

from wbczoo.errors import ImageRefused
from wbczoo.images.file import LARGEST_FILE, is_clutter


class Contents(Protocol):
    """An opened archive, which several threads may ask at once."""

    def read(self, member: Member) -> bytes:
        """The bytes of one of its members; ImageRefused says why there are none."""


@dataclass(frozen=True, eq=False)
class Member:
    """A file inside an archive.

    Attributes:
        path: the archive's path and the name inside, such as `smears.zip/a/1.jpg`.
        name: the name inside.
        contents: what reads it, and where it lies there.
        broken: it is no file, but stands for what is left of an archive that cannot be read;
            the reason, else None.
    """

    path: str
    name: str
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


class Bytes:
    """Contents that were read already."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, member: Member) -> bytes:
        """The bytes."""
        return self._content


def leads_out(name: str) -> bool:
    """Whether a member's name points outside its archive."""
    # A Windows path knows both slashes and drives, so it tells on every system alike.
    path = PureWindowsPath(name)
    return bool(path.root or path.drive or ".." in path.parts)


def is_listed(name: str) -> bool:
    """Whether a member is no clutter; a name that leads out counts, so that it is refused aloud."""
    return leads_out(name) or not is_clutter(name)


def why_not(name: str, size: int, *, link: bool) -> str | None:
    """Why a member of this name and size (bytes) is refused unread, or None."""
    if leads_out(name):
        return "Its name leads out of the archive."
    if link:
        return "It is a link, not an image."
    if size > LARGEST_FILE:
        return "The file is larger than 1 GiB."
    return None


def broken(path: str, reason: str) -> Member:
    """What stands in an archive's row for all that can no longer be read of it."""
    return Member(path, "", Refusal(reason), broken=reason)

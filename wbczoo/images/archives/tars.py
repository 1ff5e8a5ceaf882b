"""The files of a tar file, packed or not, in their order, each read when it is asked for."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from wbczoo.errors import ImageRefused
from wbczoo.images.archives.members import Member, Refusal, broken, is_listed, why_not
from wbczoo.text import one_line

TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz")

_LARGEST_HEADER = 1 << 20  # bytes; what is said of one member
_KEPT = 32  # members; no more threads than that decode

# What a tar file is packed with, by its first bytes, for a suffix is often wrong.
_PACKED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}


class Tar:
    """The files of a tar file that are no clutter, packed or not, in the order of storage.

    Only a whole reading tells how many there are. Where the file cannot be read from some place
    on, or is no tar file, the last member is `broken`.

    Args:
        path: of the file, or what stands for it in the members' paths.
        fetch: writes the file where it is told, if it is not at `path`; it is called when members
            are asked for, and what it wrote goes with the last of them.
    """

    names = None  # what only reading tells

    def __init__(self, path: str, fetch: Callable[[Path], object] | None = None) -> None:
        self.path = path
        self._fetch = fetch

    def __iter__(self) -> Iterator[Member]:
        if self._fetch is None:
            yield from self._members(_Stored(Path(self.path)))
            return
        handle, name = tempfile.mkstemp(prefix="wbczoo-", suffix=".tar")
        os.close(handle)
        contents = _Stored(Path(name), copy=True)
        try:
            self._fetch(contents.place)
        except FileNotFoundError:
            yield broken(self.path, "The file is not there.")
        else:
            yield from self._members(contents)

    def _members(self, contents: _Stored) -> Iterator[Member]:
        try:
            contents.open()
            for info in _headers(contents.place):
                name = info.name.removeprefix("./")
                if info.isdir() or not is_listed(name):
                    continue
                path = f"{self.path}/{name}"
                why = why_not(name, info.size, link=info.islnk() or info.issym())
                if why is None and (not info.isfile() or info.issparse()):
                    why = "It is no ordinary file."
                yield (
                    Member(path, name, Refusal(why)) if why else contents.announce(path, name, info)
                )
        except Exception as error:  # tarfile and the three that unpack share none
            yield broken(self.path, f"The archive cannot be read from here on: {one_line(error)}.")


class _Stored:
    """Reads a tar file's members, which threads ask for nearly in their order.

    In a packed file only the way forward is cheap. So whoever asks for a member also reads those
    before it that are still waited for, and they are kept until somebody asks for them.

    Args:
        place: of the tar file.
        copy: whether it is removed when the last member is gone.
    """

    def __init__(self, place: Path, *, copy: bool = False) -> None:
        self.place = place
        self._lock = threading.Lock()
        self._announced: deque[weakref.ref[Member]] = deque()
        self._kept: weakref.WeakKeyDictionary[Member, bytes] = weakref.WeakKeyDictionary()
        self._opened = ExitStack()
        if copy:
            self._opened.callback(place.unlink, missing_ok=True)
        weakref.finalize(self, self._opened.close)

    def open(self) -> None:
        """Open the file; raises whatever there is where that cannot be unpacked."""
        self._stream: io.BufferedIOBase = self._opened.enter_context(_unpacked(self.place))

    def announce(self, path: str, name: str, info: tarfile.TarInfo) -> Member:
        member = Member(path, name, self, (info.offset_data, info.size))
        self._announced.append(weakref.ref(member))
        return member

    def read(self, member: Member) -> bytes:
        with self._lock:
            kept = self._kept.pop(member, None)
            if kept is not None:
                return kept
            for earlier in self._pass(member):
                with suppress(ImageRefused):  # it will be refused when its turn comes
                    self._kept[earlier] = self._read(earlier)
            return self._read(member)

    def _pass(self, member: Member) -> list[Member]:
        """The last of those announced before `member` that nobody has read or given up."""
        passed: deque[Member] = deque(maxlen=_KEPT)
        offset, _ = member.where
        while self._announced:
            first = self._announced[0]()
            if first is not None and first.where[0] > offset:
                break
            self._announced.popleft()
            if first is not None and first is not member:
                passed.append(first)
        return [*passed]

    def _read(self, member: Member) -> bytes:
        offset, size = member.where
        try:
            self._stream.seek(offset)
            content = self._stream.read(size)
        except Exception as error:  # those of gzip, bz2 and lzma share none
            raise ImageRefused(f"It cannot be read from the archive: {one_line(error)}.") from None
        if len(content) < size:
            raise ImageRefused("The archive ends in the middle of it.")
        return content


class _Forward:
    """A tar file as tarfile reads its headers: onwards alone, and never much at once.

    A header can ask for gigabytes, or lead back to itself for ever (CVE-2025-8194).
    """

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self.last = b""

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, position: int) -> None:
        if position < self._stream.tell():
            raise tarfile.ReadError("a header leads backwards")
        self._stream.seek(position)

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LARGEST_HEADER:
            raise tarfile.ReadError("a header has no possible size")
        self.last = self._stream.read(size)
        return self.last


def _headers(path: Path) -> Iterator[tarfile.TarInfo]:
    """Each member's header; raises whatever there is where the file is damaged or ends early."""
    with _unpacked(path) as stream:
        forward = _Forward(stream)
        archive = tarfile.TarFile(fileobj=forward, mode="r")  # type: ignore[arg-type]
        while (info := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # it keeps them all
            if info.size < 0:
                raise tarfile.ReadError("a header has no possible size")
            yield info
        # Of a damaged header, too, tarfile only says that there is no further member.
        if forward.last != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("a header is damaged, or the end is missing")
        if not isinstance(stream, io.BufferedReader):
            while stream.read(1 << 20):  # the check sum of what was unpacked stands at its end
                pass


def _unpacked(path: Path) -> Any:
    with path.open("rb") as stream:
        start = stream.read(6)
    for magic, unpack in _PACKED.items():
        if start.startswith(magic):
            return unpack(path, "rb")
    return path.open("rb")

"""Images behind a URL that fsspec opens: one file, all below a place, or those that match."""

from __future__ import annotations

import glob
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

from wbczoo.errors import ImageRefused, UsageError
from wbczoo.images.archives.members import Member, Refusal, is_listed, why_not
from wbczoo.images.archives.tars import TAR, Tar
from wbczoo.images.urls import attempt, fetch, open_system


class Remote:
    """The files behind a URL, as an archive's members: in order, without clutter.

    Args:
        url: of a file, of a place whose files are taken, or with a pattern. What it needs to be
            opened, as credentials, is for fsspec's own settings and the surroundings to say.

    Attributes:
        path: the URL.
        names: of the files; None where tar files are among them, which only reading tells. They
            are opened where a URL or a pattern names them, and not below a place.

    Raises:
        UsageError: if the URL holds a password, or nothing is there.
        WbczooError: if fsspec or what it needs is not installed, or the place cannot be listed.
    """

    def __init__(self, url: str) -> None:
        self.path = url
        self.single = self._is_place = False
        self._system, self._root = open_system(url)
        self._files = attempt(url, self._list)
        if not self._files:
            raise UsageError(f"{url} is not there.")
        self._tars = () if self._is_place else TAR
        packed = any(name.lower().endswith(self._tars) for name in self._files)
        self.names = None if packed else [*self._files]

    def __iter__(self) -> Iterator[Member]:
        contents = Fetched(self._system, alone="::" in self.path)
        for name, (place, size) in self._files.items():
            path = self.path if self.single else name
            if name.lower().endswith(self._tars):
                yield from Tar(path, partial(fetch, path, self._system, place))
                continue
            why = why_not("", size or 0, link=False)
            yield Member(path, name, Refusal(why) if why else contents, place)

    def _list(self) -> dict[str, tuple[str, int | None]]:
        """Each file's name, with its place in the file system and its size, if that is known."""
        system, root = self._system, self._root
        if glob.has_magic(self.path):
            found = system.glob(root, detail=True)
        elif "http" in system.protocol:  # it lists nothing; whether a file is there, reading tells
            self.single = True
            found = {root: {}}
        elif system.isfile(root):
            self.single = True
            found = {root: {"size": system.size(root)}}
        else:
            self._is_place = True
            found = system.find(root, detail=True)
        files = {
            self._named(place, root): (place, told.get("size"))
            for place, told in found.items()
            if told.get("type", "file") == "file"
        }
        return {
            name: files[name]
            for name in sorted(files)
            if self.single or is_listed(name.removeprefix(self.path).lstrip("/"))
        }

    def _named(self, place: str, root: str) -> str:
        if "::" in self.path:
            return f"{self.path}/{place.removeprefix(root).lstrip('/')}"
        return str(self._system.unstrip_protocol(place))


class Fetched:
    """Contents that are fetched when they are asked for; may be pickled into other processes."""

    def __init__(self, system: Any, *, alone: bool) -> None:
        self._system, self._alone = system, alone
        # Files within a file share the place where that is read.
        self._lock = threading.Lock() if alone else nullcontext()

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Fetched, self._system, alone=self._alone), ()

    def read(self, member: Member) -> bytes:
        """A file's bytes.

        Raises:
            ImageRefused: if it is gone.
            WbczooError: if it cannot be had, also not by trying again: no fault of the image, so
                that the run stops, and goes on with --resume.
        """
        try:
            return attempt(str(member), lambda: self._fetch(member.where))
        except FileNotFoundError:
            raise ImageRefused("The file is not there.") from None

    def _fetch(self, place: str) -> bytes:
        with self._lock:
            return bytes(self._system.cat_file(place))

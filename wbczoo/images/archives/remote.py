"""Images behind a URL that fsspec opens: one file, all below a place, or those that match."""

from __future__ import annotations

import glob
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, TypeVar
from urllib.parse import urlsplit

from wbczoo.errors import ImageRefused, UsageError, WbczooError
from wbczoo.images.archives.members import Member, Refusal, is_listed, why_not
from wbczoo.text import one_line

T = TypeVar("T")

_TRIES = 4
_PAUSE = 0.5  # seconds behind the first try, twice as long behind each further one
_TIMEOUT = 60.0  # seconds that an answer over HTTP may take


def is_url(path: str) -> bool:
    """Whether a name is a URL, such as `s3://bucket/smears` or `zip::https://host/smears.zip`."""
    return "://" in path


class Remote:
    """The files behind a URL, as an archive's members: in order, without clutter.

    Args:
        url: of a file, of a place whose files are taken, or with a pattern. What it needs to be
            opened, as credentials, is for fsspec's own settings and the surroundings to say.

    Attributes:
        path: the URL.
        names: of the files; behind `path`, or alone.

    Raises:
        UsageError: if the URL holds a password, or nothing is there.
        WbczooError: if fsspec or what it needs is not installed, or the place cannot be listed.
    """

    def __init__(self, url: str) -> None:
        self.path = url
        self.single = False
        if any("@" in urlsplit(part).netloc for part in url.split("::")):
            raise UsageError(
                "A URL with a password would stand in every row. Give the password by the "
                "surroundings, as fsspec's file system reads it."
            )
        self._files = _attempt(url, self._list)
        if not self._files:
            raise UsageError(f"{url} is not there.")
        self.names = [*self._files]

    def __iter__(self) -> Iterator[Member]:
        contents = _Fetched(self._system, alone="::" in self.path)
        for name, (place, size) in self._files.items():
            path = self.path if self.single else name
            why = why_not("", size or 0, link=False)
            yield Member(path, name, Refusal(why) if why else contents, place)

    def _list(self) -> dict[str, tuple[str, int | None]]:
        """Each file's name, with its place in the file system and its size, if that is known."""
        from fsspec.core import url_to_fs

        system, root = url_to_fs(self.path, **_options(self.path))
        self._system = system
        if glob.has_magic(self.path):
            found = system.glob(root, detail=True)
        elif "http" in system.protocol:  # it lists nothing; whether a file is there, reading tells
            self.single = True
            found = {root: {}}
        elif system.isfile(root):
            self.single = True
            found = {root: {"size": system.size(root)}}
        else:
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


class _Fetched:
    """Contents that are fetched when they are asked for."""

    def __init__(self, system: Any, *, alone: bool) -> None:
        self._system = system
        # Files within a file share the place where that is read.
        self._lock = threading.Lock() if alone else nullcontext()

    def read(self, member: Member) -> bytes:
        """A file's bytes.

        Raises:
            ImageRefused: if it is gone.
            WbczooError: if it cannot be had, also not by trying again: no fault of the image, so
                that the run stops, and goes on with --resume.
        """
        try:
            return _attempt(str(member), lambda: self._fetch(member.where))
        except FileNotFoundError:
            raise ImageRefused("The file is not there.") from None

    def _fetch(self, place: str) -> bytes:
        with self._lock:
            return bytes(self._system.cat_file(place))


def _options(url: str) -> dict[str, Any]:
    """A time limit for what comes over HTTP, also below another file system."""
    last = url.split("::")[-1].partition("://")[0]
    if last not in ("http", "https"):
        return {}
    import aiohttp

    own = {"client_kwargs": {"timeout": aiohttp.ClientTimeout(total=_TIMEOUT)}}
    return {last: own} if "::" in url else own


def _attempt(url: str, work: Callable[[], T]) -> T:
    """What comes of some work on a network, which is tried again where that may help."""
    for turn in range(_TRIES):
        try:
            return work()
        except ImportError as error:
            raise WbczooError(
                f"{url} needs {error.name or 'a package'}: pip install 'wbczoo[remote]', or the "
                f"package that fsspec names: {one_line(error)}"
            ) from None
        except (FileNotFoundError, UsageError):
            raise
        except Exception as error:  # each file system has exceptions of its own
            if turn + 1 == _TRIES:
                raise WbczooError(
                    f"{url} cannot be read, tried {_TRIES} times: {one_line(error)}. "
                    "--resume goes on with a run that it stopped."
                ) from None
            time.sleep(_PAUSE * 2**turn)
    raise AssertionError

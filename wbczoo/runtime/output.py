"""Where rows go: a file of this machine, or a URL to which they are uploaded when whole."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from wbczoo import files
from wbczoo.errors import UsageError
from wbczoo.images.urls import fetch, is_there, is_url, open_system, upload


class Output:
    """A place for a file.

    Args:
        named: a path, or a URL that fsspec writes to.

    Attributes:
        path: where the file is made; of a URL this lies in the cache of this machine, in a place
            that the same URL has again, so that a run that was stopped goes on here.
    """

    def __init__(self, named: str | os.PathLike[str]) -> None:
        self._named = os.fspath(named)
        self.is_url = is_url(self._named)
        if self.is_url:
            name = files.flat_name(self._named, PurePosixPath(self._named).suffix)
            self.path = files.cache_folder() / "outputs" / name
        else:
            self.path = Path(self._named)

    def __str__(self) -> str:
        return self._named

    def is_there(self) -> bool:
        """Whether the file is there.

        Raises:
            UsageError: if nothing can be written behind the URL.
            WbczooError: if what is behind the URL cannot be asked.
        """
        return is_there(self._named) if self.is_url else self.path.exists()

    def check(self, *, overwrite: bool) -> None:
        """See that a URL may be written to; of a file of this machine that is seen elsewhere.

        Raises:
            UsageError: if it is there, unless `overwrite`; or if nothing can be written there.
            WbczooError: if what is behind the URL cannot be asked.
        """
        if self.is_url and is_there(self._named) and not overwrite:
            raise UsageError(
                f"{self} is there already. Give --overwrite to replace it, or name another file."
            )

    def put(self, whole: Path, suffix: str = "") -> None:
        """Give a whole file its place, or that of the same name with a suffix.

        Raises:
            WbczooError: if it cannot be uploaded; it then stays.
        """
        if self.is_url:
            upload(whole, self._named + suffix)
            whole.unlink()
        else:
            whole.replace(self.path.with_name(self.path.name + suffix))


@contextmanager
def local_copies(named: Sequence[str], *suffixes: str) -> Iterator[list[Path]]:
    """Files under their own paths, and copies of those behind URLs for a while.

    Args:
        suffixes: of further files that lie beside each, and are copied too.

    Raises:
        UsageError: if one is not there.
        WbczooError: if one cannot be read.
    """
    with TemporaryDirectory(prefix="wbczoo-") as folder:
        yield [
            _copied(url, Path(folder) / f"{place}", suffixes) if is_url(url) else Path(url)
            for place, url in enumerate(named)
        ]


def _copied(url: str, folder: Path, suffixes: Sequence[str]) -> Path:
    folder.mkdir()
    target = folder / PurePosixPath(url).name
    for suffix in ("", *suffixes):
        system, place = open_system(url + suffix)
        try:
            fetch(url + suffix, system, place, target.with_name(target.name + suffix))
        except FileNotFoundError:
            raise UsageError(f"{url}{suffix} is not there.") from None
    return target

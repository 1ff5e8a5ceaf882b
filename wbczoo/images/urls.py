"""Files behind URLs that fsspec opens are fetched and written here, each whole or not at all."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from wbczoo.errors import UsageError, WbczooError
from wbczoo.machine import how_to_install
from wbczoo.text import one_line

T = TypeVar("T")

_TRIES = 4
_PAUSE = 0.5  # seconds behind the first try, twice as long behind each further one
_TIMEOUT = 60.0  # seconds that an answer over HTTP may take


def is_url(path: str) -> bool:
    """Whether a name is a URL, such as `s3://bucket/smears` or `zip::https://host/smears.zip`."""
    return "://" in path


def open_system(url: str) -> tuple[Any, str]:
    """The file system of fsspec that a URL names, and the place in it.

    What it needs to be opened, as credentials, is for fsspec's own settings and the surroundings
    to say.

    Raises:
        UsageError: if the URL holds a password.
        WbczooError: if fsspec or what it needs is not installed, or the system cannot be reached.
    """
    if any("@" in urlsplit(part).netloc for part in url.split("::")):
        raise UsageError(
            "A URL with a password would stand in every row. Give the password by the "
            "surroundings, as fsspec's file system reads it."
        )

    def work() -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        system, place = url_to_fs(url, **_options(url))
        return system, place

    return attempt(url, work)


def attempt(url: str, work: Callable[[], T], done: str = "read") -> T:
    """What comes of some work on a network, which is tried again where that may help.

    Args:
        done: what the work does to the URL, for the sentence.

    Raises:
        FileNotFoundError, UsageError: as the work does.
        WbczooError: if a package is missing, or each try failed.
    """
    for turn in range(_TRIES):
        try:
            return work()
        except ImportError as error:
            raise WbczooError(
                f"{url} needs {error.name or 'a package'}: {how_to_install('remote')}, or the "
                f"package that fsspec names: {one_line(error)}"
            ) from None
        except (FileNotFoundError, UsageError):
            raise
        except Exception as error:  # each file system has exceptions of its own
            if isinstance(error, ValueError):  # no such protocol, no bucket's name
                raise WbczooError(f"{url} cannot be {done}: {one_line(error)}.") from None
            if turn + 1 == _TRIES:
                raise WbczooError(
                    f"{url} cannot be {done}, tried {_TRIES} times: {one_line(error)}. "
                    "What has --resume goes on by it."
                ) from None
            time.sleep(_PAUSE * 2**turn)
    raise AssertionError


def fetch(url: str, system: Any, place: str, target: Path) -> None:
    """Write a file behind a URL to `target`.

    Raises:
        FileNotFoundError: if it is gone.
        WbczooError: as `attempt`, also where fewer bytes came than there are.
    """

    def work() -> None:
        system.get_file(place, target)
        size = system.info(place).get("size")
        if size is not None and size != target.stat().st_size:
            raise OSError(f"{target.stat().st_size} of {size} bytes came")

    attempt(url, work)


def is_there(url: str) -> bool:
    """Whether there is a file behind a URL that is to be written.

    Raises:
        UsageError: if nothing can be written to such a URL, or it holds a password.
        WbczooError: as `open_system`.
    """
    if "::" in url or url.startswith(("http:", "https:")):
        raise UsageError(
            f"{url} cannot be written: over HTTP and into archives no file comes whole. Name a "
            "place such as s3://bucket/rows.jsonl, or a file of this machine."
        )
    system, place = open_system(url)
    return attempt(url, lambda: bool(system.exists(place)))


def upload(source: Path, url: str) -> None:
    """Write a file to a URL, where it appears when it is whole; an earlier one is replaced.

    Raises:
        WbczooError: as `attempt`; what was there stands.
    """
    system, place = open_system(url)

    def work() -> None:
        # What a transaction writes is renamed at its end, or an upload that ends only there.
        with system.transaction, system.open(place, "wb") as target, source.open("rb") as stream:
            shutil.copyfileobj(stream, target, 1 << 20)

    if "file" in system.protocol:
        Path(place).parent.mkdir(parents=True, exist_ok=True)
    attempt(url, work, "written")


def _options(url: str) -> dict[str, Any]:
    """A time limit for what comes over HTTP, also below another file system."""
    last = url.split("::")[-1].partition("://")[0]
    if last not in ("http", "https"):
        return {}
    import aiohttp

    own = {"client_kwargs": {"timeout": aiohttp.ClientTimeout(total=_TIMEOUT)}}
    return {last: own} if "::" in url else own

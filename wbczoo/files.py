"""How files reach the disk: written aside and renamed, so that no reader meets half of one."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from wbczoo.errors import WbczooError

# It can only be read by setting it, which threads must not do at once.
_UMASK = os.umask(0)
os.umask(_UMASK)


def cache_folder() -> Path:
    """Where what can be made again is kept: `$WBCZOO_CACHE`, or the user's cache folder."""
    named = os.environ.get("WBCZOO_CACHE")
    if named:
        return Path(named)
    import platformdirs

    return Path(platformdirs.user_cache_dir("wbczoo"))


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes the place of `path` at the end.

    The bytes are on the disk before the rename. After an error the old file stands unchanged
    and nothing is left over.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        prefix=f".{path.name}.", suffix=path.suffix or ".part", dir=path.parent
    )
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        _flush_to_disk(aside)
        # mkstemp's files are private; a result is as readable as any other new file.
        aside.chmod(0o666 & ~_UMASK)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, aside and renamed."""
    with written_aside(path) as aside:
        aside.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` as UTF-8, aside and renamed."""
    write_bytes(path, content.encode())


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON document of format 1; NaN and infinity are refused, for JSON has neither."""
    text = json.dumps({"format": 1, **document}, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON document of format 1.

    Raises:
        WbczooError: if the file is missing, is no JSON object, or is of another format.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WbczooError(f"{path} is not there.") from None
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, no JSON
        raise WbczooError(f"{path} cannot be read as JSON: {error}.") from None
    found = document.get("format") if isinstance(document, dict) else None
    if not isinstance(document, dict) or found != 1:
        raise WbczooError(
            f"{path} has format {found!r}, and this version of wbczoo reads format 1. "
            "Use the version that wrote it, or make it again."
        )
    return document


@contextmanager
def locked(
    path: Path, busy: Callable[[], object] = lambda: None, *, remove: bool = False
) -> Iterator[None]:
    """Hold the lock file `path` against other processes and threads.

    Args:
        busy: called once if another holds it. What it raises ends the wait, else that goes on.
        remove: take the file away at the end; only where `busy` raises, for whoever waits holds it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    with suppress(Timeout):
        lock.acquire(timeout=0)
    if not lock.is_locked:
        busy()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
        if remove:
            path.unlink(missing_ok=True)


def flat_name(path: str, suffix: str) -> str:
    """A file's name for what belongs to a path: of the path's own name, and of no other path.

    Args:
        path: as the user gave it, or within an archive; any text.
        suffix: of the new file, such as `.png`.
    """
    stem = re.sub(r"[^\w-]+", "_", PurePosixPath(path).stem)[:40].strip("_-") or "image"
    digest = hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{stem}-{digest[:12]}{suffix}"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""What an image file is: how it is called, which names are clutter, and how its bytes are read."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from wbczoo.errors import ImageRefused, UsageError

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp"}
)
LARGEST_FILE = 1 << 30  # bytes; 100 megapixels of uncompressed RGBA take 0.4 GB

# What macOS adds to archives, a Synology disk to folders (small copies of images), and Windows.
_CLUTTER = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN"})


def is_clutter(name: str) -> bool:
    """Whether a path within a folder or archive is hidden, or what a system left there."""
    parts = PurePosixPath(name).parts
    return any((part.startswith(".") and part != "..") or part in _CLUTTER for part in parts)


def is_image(name: str) -> bool:
    """Whether a name's suffix, in any case, is that of an image which is read."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def suffix_of(name: str) -> str:
    """A name's suffix as it is counted among what was left out."""
    return PurePosixPath(name).suffix.lower() or "without a suffix"


def read_file(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        ImageRefused: unless it is an ordinary file, there, and no larger than an image can be.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageRefused("It is a folder, not an image.")
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device may never end
            raise ImageRefused("It is no ordinary file.")
        if status.st_size > LARGEST_FILE:
            raise ImageRefused("The file is larger than 1 GiB.")
        return path.read_bytes()
    except FileNotFoundError:
        raise ImageRefused("The file is not there.") from None
    except OSError as error:
        raise ImageRefused(f"The file cannot be read: {error.strerror}.") from None
    except ValueError as error:  # a name that no file can have
        raise ImageRefused(f"The file cannot be read: {error}.") from None


def claim_file(
    path: Path, option: str, *, overwrite: bool, inputs: Iterable[str | Path] = ()
) -> None:
    """See that a result may be written to a file, which need not be there; nothing is changed.

    Args:
        option: that named it, for the sentence.
        overwrite: whether the user wants what is there replaced.
        inputs: files that are read.

    Raises:
        UsageError: if it is named like an image, is one of the inputs, or no ordinary file; or if
            it is there, unless `overwrite`.
    """
    if is_image(path.name):
        raise UsageError(f"{option} names {path}, an image; name another file.")
    if not path.exists():
        return
    if not path.is_file():
        raise UsageError(f"{option} names {path}, which is no ordinary file; name another.")
    if any(Path(each).exists() and path.samefile(each) for each in inputs):
        raise UsageError(f"{option} names {path}, which is to be read; name another file.")
    if not overwrite:
        raise UsageError(
            f"{path} is there already. Give --overwrite to replace it, or name another file."
        )


def claim_folder(
    path: Path, option: str, *, overwrite: bool, inputs: Iterable[str | Path] = ()
) -> None:
    """See that results may be written into a folder, which need not be there; nothing is changed.

    Args:
        option: that named it, for the sentence.
        overwrite: whether the user wants files there replaced.
        inputs: files that are read.

    Raises:
        UsageError: if it is no folder, or one of the inputs lies in it or below; or if something
            is in it, unless `overwrite`.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise UsageError(f"{option} names {path}, which is no folder; name another.")
    folder = path.resolve()
    if any(
        place.resolve().is_relative_to(folder) for place in {Path(one).parent for one in inputs}
    ):
        raise UsageError(
            f"{option} names {path}, where images lie that are to be read; name another folder."
        )
    if not overwrite and any(path.iterdir()):
        raise UsageError(
            f"{path} is not empty. Give --overwrite to replace what has the same names there, or "
            "name another folder."
        )

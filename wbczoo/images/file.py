"""What an image file is: how it is called, which names are clutter, and how its bytes are read."""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath

from wbczoo.errors import ImageRefused

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

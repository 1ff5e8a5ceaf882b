"""Where a data set's bytes lie, a folder or a zip file, read through one door."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path, PureWindowsPath

from wbczoo.errors import UsageError, WbczooError

# No photograph is larger; a zip that claims so is a bomb or broken.
_LARGEST_MEMBER = 1 << 30


class Source:
    """A folder or a zip file of images; safe to read from several threads.

    Raises:
        UsageError: if `root` is not there, or is neither a folder nor a zip file.
        WbczooError: if the zip is broken, or holds a name that leads out of it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._zip: zipfile.ZipFile | None = None
        if root.is_dir():
            return
        if not root.exists():
            raise UsageError(f"{root} is not there. Give a folder or a zip file of images.")
        if not root.is_file() or not zipfile.is_zipfile(root):
            raise UsageError(f"{root} is neither a folder nor a readable zip file.")
        try:
            self._zip = zipfile.ZipFile(root)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
            raise WbczooError(f"{root} cannot be opened as a zip file: {error}.") from None
        for name in self._zip.namelist():
            # A Windows path knows both slashes and drives, so it tells on every system alike.
            path = PureWindowsPath(name)
            if path.root or path.drive or ".." in path.parts:
                raise WbczooError(
                    f"{root} holds the name {name!r}, which leads out of the archive. Nothing "
                    "of it was read; pack the images again without such names."
                )

    def read(self, path: str) -> bytes:
        """The bytes of one file; raises WbczooError with its path where they cannot be read."""
        try:
            if self._zip is None:
                return _read_ordinary(self.root / path)
            if self._zip.getinfo(path).file_size > _LARGEST_MEMBER:
                raise WbczooError(f"{self.root}: {path} unpacks to more than 1 GiB.")
            return self._zip.read(path)
        except WbczooError:
            raise
        except (OSError, KeyError, RuntimeError, zipfile.BadZipFile, EOFError) as error:
            raise WbczooError(f"{self.root}: {path} cannot be read: {error}.") from None
        except Exception as error:  # zlib.error and lzma.LZMAError share no base
            raise WbczooError(f"{self.root}: {path} cannot be unpacked: {error}.") from None


def _read_ordinary(path: Path) -> bytes:
    """A file's bytes; a pipe or a device, which may never end, is an error."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError("it is no ordinary file")
    if found.st_size > _LARGEST_MEMBER:
        raise OSError("it is larger than 1 GiB")
    return path.read_bytes()

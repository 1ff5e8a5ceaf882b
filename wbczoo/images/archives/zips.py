"""The files of a zip file, sorted by name, each unpacked in memory when it is asked for."""

from __future__ import annotations

import stat
import threading
import weakref
import zipfile
from collections.abc import Iterator

from wbczoo.errors import ImageRefused, WbczooError
from wbczoo.images.archives.members import Member, Refusal, broken, is_listed, why_not
from wbczoo.text import one_line


class Zip:
    """The files of a zip file that are no clutter, sorted by name; each reading opens it again.

    Attributes:
        names: theirs.

    Raises:
        WbczooError: if the file cannot be read, or is no zip file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                self.names = [info.filename for info in _files_in(archive)]
        except Exception as error:  # of damaged bytes zipfile makes many exceptions
            raise WbczooError(
                f"{path} cannot be opened as a zip file: {one_line(error)}."
            ) from None

    def __iter__(self) -> Iterator[Member]:
        try:
            archive = zipfile.ZipFile(self.path)
            contents = _Zipped(archive)  # which closes it when the last member is gone
            found = _files_in(archive)
        except Exception as error:
            yield broken(self.path, f"The archive can no longer be read: {one_line(error)}.")
            return
        for info in found:
            path = f"{self.path}/{info.filename}"
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the system knows no kinds
            why = why_not(info.filename, info.file_size, link=kind == stat.S_IFLNK)
            if why is None and kind not in (0, stat.S_IFREG):
                why = "It is no ordinary file."
            if why is None and info.flag_bits & 0x1:
                why = "It is encrypted; pack the images without a password."
            yield (
                Member(path, info.filename, Refusal(why))
                if why
                else Member(path, info.filename, contents, info)
            )


class _Zipped:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._lock = threading.Lock()
        # Left to the garbage collector, the file under it may be met first and complain.
        weakref.finalize(self, archive.close)

    def read(self, member: Member) -> bytes:
        info = member.where
        # In small pieces: where a header lies about the size, the piece that tells is unpacked
        # whole. Only deflate keeps to the size that is asked for.
        piece = (
            1 << 16 if info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) else 4096
        )
        try:
            with self._lock, self._archive.open(info) as stream:
                return b"".join(iter(lambda: stream.read(piece), b""))
        except Exception as error:  # those of zlib, bz2, lzma and zipfile share none
            raise ImageRefused(f"It cannot be read from the archive: {one_line(error)}.") from None


def _files_in(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    found = [i for i in archive.infolist() if not i.is_dir() and is_listed(i.filename)]
    return sorted(found, key=lambda info: info.filename)

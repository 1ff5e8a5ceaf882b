"""Zip and tar files, whose members are read as files are."""

from __future__ import annotations

from wbczoo.images.archives.tars import TAR, Tar
from wbczoo.images.archives.zips import Zip

ZIP = (".zip",)


def open_archive(path: str) -> Zip | Tar | None:
    """The archive that a file's name says it is, or None; WbczooError for a zip that is none."""
    if path.lower().endswith(ZIP):
        return Zip(path)
    return Tar(path) if path.lower().endswith(TAR) else None

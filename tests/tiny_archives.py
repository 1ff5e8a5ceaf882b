"""Archives for the tests of the runtime: three images, and files that are none."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

from tiny_images import picture

CONTENT = {
    "b/2.png": picture(2),
    "a/1.JPG": picture(1),
    "b/10.png": picture(10),
    "notes.txt": b"none",
    ".hidden/3.png": picture(3),
    "a/.4.png": picture(4),
    "__MACOSX/a/._1.JPG": b"\0",
}
IMAGES = ["b/2.png", "a/1.JPG", "b/10.png"]


def write_zip(path: Path, content: dict[str, bytes] = CONTENT, packing: int = 8) -> Path:
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.mkdir("folder.png")
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def write_tar(
    path: Path, content: dict[str, bytes] = CONTENT, more: tuple[tarfile.TarInfo, ...] = ()
) -> Path:
    mode = {"gz": "w:gz", "tgz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}.get(path.suffix[1:], "w")
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        folder = tarfile.TarInfo("folder.png")
        folder.type = tarfile.DIRTYPE
        for info in (folder, *more):
            archive.addfile(info)
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path

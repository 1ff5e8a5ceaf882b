"""Zip and tar files: which images they give, in which order, and what is refused, each once."""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import tarfile
import threading
import weakref
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tiny_archives import CONTENT, IMAGES, write_tar, write_zip
from tiny_images import picture

from wbczoo.errors import ImageRefused, UsageError, WbczooError
from wbczoo.images.archives.members import Member
from wbczoo.images.walk import Images
from wbczoo.runtime import Session, find_images, predict_paths


def reason(member: object) -> str:
    """Why a member is refused."""
    assert isinstance(member, Member)
    with pytest.raises(ImageRefused) as refusal:
        member.read()
    return str(refusal.value)


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_zip_gives_its_images_sorted_by_name(
    packing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_zip(Path("cells.zip"), packing=packing)
    found = find_images(["cells.zip"])
    assert [str(image) for image in found] == [f"cells.zip/{name}" for name in sorted(IMAGES)]
    assert [image.read() for image in found] == [CONTENT[name] for name in sorted(IMAGES)]  # type: ignore[union-attr]
    assert Images(["cells.zip"]).total == 3


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "TGZ", "tar.bz2", "tar.xz"])
def test_a_tar_gives_its_images_as_they_are_stored(suffix: str, tmp_path: Path) -> None:
    path = write_tar(tmp_path / f"cells.{suffix.lower()}")
    path = path.rename(tmp_path / f"cells.{suffix}")
    found = find_images([str(path)])
    assert [str(image) for image in found] == [f"{path}/{name}" for name in IMAGES]
    assert [image.read() for image in found] == [CONTENT[name] for name in IMAGES]  # type: ignore[union-attr]
    # In another order it takes longer, and again it is the same.
    assert found[2].read() == CONTENT[IMAGES[2]]  # type: ignore[union-attr]
    assert found[0].read() == CONTENT[IMAGES[0]]  # type: ignore[union-attr]
    assert Images([str(path)]).total is None


def test_how_a_tar_is_packed_is_told_by_its_bytes(tmp_path: Path) -> None:
    plain = write_tar(tmp_path / "cells.tar").read_bytes()
    for pack in (gzip.compress, bz2.compress, lzma.compress):
        (tmp_path / "cells.tar").write_bytes(pack(plain))
        assert len(find_images([str(tmp_path / "cells.tar")])) == 3
    (tmp_path / "cells.tar.gz").write_bytes(plain)
    assert len(find_images([str(tmp_path / "cells.tar.gz")])) == 3


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_an_archive_that_holds_nothing_or_is_none_gets_a_sentence(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    write = write_zip if name.endswith("zip") else write_tar
    write(path, {"notes.txt": b"none", ".a.png": picture(1)})
    with pytest.raises(UsageError, match=r"archive .* holds no image; looked for"):
        find_images([str(path)])
    for content in (b"", b"no archive", picture(0), b"\x1f\x8b\x08garbage", b"PK\x03\x04garbage"):
        path.write_bytes(content)
        with pytest.raises(WbczooError, match=f"{name}") as told:
            find_images([str(path)])
        assert str(told.value).endswith(".")
        assert not isinstance(told.value, UsageError)


def test_members_of_a_zip_that_are_no_files_or_cannot_be_read_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, kind in (("1-link.png", stat.S_IFLNK), ("2-device.png", stat.S_IFBLK)):
            info = zipfile.ZipInfo(name)
            info.external_attr = (kind | 0o644) << 16
            archive.writestr(info, b"/etc/passwd")
        archive.writestr("../3-out.png", picture(3))
        archive.writestr("4-lie.png", bytes(60 << 20))
        archive.writestr("5-damaged.png", picture(5))
        archive.writestr("6-large.png", picture(6))
        archive.writestr("7-locked.png", picture(7))
        archive.writestr("8-good.png", picture(8))
        archive.getinfo("4-lie.png").file_size = 1000  # the directory is written at the end
        archive.getinfo("6-large.png").file_size = (1 << 30) + 1
        archive.getinfo("7-locked.png").flag_bits |= 1
        damaged = archive.getinfo("5-damaged.png").header_offset + 80
    content = bytearray(path.read_bytes())
    content[damaged] ^= 255
    path.write_bytes(content)
    found = {str(image).removeprefix(f"{path}/"): image for image in find_images([str(path)])}
    expected = {
        "../3-out.png": "leads out of the archive",
        "1-link.png": "It is a link",
        "2-device.png": "no ordinary file",
        "4-lie.png": "cannot be read from the archive: Bad CRC-32",
        "5-damaged.png": "cannot be read from the archive",
        "6-large.png": "larger than 1 GiB",
        "7-locked.png": "without a password",
    }
    assert list(found) == [*expected, "8-good.png"]
    for name, why in expected.items():
        assert why in reason(found[name])
        assert reason(found[name]).endswith(".")
    assert found["8-good.png"].read() == picture(8)  # type: ignore[union-attr]


def tar_info(name: str, **attributes: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info


def test_members_of_a_tar_that_are_no_files_are_refused(tmp_path: Path) -> None:
    odd = (
        tar_info("link.png", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        tar_info("hard.png", type=tarfile.LNKTYPE, linkname="b/2.png"),
        tar_info("device.png", type=tarfile.BLKTYPE),
        tar_info("pipe.png", type=tarfile.FIFOTYPE),
        tar_info("../out.png"),
    )
    found = find_images([str(write_tar(tmp_path / "odd.tar.gz", more=odd))])
    assert "a link" in reason(found[0])
    assert "a link" in reason(found[1])
    assert "no ordinary file" in reason(found[2])
    assert "no ordinary file" in reason(found[3])
    assert "leads out" in reason(found[4])
    assert [image.read() for image in found[5:]] == [CONTENT[name] for name in IMAGES]  # type: ignore[union-attr]


def headers(*infos: tarfile.TarInfo) -> bytes:
    return b"".join(info.tobuf(tarfile.USTAR_FORMAT) for info in infos)


def negative_size() -> bytes:
    """A header whose size leads back to itself for ever (CVE-2025-8194)."""
    block = bytearray(tar_info("1.png").tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 10 + (-512 & 0xFFFF).to_bytes(2, "big")
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


GOOD = tar_info("0.png", size=512)


# What follows a good image, the images that then have rows, and why there are no more.
DAMAGE = {
    "cut within a header": (headers(tar_info("1.png"))[:300], [], "end is missing"),
    "cut within an image": (
        headers(tar_info("1.png", size=4000)) + bytes(600), ["1.png"], "unexpected end"
    ),
    "without its end": (b"", [], "end is missing"),
    "a damaged header": (b"x" * 512 + bytes(1024), [], "header is damaged"),
    "a size below nothing": (negative_size() + bytes(1024), [], "no possible size"),
    "a header of gigabytes": (
        headers(tar_info("x", type=tarfile.XHDTYPE, size=7 << 30)), [], "no possible size"
    ),
    "more than is there": (headers(tar_info("1.png", size=7 << 30)), ["1.png"], "unexpected end"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_left_of_a_damaged_tar_is_one_refused_row(
    kind: str, packed: bool, model: Path, tmp_path: Path
) -> None:
    rest, between, why = DAMAGE[kind]
    content = headers(GOOD) + picture(0)[:512].ljust(512, b"\0") + rest
    path = tmp_path / "odd.tar"
    path.write_bytes(gzip.compress(content) if packed else content)
    (tmp_path / "z.png").write_bytes(picture(1))
    images = Images([str(path), str(tmp_path / "z.png")])
    rows = list(predict_paths(Session(model, device="cpu"), images))
    assert [Path(row["path"]).name for row in rows] == ["0.png", *between, "odd.tar", "z.png"]
    assert rows[-2]["path"] == str(path)
    assert rows[-2]["error"].startswith("The archive cannot be read from here on: ")
    assert why in rows[-2]["error"]
    assert "tasks" in rows[-1]


def test_a_packed_tar_whose_check_sum_fails_is_told(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar.gz")
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    *good, last = find_images([str(path)])
    assert len(good) == 3
    assert "CRC" in reason(last)


def test_threads_read_a_packed_tar_in_any_order(tmp_path: Path) -> None:
    content = {f"{number}.png": bytes([number]) * 3000 for number in range(200)}
    path = write_tar(tmp_path / "many.tar.xz", content)
    found = find_images([str(path)])
    late = threading.Event()

    def read(number: int) -> bytes:
        if number % 7 == 0:  # the others overtake it
            late.wait(0.01)
        return found[number].read()  # type: ignore[union-attr]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(200))) == list(content.values())
    late.set()
    assert found[0].read() == content["0.png"]  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["many.zip", "many.tar.gz", "many.tar"])
def test_few_members_are_in_memory_at_once(name: str, model: Path, tmp_path: Path) -> None:
    write = write_zip if name.endswith("zip") else write_tar
    path = write(tmp_path / name, {f"{number:03}.png": picture(number) for number in range(100)})
    living: weakref.WeakSet[object] = weakref.WeakSet()

    def watched() -> Iterator[str | Member]:
        for member in Images([str(path)]):
            living.add(member)
            yield member

    most = rows = 0
    for row in predict_paths(Session(model, device="cpu"), watched(), batch_size=4):
        assert "tasks" in row
        rows += 1
        most = max(most, len(living))
    assert rows == 100
    assert most <= 16  # three batches, and what is on its way

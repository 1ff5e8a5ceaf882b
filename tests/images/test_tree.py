"""A data set's bytes are read from a folder or a zip file alike, and never from outside of it."""

from __future__ import annotations

import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wbczoo.errors import ImageRefused, UsageError, WbczooError
from wbczoo.images.tree import Tree

MEMBERS = {f"class/{number}.jpg": bytes([number]) * 1000 + b"end" for number in range(40)}


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A zip file of forty members."""
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in MEMBERS.items():
            archive.writestr(name, content)
    return path


def patch(path: Path, field: int, value: bytes, local: int | None = None) -> None:
    """Overwrite a field of the last member's central header, and its local one's where given."""
    content = bytearray(path.read_bytes())
    central = content.rindex(b"PK\x01\x02")
    content[central + field : central + field + len(value)] = value
    if local is not None:
        start = struct.unpack_from("<I", content, central + 42)[0] + local
        content[start : start + len(value)] = value
    path.write_bytes(bytes(content))


def test_a_folder_and_a_zip_file_give_the_same_bytes(packed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(folder)
    for name, content in MEMBERS.items():
        assert Tree(packed).read(name) == Tree(folder).read(name) == content


def test_many_threads_may_read_at_once(packed: Path) -> None:
    source = Tree(packed)
    names = [*MEMBERS] * 20
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(source.read, names)) == [MEMBERS[name] for name in names]


@pytest.mark.parametrize(
    "name",
    [
        "../up.jpg",
        "a/../../up.jpg",
        "a/..",
        "/etc/up.jpg",
        "..\\up.jpg",
        "a\\..\\..\\up.jpg",
        "\\up.jpg",
        "C:up.jpg",
        "C:/up.jpg",
        "C:\\up.jpg",
        "\\\\server\\share\\up.jpg",
        "//server/share/up.jpg",
    ],
)
def test_a_name_that_leads_out_of_the_archive_is_refused(name: str, packed: Path) -> None:
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(name, b"outside")
    with pytest.raises(WbczooError, match=r"leads outside the archive.*pack") as caught:
        Tree(packed)
    assert caught.value.exit_code == 1
    assert str(packed) in str(caught.value)
    assert repr(name) in str(caught.value)


def test_names_with_dots_that_stay_inside_are_read(packed: Path) -> None:
    names = ["a../b.jpg", "a/b..c.jpg", "./a.jpg"]
    with zipfile.ZipFile(packed, "a") as archive:
        for name in names:
            archive.writestr(name, name.encode())
    source = Tree(packed)
    assert [source.read(name) for name in names] == [name.encode() for name in names]


def test_what_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere is not there; give the folder or the zip file"):
        Tree(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"", b"some text", b"PK\x03\x04 and no more"])
def test_a_file_that_is_no_zip_is_wrong_usage(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_bytes(content)
    with pytest.raises(UsageError, match=r"data\.zip is neither a folder nor a zip file"):
        Tree(tmp_path / "data.zip")


def test_a_zip_cut_in_the_middle_is_told(packed: Path) -> None:
    packed.write_bytes(packed.read_bytes()[:-500])
    with pytest.raises(UsageError, match=r"data\.zip is neither a folder nor a zip file"):
        Tree(packed)


@pytest.mark.parametrize(
    ("field", "value"),
    [(0, b"XX"), (6, struct.pack("<H", 99))],
    ids=["broken table", "newer than this reader"],
)
def test_a_zip_whose_table_cannot_be_read_is_told(field: int, value: bytes, packed: Path) -> None:
    patch(packed, field, value)
    with pytest.raises(WbczooError, match=r"data\.zip cannot be opened as a zip file: "):
        Tree(packed)


def test_a_damaged_member_is_told_and_its_neighbours_are_read(packed: Path) -> None:
    content = bytearray(packed.read_bytes())
    content[content.index(b"class/3.jpg") + 13] ^= 0xFF
    packed.write_bytes(bytes(content))
    source = Tree(packed)
    with pytest.raises(WbczooError, match=r"cannot be read from the archive: "):
        source.read("class/3.jpg")
    assert source.read("class/4.jpg") == MEMBERS["class/4.jpg"]


def test_a_locked_member_is_told(packed: Path) -> None:
    patch(packed, 8, struct.pack("<H", 1), local=6)
    with pytest.raises(WbczooError, match=r"It is encrypted"):
        Tree(packed).read("class/39.jpg")


def test_a_bomb_is_not_unpacked(packed: Path) -> None:
    patch(packed, 24, struct.pack("<I", (1 << 30) + 1))
    with pytest.raises(ImageRefused, match="larger than 1 GiB"):
        Tree(packed).read("class/39.jpg")


def test_a_file_that_is_gone_is_told(packed: Path, tmp_path: Path) -> None:
    for root in (packed, tmp_path):
        with pytest.raises(ImageRefused, match="not there"):
            Tree(root).read("class/gone.jpg")

"""The pixel cache holds the right pixels of each content, whoever dies or writes beside it."""

from __future__ import annotations

import hashlib
import io
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from filling import PREPROCESSING
from PIL import Image

from wbczoo import images
from wbczoo.data import cache
from wbczoo.data.cache import PixelCache, cache_folder
from wbczoo.errors import WbczooError
from wbczoo.specs import Preprocessing

FILLING = Path(__file__).with_name("filling.py")

Wanted = dict[str, Callable[[], bytes]]


@pytest.fixture(scope="module")
def wanted(smears: Path) -> Wanted:
    """Content hash -> reader of each of the 72 drawn images."""
    paths = sorted(smears.rglob("*.jpg"))
    found = {hashlib.sha256(path.read_bytes()).hexdigest(): path.read_bytes for path in paths}
    assert len(found) == 72
    return found  # type: ignore[return-value]


@pytest.fixture
def filled(wanted: Wanted, tmp_path: Path) -> PixelCache:
    """A cache of all of them."""
    found = PixelCache(PREPROCESSING, tmp_path)
    assert found.fill(wanted) == {}
    return found


def keyed(*contents: bytes) -> Wanted:
    return {hashlib.sha256(content).hexdigest(): lambda c=content: c for content in contents}  # type: ignore[misc]


def assert_right(found: PixelCache, wanted: Iterable[str], readers: Wanted) -> None:
    """Each content's row holds what decoding it gives, and no row more is there."""
    hashes = list(wanted)
    rows = found.rows(hashes)
    pixels = found.pixels()
    assert sorted(rows) == list(range(len(hashes)))
    assert pixels.shape == (len(hashes), *found.preprocessing.size, 3)
    for digest, row in zip(hashes, rows, strict=True):
        right = images.pixels(readers[digest](), found.preprocessing)
        assert np.array_equal(pixels[row], right), digest
    assert (found.folder / "pixels.u8").stat().st_size == pixels.nbytes
    lines = (found.folder / "index.txt").read_text().splitlines()
    assert lines == [
        f"{hashes[at]} {zlib.crc32(pixels[row]):08x}" for row, at in enumerate(np.argsort(rows))
    ]


def run(*arguments: object) -> int:
    return subprocess.run([sys.executable, FILLING, *map(str, arguments)], check=False).returncode


# --- what it holds -------------------------------------------------------------------------------


def test_a_cache_gives_the_pixels_of_each_content(filled: PixelCache, wanted: Wanted) -> None:
    assert_right(filled, wanted, wanted)
    with pytest.raises(ValueError):
        filled.pixels()[0, 0, 0, 0] = 1


def test_what_is_cached_is_not_read_again(filled: PixelCache, wanted: Wanted) -> None:
    def fail() -> bytes:
        raise AssertionError("it was read again")

    advanced: list[int] = []
    assert filled.fill(dict.fromkeys(wanted, fail), advance=advanced.append) == {}
    assert sum(advanced) == 72


def test_a_cache_grows_and_keeps_its_rows(tmp_path: Path, wanted: Wanted) -> None:
    found = PixelCache(PREPROCESSING, tmp_path)
    digests = list(wanted)
    advanced: list[int] = []
    found.fill({digest: wanted[digest] for digest in digests[:10]})
    before, pixels = found.rows(digests[:10]), found.pixels()
    copy = pixels.copy()
    found.fill({digest: wanted[digest] for digest in digests[5:30]}, advance=advanced.append)
    assert sum(advanced) == 25
    assert np.array_equal(found.rows(digests[:10]), before)
    assert np.array_equal(pixels, copy)  # a mapping that another training still reads
    assert_right(found, digests[:30], wanted)


def test_only_contents_that_are_cached_are_held(tmp_path: Path, wanted: Wanted) -> None:
    found = PixelCache(PREPROCESSING, tmp_path)
    digests = list(wanted)
    assert found.held(digests) == []
    assert found.pixels().shape == (0, 48, 64, 3)
    found.fill({digest: wanted[digest] for digest in digests[::2]})
    assert found.held(digests[:6]) == digests[0:6:2]
    with pytest.raises(KeyError):
        found.rows(digests[:2])


def test_what_decides_the_pixels_decides_the_folder(tmp_path: Path) -> None:
    usual = Preprocessing()
    other: list[dict[str, object]] = [
        {"size": (224, 225)},
        {"size": (225, 224)},
        {"interpolation": "bicubic"},
        {"antialias": False},
        {"crop": "nucleus"},
    ]
    folders = {
        PixelCache(replace(usual, **change), tmp_path).folder  # type: ignore[arg-type]
        for change in ({}, *other)
    }
    assert len(folders) == 6
    normalised = replace(usual, mean=(0.5, 0.5, 0.5), std=(1.0, 1.0, 1.0))
    assert PixelCache(normalised, tmp_path).folder == PixelCache(usual, tmp_path).folder
    assert PixelCache(usual).folder.is_relative_to(cache_folder())


def test_another_way_of_decoding_starts_a_new_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = PixelCache(PREPROCESSING, tmp_path).folder
    monkeypatch.setattr(cache, "DECODING", cache.DECODING + 1)
    assert PixelCache(PREPROCESSING, tmp_path).folder != before


# --- refusals ------------------------------------------------------------------------------------


def encoded(colour: tuple[int, int, int], kind: str = "PNG", mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (80, 60), colour).convert(mode).save(stream, kind)
    return stream.getvalue()


def test_a_refused_image_is_told_and_its_neighbours_are_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_CHUNK", 3)
    good = keyed(*(encoded((shade, 0, 0)) for shade in range(7)))
    jpeg = encoded((9, 9, 9), "JPEG")
    bad = keyed(b"no image", jpeg[: len(jpeg) // 2], encoded((1, 2, 3), "JPEG", "CMYK"))
    mixed = dict(sorted({**good, **bad}.items()))
    found = PixelCache(PREPROCESSING, tmp_path)
    advanced: list[int] = []
    for _ in range(2):  # a second time too, for nothing keeps a refused image
        refused = found.fill(mixed, advance=advanced.append)
        assert set(refused) == set(bad)
        assert all(reason.endswith(".") for reason in refused.values())
        assert "CMYK" in refused[list(bad)[2]]
        assert_right(found, [digest for digest in mixed if digest in good], good)
    assert sum(advanced) == 20


def test_a_file_that_went_or_changed_meanwhile_is_told(tmp_path: Path) -> None:
    good, gone, changed = keyed(*(encoded((shade, 0, 0)) for shade in range(3))).items()

    def fail() -> bytes:
        raise WbczooError("data.zip: a.jpg cannot be read.")

    found = PixelCache(PREPROCESSING, tmp_path)
    refused = found.fill(dict([good, (gone[0], fail), (changed[0], good[1])]))
    assert refused == {
        gone[0]: "data.zip: a.jpg cannot be read.",
        changed[0]: "The file was changed while it was in use; start again.",
    }
    assert found.held([good[0], gone[0], changed[0]]) == [good[0]]


# --- deaths --------------------------------------------------------------------------------------


def test_a_filling_that_is_killed_again_and_again_ends_as_an_undisturbed_one(
    smears: Path, wanted: Wanted, filled: PixelCache, tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    places = [("torn", 1), ("pixels", 1), ("torn", 2), ("pixels", 3), ("index", 2), ("torn", 4)]
    held = []
    for place, count in places:
        assert run(folder, smears, place, count) == -signal.SIGKILL
        held.append(len(PixelCache(PREPROCESSING, folder).held(list(wanted))))
    assert held == sorted(held)  # nothing that was committed is lost
    assert 0 < held[-1] < len(wanted)
    assert run(folder, smears, "never", 0) == 0
    again = PixelCache(PREPROCESSING, folder)
    assert_right(again, wanted, wanted)
    mine, theirs = again.rows(list(wanted)), filled.rows(list(wanted))
    assert np.array_equal(again.pixels()[mine], filled.pixels()[theirs])


@pytest.mark.parametrize("dies", [False, True], ids=["both end", "the first is killed"])
def test_two_writers_at_once_make_one_right_cache(
    dies: bool, smears: Path, wanted: Wanted, tmp_path: Path
) -> None:
    command = [sys.executable, str(FILLING), str(tmp_path / "two"), str(smears)]
    first = subprocess.Popen([*command, "meets", str(int(dies)), str(tmp_path)])
    second = subprocess.Popen([*command, "waits", "0", str(tmp_path)])
    assert (first.wait(), second.wait()) == (-signal.SIGKILL if dies else 0, 0)
    assert (tmp_path / "waiting").exists()  # the second did find the first at work
    assert_right(PixelCache(PREPROCESSING, tmp_path / "two"), wanted, wanted)


# --- damage --------------------------------------------------------------------------------------


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))


def test_what_is_whole_is_confirmed_without_a_turn(filled: PixelCache, wanted: Wanted) -> None:
    turns: list[str] = []
    with FileLock(filled.folder / "lock"):  # another process writes, and takes its time
        assert filled.fill(wanted, waiting=lambda: turns.append("waited")) == {}
    assert turns == []


def test_a_flipped_bit_is_found_and_mended_in_its_place(filled: PixelCache, wanted: Wanted) -> None:
    before = filled.pixels().copy()
    pixels = filled.folder / "pixels.u8"
    for at in (0, before.nbytes // 2, before.nbytes - 1):
        flip(pixels, at)
    assert not np.array_equal(filled.pixels(), before)
    index = (filled.folder / "index.txt").read_bytes()
    assert filled.fill(wanted) == {}
    assert np.array_equal(filled.pixels(), before)
    assert (filled.folder / "index.txt").read_bytes() == index


def test_only_what_is_wanted_is_checked(filled: PixelCache, wanted: Wanted) -> None:
    digests = list(wanted)
    flip(filled.folder / "pixels.u8", 0)  # the first row is the first digest's
    before = filled.pixels().copy()
    filled.fill({digest: wanted[digest] for digest in digests[1:]})
    assert np.array_equal(filled.pixels(), before)
    filled.fill({digests[0]: wanted[digests[0]]})
    assert_right(filled, wanted, wanted)


LINE = 74


@pytest.mark.parametrize(
    "damage",
    [
        lambda index: index[:-1],
        lambda index: index[:-10],
        lambda index: index + index[: LINE // 2],
        lambda index: index + bytes(50),
        lambda index: index[: 5 * LINE + 70] + b"0" + index[5 * LINE + 71 :],
        lambda index: index[: 5 * LINE + 70] + b"\xff" + index[5 * LINE + 71 :],
        lambda index: index[: 5 * LINE + 3] + b"\n" + index[5 * LINE + 4 :],
        lambda index: index[: 5 * LINE + 64] + b"x" + index[5 * LINE + 65 :],
        lambda index: b"",
        lambda index: b"\x00" * len(index),
    ],
    ids=[
        "no last newline",
        "a torn last line",
        "half a line more",
        "zeros more",
        "a wrong checksum",
        "no text",
        "a line break",
        "no space",
        "empty",
        "zeros alone",
    ],
)
def test_a_damaged_index_is_mended(
    damage: Callable[[bytes], bytes], filled: PixelCache, wanted: Wanted
) -> None:
    path = filled.folder / "index.txt"
    path.write_bytes(damage(path.read_bytes()))
    again = PixelCache(PREPROCESSING, filled.folder.parents[1])
    assert again.folder == filled.folder
    again.held(list(wanted))  # a reader without the lock survives it too
    assert again.fill(wanted) == {}
    assert_right(again, wanted, wanted)


@pytest.mark.parametrize("left", [None, 0, 5000])
def test_lost_pixels_are_made_again(left: int | None, filled: PixelCache, wanted: Wanted) -> None:
    path = filled.folder / "pixels.u8"
    if left is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:left])
    assert filled.fill(wanted) == {}
    assert_right(filled, wanted, wanted)


def test_damage_to_an_image_that_is_gone_is_told(filled: PixelCache, wanted: Wanted) -> None:
    digest = next(iter(wanted))
    flip(filled.folder / "pixels.u8", 0)

    def fail() -> bytes:
        raise WbczooError("a.jpg cannot be read.")

    assert filled.fill({**wanted, digest: fail}) == {digest: "a.jpg cannot be read."}


# --- a disk that is full, a folder that is none --------------------------------------------------


def test_a_full_disk_is_told_and_the_cache_goes_on_later(
    smears: Path, wanted: Wanted, tmp_path: Path
) -> None:
    """A limit on the size of files stands for the disk: the pixels of 20 images still fit."""
    script = (
        "import resource, runpy, signal, sys\n"
        "from wbczoo.errors import WbczooError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "limit = 20 * 48 * 64 * 3 + 100\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
        "sys.argv = sys.argv[1:]\n"
        "try:\n"
        "    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except WbczooError as error:\n"
        "    sys.exit(str(error))"
    )
    folder = tmp_path / "full"
    failed = subprocess.run(
        [sys.executable, "-c", script, FILLING, str(folder), str(smears), "never", "0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"The pixel cache at {folder}")
    assert "cannot be written: File too large. Free some space there, or set" in failed.stderr
    found = PixelCache(PREPROCESSING, folder)
    assert len(found.held(list(wanted))) == 16  # two whole chunks
    assert found.fill(wanted) == {}
    assert_right(found, wanted, wanted)


def test_a_cache_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WbczooError, match=r"cannot be written: .*WBCZOO_CACHE"):
        PixelCache(PREPROCESSING, tmp_path / "file")


def test_another_finder_crops_into_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cropped = Preprocessing(crop="cell")
    before = PixelCache(cropped, tmp_path).folder
    assert PixelCache(cropped, tmp_path).folder == before
    with monkeypatch.context() as other:
        other.setattr("wbczoo.data.cache.RULES", 0)
        assert PixelCache(cropped, tmp_path).folder != before
    monkeypatch.setattr("wbczoo.data.cache.finder_sha256", lambda: "0" * 64)
    assert PixelCache(cropped, tmp_path).folder != before

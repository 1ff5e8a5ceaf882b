"""Which images are read, to which pixels, and that all others are refused with a reason."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import warnings
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wbczoo import images
from wbczoo.errors import ImageRefused, UsageError
from wbczoo.specs import Preprocessing

Pixels = NDArray[np.uint8]


def smear(height: int = 40, width: int = 56) -> Pixels:
    """A smooth picture without symmetry, (H, W, 3)."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([3 * x, 4 * y, (2 * x + 3 * y) % 256], axis=-1).astype(np.uint8)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png(
    header: tuple[int, int, int, int], rows: bytes, before: tuple[tuple[bytes, bytes], ...] = ()
) -> bytes:
    """A PNG of (width, height, bit depth, colour type), for what Pillow cannot write."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0)),
        *before,
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def deep_png(colour: int, channels: int) -> bytes:
    return png((20, 20, 16, colour), (b"\0" + bytes(range(2 * channels)) * 20) * 20)


def deep_tiff(samples: int = 3) -> bytes:
    """A 16-bit TIFF, 20x20 and uncompressed, that claims so many samples a pixel."""
    entries = [
        (256, 3, 1, 20),
        (257, 3, 1, 20),
        (258, 3, 3, 8),  # bits per sample, at byte 8
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 14),
        (277, 3, 1, samples),
        (278, 3, 1, 20),
        (279, 4, 1, 2400),
    ]
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return b"II*\0" + struct.pack("<IHHH", 2414, 16, 16, 16) + bytes(range(240)) * 10 + directory


def pages(kind: str, **options: object) -> bytes:
    first, second = Image.fromarray(smear()), Image.fromarray(smear()[::-1])
    return saved(first, kind, save_all=True, append_images=[second], **options)


def palette(transparency: bytes | None) -> bytes:
    image = Image.fromarray(smear()).convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    options = {} if transparency is None else {"transparency": transparency}
    return saved(image, "PNG", **options)


def with_alpha(alpha: int) -> Image.Image:
    image = Image.fromarray(smear()).convert("RGBA")
    image.putpixel((3, 5), (*image.getpixel((3, 5))[:3], alpha))
    return image


def grey() -> Image.Image:
    return Image.fromarray(smear()).convert("L")


def test_every_source_of_a_real_photograph_gives_the_same_pixels(
    shared: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(shared / "data" / "blood-cells.zip") as archive:
        name = next(n for n in archive.namelist() if "/TEST/" in n and n.endswith(".jpeg"))
        content = archive.read(name)
    path = tmp_path / "cell.jpeg"
    path.write_bytes(content)
    from_path = images.decode(path)
    assert from_path.shape == (240, 320, 3)
    assert from_path.dtype == np.uint8
    assert from_path.flags.writeable
    image = Image.open(io.BytesIO(content))
    for source in (str(path), content, image, from_path):
        assert np.array_equal(images.decode(source), from_path)
    preprocessing = Preprocessing(size=(224, 160))
    expected = images.preprocess(from_path, preprocessing)
    assert expected.shape == (224, 160, 3)
    for source in (path, content, image, from_path):
        assert np.array_equal(images.pixels(source, preprocessing), expected)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "WEBP"])
def test_lossless_formats_give_their_pixels(kind: str) -> None:
    content = saved(
        Image.fromarray(smear()), kind, **({"lossless": True} if kind == "WEBP" else {})
    )
    assert np.array_equal(images.decode(content), smear())


def test_grey_palette_and_opaque_alpha_become_rgb() -> None:
    level = np.asarray(grey())
    as_rgb = np.stack([level] * 3, axis=-1)
    for image in (grey(), grey().convert("LA")):
        assert np.array_equal(images.decode(saved(image, "PNG")), as_rgb)
    assert np.array_equal(images.decode(level), as_rgb)
    assert np.array_equal(images.decode(saved(with_alpha(255), "PNG")), smear())
    assert np.array_equal(images.decode(np.asarray(with_alpha(255))), smear())
    bilevel = grey().convert("1")
    assert np.array_equal(
        images.decode(saved(bilevel, "PNG"))[..., 1], np.asarray(bilevel) * np.uint8(255)
    )
    plain = images.decode(palette(None))
    assert len(np.unique(plain.reshape(-1, 3), axis=0)) == 16
    assert np.array_equal(images.decode(palette(b"\xff" * 16)), plain)
    still = saved(Image.open(io.BytesIO(palette(None))), "GIF")
    assert np.array_equal(images.decode(still), plain)


def test_a_colour_key_is_transparency_only_where_a_pixel_has_it() -> None:
    rows = (b"\0" + bytes([7, 8, 9]) * 20) * 20
    used, unused = (
        png((20, 20, 8, 2), rows, ((b"tRNS", struct.pack(">HHH", *key)),))
        for key in ((7, 8, 9), (1, 2, 3))
    )
    assert images.decode(unused)[0, 0].tolist() == [7, 8, 9]
    with pytest.raises(ImageRefused, match="transparent"):
        images.decode(used)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied_in_every_format(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    image = Image.fromarray(smear())
    upright = images.decode(saved(image, kind, **options))
    turned = {
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, -1),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright),
    }
    for orientation, expected in turned.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        content = saved(image, kind, exif=exif, **options)
        assert np.array_equal(images.decode(content), expected), orientation
        assert np.array_equal(images.decode(Image.open(io.BytesIO(content))), expected)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_unreadable_exif_costs_no_whole_picture(kind: str) -> None:
    content = saved(Image.fromarray(smear()), kind, exif=b"Exif\0\0no such thing as this")
    assert images.decode(content).shape == (40, 56, 3)


REFUSED = {
    "empty": (b"", "empty"),
    "text": (b"path,label\na.jpg,1\n" * 20, "no image"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n", "no image"),
    "cmyk jpeg": (saved(Image.fromarray(smear()).convert("CMYK"), "JPEG"), "CMYK"),
    "cmyk tiff": (saved(Image.fromarray(smear()).convert("CMYK"), "TIFF"), "CMYK"),
    "lab tiff": (saved(Image.fromarray(smear()).convert("LAB"), "TIFF"), "LAB"),
    "16-bit grey png": (saved(Image.new("I;16", (20, 20)), "PNG"), "8 bits"),
    "16-bit grey tiff": (saved(Image.new("I;16", (20, 20)), "TIFF"), "8 bits"),
    "16-bit rgb png": (deep_png(2, 3), "8 bits"),
    "16-bit grey alpha png": (deep_png(4, 2), "8 bits"),
    "16-bit rgba png": (deep_png(6, 4), "8 bits"),
    "16-bit rgb tiff": (deep_tiff(), "8 bits"),
    "float tiff": (saved(Image.new("F", (20, 20)), "TIFF"), "8 bits"),
    "transparent png": (saved(with_alpha(254), "PNG"), "transparent"),
    "transparent webp": (saved(with_alpha(0), "WEBP", lossless=True), "transparent"),
    "transparent palette": (palette(b"\xff" * 8 + b"\x10" + b"\xff" * 7), "transparent"),
    "animated gif": (pages("GIF"), "several frames"),
    "animated png": (pages("PNG"), "several frames"),
    "animated webp": (pages("WEBP"), "several frames"),
    "pages of tiff": (pages("TIFF"), "several frames"),
    "mpo": (pages("MPO"), "several frames"),
    "1x1": (saved(Image.new("RGB", (1, 1)), "PNG"), "1x1 pixels"),
    "15 pixels low": (saved(Image.new("RGB", (40, 15)), "PNG"), "40x15 pixels"),
    "120 megapixels": (png((20_000, 6_000, 8, 2), b""), "20000x6000.*100 megapixels"),
    "4 gigapixels": (png((65_000, 65_000, 8, 2), b""), "100 megapixels"),
    "half a jpeg": (saved(Image.fromarray(smear()), "JPEG")[:-400], "truncated or damaged"),
    "half a png": (saved(Image.fromarray(smear()), "PNG")[:-40], "truncated or damaged"),
    "damaged png": (png((20, 20, 8, 2), b"short"), "truncated or damaged"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_model_may_be_asked_about_is_refused(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content, reason = REFUSED[name]
    path = tmp_path / "given.jpg"
    path.write_bytes(content)
    for source in (content, path):
        with pytest.raises(ImageRefused, match=reason) as refusal:
            images.decode(source)
        assert str(refusal.value).endswith(".")
        assert "\n" not in str(refusal.value)
    assert capfd.readouterr() == ("", "")


def test_a_refused_file_is_refused_as_a_pillow_image_too() -> None:
    for name in ("cmyk jpeg", "16-bit rgb png", "16-bit rgb tiff", "transparent png", "mpo"):
        content, reason = REFUSED[name]
        with pytest.raises(ImageRefused, match=reason):
            images.decode(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((20, 20, 3), np.uint16), "uint16"),
        (np.zeros((20, 20, 3), np.float32), "float32"),
        (np.zeros((3, 20, 20), np.uint8), "shape"),
        (np.zeros((20, 20, 4), np.uint8), "transparent"),
        (np.zeros((1, 1, 3), np.uint8), "1x1"),
    ],
)
def test_arrays_that_are_no_images_are_refused(array: Pixels, reason: str) -> None:
    with pytest.raises(ImageRefused, match=reason):
        images.decode(array)


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    with pytest.raises(ImageRefused, match="not there"):
        images.decode(tmp_path / "missing.jpg")
    with pytest.raises(ImageRefused, match="folder"):
        images.decode(tmp_path)
    with pytest.raises(ImageRefused, match="cannot be read"):
        images.decode("a\0b.jpg")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.jpg")
        with pytest.raises(ImageRefused, match="no ordinary file"):
            images.decode(tmp_path / "pipe.jpg")
    with (tmp_path / "vast.tif").open("wb") as stream:
        stream.truncate(2 << 30)  # a hole; no disk is used
    with pytest.raises(ImageRefused, match="1 GiB"):
        images.decode(tmp_path / "vast.tif")


def _damage(content: bytes, seed: int, count: int) -> None:
    """Decode many damaged copies; each must give an image or be refused."""
    random = np.random.default_rng(seed)
    refused = 0
    for attempt in range(count):
        damaged = bytearray(content)
        # A third of the flips hit the header, where the structure is.
        reach = min(300, len(damaged)) if attempt % 3 == 0 else len(damaged)
        for place in random.integers(reach, size=1 + attempt % 4):
            damaged[place] ^= 1 << int(random.integers(8))
        if attempt % 2:
            del damaged[int(random.integers(len(damaged))) :]
        try:
            pixels = images.decode(bytes(damaged))
        except ImageRefused:
            refused += 1
        else:
            assert pixels.dtype == np.uint8
            assert pixels.shape[2:] == (3,)
    assert refused >= count // 3


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("WEBP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "jpeg"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ],
)
def test_damaged_bytes_give_pixels_or_a_refusal_in_silence(
    kind: str, options: dict[str, object], capfd: pytest.CaptureFixture[str]
) -> None:
    _damage(saved(Image.fromarray(smear()), kind, **options), 0, 200)
    assert capfd.readouterr() == ("", "")


def test_a_damaged_real_photograph_gives_pixels_or_a_refusal(shared: Path) -> None:
    with zipfile.ZipFile(shared / "data" / "blood-cells.zip") as archive:
        name = next(n for n in archive.namelist() if n.endswith(".jpeg"))
        content = archive.read(name)
    _damage(content, 1, 300)
    _damage(saved(Image.open(io.BytesIO(content)), "PNG"), 2, 100)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_no_truncation_passes_for_a_whole_file(kind: str) -> None:
    content = saved(Image.fromarray(smear()), kind)
    whole = images.decode(content)
    for length in range(len(content)):
        try:
            pixels = images.decode(content[:length])
        except ImageRefused:
            continue
        # Only the checksum after a PNG's last pixel may be wanting.
        assert kind == "PNG"
        assert length >= len(content) - 4
        assert np.array_equal(pixels, whole)


def test_no_flipped_byte_of_a_png_changes_an_answer() -> None:
    content = saved(Image.fromarray(smear()), "PNG")
    whole = images.decode(content)
    for place in range(len(content) - 12):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        try:
            pixels = images.decode(bytes(damaged))
        except ImageRefused:
            continue
        assert np.array_equal(pixels, whole), place


def test_pillow_warns_nobody_and_the_process_keeps_its_filters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)  # it warns above this, refuses above twice
    content = saved(Image.fromarray(smear()), "TIFF")
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        Image.open(io.BytesIO(content)).close()
        assert [w.category for w in told] == [Image.DecompressionBombWarning]
        told.clear()
        barrier = threading.Barrier(8, timeout=30)

        def decode(_: int) -> Pixels:
            barrier.wait()
            return images.decode(content)

        with ThreadPoolExecutor(8) as pool:
            for pixels in pool.map(decode, range(80)):
                assert np.array_equal(pixels, smear())
        assert told == []
    assert warnings.filters == before


def test_pillow_logs_nothing_where_nobody_listens() -> None:
    """In a process of its own, for pytest listens."""
    program = (
        "import sys; from wbczoo import errors, images\n"
        "try: images.decode(sys.stdin.buffer.read())\n"
        "except errors.ImageRefused: print('refused')"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        input=deep_tiff(samples=11),
        capture_output=True,
        check=True,
    )
    assert (found.stdout.strip(), found.stderr) == (b"refused", b"")


@pytest.mark.parametrize("size", [(20, 28), (33, 90)])
def test_without_antialias_each_pixel_is_interpolated_from_its_neighbours(
    size: tuple[int, int],
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (41, 57, 3), dtype=np.uint8)
    found = images.preprocess(image, Preprocessing(size=size, antialias=False))
    rows, row_share = _neighbours(41, size[0])
    columns, column_share = _neighbours(57, size[1])
    down = row_share[:, None, None]
    across = column_share[None, :, None]
    top, bottom = image[rows[0]].astype(float), image[rows[1]].astype(float)
    mixed = top * (1 - down) + bottom * down
    expected = mixed[:, columns[0]] * (1 - across) + mixed[:, columns[1]] * across
    assert np.abs(found - expected).max() <= 1.01  # Pillow cuts the fraction off


def _neighbours(
    length: int, wanted: int
) -> tuple[tuple[NDArray[np.intp], ...], NDArray[np.float64]]:
    centre = (np.arange(wanted) + 0.5) * length / wanted - 0.5
    low = np.floor(centre).astype(int)
    return tuple(np.clip(low + step, 0, length - 1) for step in (0, 1)), centre - low


def test_antialias_averages_and_bicubic_differs() -> None:
    board = np.indices((64, 64)).sum(0) % 2 * np.uint8(255)
    image = np.stack([board] * 3, axis=-1).astype(np.uint8)
    smooth = images.preprocess(image, Preprocessing(size=(15, 15)))
    rough = images.preprocess(image, Preprocessing(size=(15, 15), antialias=False))
    assert np.ptp(smooth[2:-2, 2:-2].astype(int)) <= 16
    assert np.ptp(rough.astype(int)) >= 100
    bicubic = images.preprocess(smear(), Preprocessing(size=(20, 20), interpolation="bicubic"))
    bilinear = images.preprocess(smear(), Preprocessing(size=(20, 20)))
    assert not np.array_equal(bicubic, bilinear)


def test_an_unknown_crop_is_named_with_those_that_exist() -> None:
    with pytest.raises(UsageError, match=r"'nucleus'.*none"):
        images.pixels(smear(), Preprocessing(crop="nucleus"))


def test_a_source_of_another_kind_is_a_programming_error() -> None:
    with pytest.raises(TypeError):
        images.decode(3)  # type: ignore[arg-type]

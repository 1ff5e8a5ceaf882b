"""Real images are damaged here in many ways, by a seed."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from PIL import Image

SUFFIXES = (".jpg", ".png", ".tif", ".bmp", ".gif", ".webp")
INTACT = 8  # each so many-th image is whole

Dice = random.Random


@dataclass(frozen=True)
class Case:
    """A file for `predict`.

    Attributes:
        name: with the suffix, which may be wrong.
        kind: what was done to it.
        twin: the number of the whole image whose answer it must get, or None if it may be refused.
    """

    name: str
    kind: str
    content: bytes
    twin: int | None = None


def whole_images() -> list[tuple[str, bytes]]:
    """Drawn images as each format writes them, (suffix, content); all of them can be answered."""
    y, x = np.mgrid[0:72, 0:96]
    noise = np.random.default_rng(0).integers(0, 40, (72, 96, 3))
    cell = 120 * (np.hypot(x - 50, y - 36) < 22)[..., None]
    pixels = 200 - cell - noise + np.stack([x // 4, y // 4, (x + y) // 8], -1)
    rgb = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    grey, palette = rgb.convert("L"), rgb.quantize(64)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a smear"
    options: list[tuple[str, Image.Image, dict[str, object]]] = [
        (".jpg", rgb, {"quality": 92}),
        (".jpg", rgb, {"quality": 70, "progressive": True}),
        (".jpg", rgb, {"exif": exif, "icc_profile": bytes(600)}),
        (".jpg", grey, {}),
        (".png", rgb, {}),
        (".png", palette, {}),
        (".png", rgb.convert("RGBA"), {"exif": exif}),
        (".tif", rgb, {}),
        (".tif", rgb, {"compression": "tiff_lzw"}),
        (".tif", rgb, {"compression": "jpeg"}),
        (".tif", grey, {"compression": "tiff_adobe_deflate"}),
        (".tif", grey.convert("1"), {"compression": "group4"}),
        (".bmp", rgb, {}),
        (".bmp", palette, {}),
        (".gif", palette, {}),
        (".webp", rgb, {"quality": 80}),
        (".webp", rgb, {"lossless": True, "exif": exif}),
    ]
    formats = {".jpg": "JPEG", ".tif": "TIFF"}
    found = []
    for suffix, image, more in options:
        stream = io.BytesIO()
        image.save(stream, formats.get(suffix, suffix[1:].upper()), **more)
        found.append((suffix, stream.getvalue()))
    return found


def cases(count: int, seed: int) -> Iterator[Case]:
    """Draw `count` files; the same for the same seed, and each whatever their number."""
    whole = whole_images()
    for number in range(count):
        dice = Dice(f"{seed}/{number}")
        twin = dice.randrange(len(whole))
        suffix, content = whole[twin]
        if number % INTACT == 0:
            wrong = dice.random() < 0.3
            suffix = dice.choice(SUFFIXES) if wrong else suffix
            yield Case(f"{number:05}{suffix}", "renamed" if wrong else "intact", content, twin)
            continue
        kind = dice.choice([*MUTATIONS])
        damaged = MUTATIONS[kind](content, dice, whole)
        if dice.random() < 0.2:  # upon another
            kind = dice.choice(["bits", "truncated", "zeros", "moved"])
            damaged = MUTATIONS[kind](damaged, dice, whole)
        yield Case(f"{number:05}{suffix}", kind, damaged)


Whole = Sequence[tuple[str, bytes]]


def _bits(content: bytes, dice: Dice, _: Whole) -> bytes:
    damaged = bytearray(content or b"\0")
    reach = len(damaged) if dice.random() < 0.5 else min(len(damaged), 200)  # headers, half of it
    for _number in range(dice.choice([1, 1, 2, 8, 64])):
        damaged[dice.randrange(reach)] ^= 1 << dice.randrange(8)
    return bytes(damaged)


def _truncated(content: bytes, dice: Dice, _: Whole) -> bytes:
    ends = [dice.randrange(len(content) + 1), dice.randrange(64), len(content) - dice.randrange(9)]
    return content[: max(0, dice.choice(ends))]


def _spliced(content: bytes, dice: Dice, whole: Whole) -> bytes:
    _suffix, other = dice.choice(whole)
    at = dice.choice([4, 8, 16, 64, 256, dice.randrange(len(other))])
    return other[:at] + content[dice.choice([0, at, dice.randrange(len(content))]) :]


def _zeros(content: bytes, dice: Dice, _: Whole) -> bytes:
    at, run = dice.randrange(len(content) + 1), dice.choice([2, 16, 200, 3000])
    return content[:at] + dice.choice([b"\0", b"\xff"]) * run + content[at + run :]


def _moved(content: bytes, dice: Dice, _: Whole) -> bytes:
    first, second, third = sorted(dice.randrange(len(content) + 1) for _number in range(3))
    parts = (content[:first], content[first:second], content[second:third], content[third:])
    order = dice.choice([(0, 2, 1, 3), (0, 1, 1, 2, 3), (0, 2, 3), (0, 1, 2, 3, 1, 2)])
    return b"".join(parts[each] for each in order)


def _junk(content: bytes, dice: Dice, whole: Whole) -> bytes:
    return content + dice.choice(
        [dice.randbytes(dice.choice([1, 100, 5000])), bytes(10_000), dice.choice(whole)[1]]
    )


def _noise(content: bytes, dice: Dice, _: Whole) -> bytes:
    magic = dice.choice([b"", content[:2], content[:4], content[:12]])
    return magic + dice.randbytes(dice.choice([0, 1, 10, 2000]))


def _huge(content: bytes, dice: Dice, _: Whole) -> bytes:
    """Every 72 and 96 of the beginning, height and width, becomes another number."""
    damaged = bytearray(content)
    for code in ("<H", ">H", "<I", ">I"):
        for size in (72, 96, 71, 95):
            at = damaged.find(struct.pack(code, size), 0, 400)
            if at >= 0 and dice.random() < 0.7:
                most = (1 << 8 * struct.calcsize(code)) - 1
                value = dice.choice([0, 1, 15, 4000, 9999, 30_000, most // 2, most])
                struct.pack_into(code, damaged, at, min(value, most))
    if damaged.startswith(b"\x89PNG"):  # whose check sum is to be right
        damaged[29:33] = struct.pack(">I", zlib.crc32(damaged[12:29]))
    return bytes(damaged)


def _bomb(content: bytes, dice: Dice, _: Whole) -> bytes:
    """A few kilobytes that become megapixels, seldom as many as are read; or megabytes of text."""
    if dice.random() < 0.3:
        return png(96, 72, 3, text=dice.choice([1 << 20, 200 << 20]))
    if dice.random() < 0.05:
        return dice.choice(LARGEST)()
    width, height = dice.choice([(3000, 2000), (20_000, 20_000), (10**8, 1)])
    return png(width, height, dice.choice([1, 3, 4]), whole=width * height <= 10**8)


def _garbage(content: bytes, dice: Dice, _: Whole) -> bytes:
    """Metadata without sense: EXIF, colour profiles, comments, lengths that are not so."""
    body = dice.choice([b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08", b"ICC_PROFILE\0\1\1", b""])
    body += dice.randbytes(dice.choice([0, 7, 60, 3000]))
    if content.startswith(b"\xff\xd8"):
        said = dice.choice([len(body) + 2, len(body) + 2, 2, 0, 65_535])
        marker = bytes([0xFF, dice.choice([0xE1, 0xE2, 0xED, 0xFE, 0xDB])])
        return content[:2] + marker + struct.pack(">H", said) + body + content[2:]
    if content.startswith(b"\x89PNG"):
        name = dice.choice([b"eXIf", b"iCCP", b"tEXt", b"zTXt", b"gAMA", b"tRNS", b"acTL"])
        return content[:33] + chunk(name, body) + content[33:]
    at = dice.randrange(min(len(content), 120))
    return content[:at] + body + content[at:]


MUTATIONS: dict[str, Callable[[bytes, Dice, Whole], bytes]] = {
    "bits": _bits,
    "truncated": _truncated,
    "spliced": _spliced,
    "zeros": _zeros,
    "moved": _moved,
    "junk": _junk,
    "noise": _noise,
    "huge": _huge,
    "bomb": _bomb,
    "garbage": _garbage,
}


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG with its right check sum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


@cache
def png(width: int, height: int, channels: int, *, text: int = 0, whole: bool = True) -> bytes:
    """A black PNG, opaque where it has 4 channels.

    Args:
        text: bytes of a packed comment.
        whole: if not, most of its rows are missing.
    """
    colour = {1: 0, 3: 2, 4: 6}[channels]
    row = b"\0" + (b"\0" * 3 + b"\xff" if channels == 4 else bytes(channels)) * width
    packed = zlib.compressobj(1)
    rows = b"".join(packed.compress(row) for _ in range(height if whole else 10)) + packed.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    comment = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(text), 1)) if text else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + comment
        + chunk(b"IDAT", rows)
        + chunk(b"IEND", b"")
    )


@cache
def _largest(kind: str, mode: str, orientation: int = 1, **more: int) -> bytes:
    """An image of one colour with as many pixels as are read."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.new(mode, LARGEST_SIZE, 255).save(stream, kind, exif=exif, **more)
    return stream.getvalue()


LARGEST_SIZE = (9990, 10_000)
LARGEST: list[Callable[[], bytes]] = [
    *(partial(png, *LARGEST_SIZE, channels) for channels in (1, 3, 4)),
    partial(_largest, "JPEG", "RGB", 6),
    partial(_largest, "WEBP", "RGB", method=0),
    partial(_largest, "PNG", "P", 6, transparency=3),
]

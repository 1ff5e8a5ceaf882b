"""Files become 8-bit RGB pixels here, upright and whole, or are refused."""

from __future__ import annotations

import contextlib
import ctypes
import io
import threading
from functools import cache
from pathlib import Path
from typing import NoReturn, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

# Naming the plugins registers them; Pillow would otherwise import all of its own, one by one.
from PIL import (  # noqa: F401
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from wbczoo.errors import ImageRefused
from wbczoo.images import jpeg
from wbczoo.images.file import read_file
from wbczoo.images.silence import hush_libtiff, silence
from wbczoo.text import one_line

Pixels = NDArray[np.uint8]


@runtime_checkable
class Readable(Protocol):
    """An image that lies within something else, such as an archive."""

    def read(self) -> bytes:
        """Its file's bytes, whichever thread asks; ImageRefused says why there are none."""


Source = bytes | str | Path | Readable | Image.Image | NDArray[np.generic]

# Formats whose bit depth, frames and transparency can be told before decoding. Pillow also opens
# formats that start other programs (EPS) or hide 16 bits (JPEG 2000, AVIF); those are left out.
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP")

LARGEST = 100_000_000  # pixels
LARGEST_WEBP = 50_000_000  # pixels; libwebp holds an image four times while it decodes
SMALLEST = 16  # pixels a side
_LARGE = 16_000_000  # pixels; of such images one at a time is decoded, for memory's sake
_one_large = threading.Lock()

_READ_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX"})
# EXIF 2.32, tag 274: how the stored image is turned upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(source: Source) -> Pixels:
    """Decode an image to 8-bit RGB, upright as its EXIF orientation says.

    Grey, bilevel, palette and fully opaque alpha images are converted. Safe in several threads.

    Args:
        source: a file's path or its bytes, what can be read to them, a Pillow image, or a uint8
            array: grey (H, W), RGB (H, W, 3) or RGBA (H, W, 4).

    Returns:
        uint8 (H, W, 3), RGB; between 16 pixels a side and 100 megapixels.

    Raises:
        ImageRefused: if the file cannot be read, is empty, truncated, damaged or no image; has
            another colour space, more than 8 bits a channel, transparency, or several frames;
            or is too small or too large. Whatever the bytes are, nothing else is raised.
        TypeError: if `source` is none of the above.
    """
    if isinstance(source, np.ndarray):
        return _decode_array(source)
    with contextlib.ExitStack() as held:
        found = open_rgb(source, held)
        # Of Pillow's a copy, for what it lends is read-only.
        return found if isinstance(found, np.ndarray) else np.array(found)


def _decode_array(array: NDArray[np.generic]) -> Pixels:
    if array.dtype != np.uint8:
        raise ImageRefused(f"The array holds {array.dtype}; only uint8 is read.")
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,), (4,)):
        raise ImageRefused(
            f"The array's shape is {array.shape}; (H, W), (H, W, 3) and (H, W, 4) are read."
        )
    _check_size(array.shape[1], array.shape[0])
    if array.shape[2:] == (3,):
        return np.ascontiguousarray(array, np.uint8)
    return np.array(_to_rgb(Image.fromarray(np.ascontiguousarray(array, np.uint8))))


def open_rgb(
    source: bytes | str | Path | Readable | Image.Image, held: contextlib.ExitStack
) -> Image.Image | Pixels:
    """The image as RGB; while `held` lasts, no other large one is decoded if this one is.

    Raises:
        ImageRefused, TypeError: as `decode` does.
    """
    if isinstance(source, str | Path):
        source = read_file(Path(source))
    elif isinstance(source, Readable):
        source = source.read()
    elif not isinstance(source, bytes | Image.Image):
        raise TypeError(f"An image is a path, bytes, a Pillow image or an array, not {source!r}.")
    with silence():
        try:
            image = source if isinstance(source, Image.Image) else _open(source)
            _check_header(image)
            if image.width * image.height > _LARGE:
                held.enter_context(_one_large)
                _give_back_large_blocks()
            if isinstance(source, bytes) and image.format == "JPEG" and image.mode == "RGB":
                decoded = jpeg.decode(source)
                if decoded is not None:
                    orientation = _orientation(image)
                    if orientation not in _UPRIGHT:
                        return decoded
                    image = Image.fromarray(decoded)
                    del decoded  # an image is held as seldom as can be, for it may be large
                    return _turned(image, orientation)
            image.load()
            image = _turned(image, _orientation(image))
            return _to_rgb(image)
        except ImageRefused:
            raise
        except Exception as error:  # of damaged bytes Pillow makes nearly every exception there is
            _refuse(error)


@cache
def _give_back_large_blocks() -> None:
    """Let glibc return what a large image took, which it else keeps for each thread that had one.

    Pillow takes 16 MiB at a time. Once such a block was freed, glibc would serve the next from a
    heap of the thread (mallopt(3), M_MMAP_THRESHOLD); a fixed threshold ends that.
    """
    with contextlib.suppress(AttributeError, OSError):  # another C library, which has no such habit
        ctypes.CDLL(None).mallopt(-3, 8 << 20)


def _open(content: bytes) -> Image.Image:
    if not content:
        raise ImageRefused("The file is empty.")
    image = Image.open(io.BytesIO(content), formats=FORMATS)
    if image.format == "PNG":
        # Decoding skips the checksums of the pixel data; a damaged file must not be answered.
        Image.open(io.BytesIO(content), formats=FORMATS).verify()
    elif image.format == "TIFF":
        hush_libtiff()
    return image


def _check_header(image: Image.Image) -> None:
    _check_size(*image.size)
    if image.format == "WEBP" and image.width * image.height > LARGEST_WEBP:
        raise ImageRefused("The WebP image has over 50 megapixels.")
    if getattr(image, "is_animated", False):
        raise ImageRefused("The image has several frames or pages; save the one that is meant.")
    if image.mode.startswith(("I", "F")) or _has_deep_samples(image):
        raise ImageRefused("The image has more than 8 bits a channel; convert it to 8 bits.")
    if image.mode not in _READ_MODES:
        raise ImageRefused(f"The image is {image.mode}, not RGB or grey; convert it to RGB.")


def _check_size(width: int, height: int) -> None:
    if width * height > LARGEST:
        raise ImageRefused(f"The image has {width}x{height} pixels, over 100 megapixels.")
    if min(width, height) < SMALLEST:
        raise ImageRefused(
            f"The image has {width}x{height} pixels; it needs at least {SMALLEST} a side."
        )


def _has_deep_samples(image: Image.Image) -> bool:
    """Whether the file has samples that Pillow would cut to 8 bits without a word."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, 1)
        return bool(max(bits if isinstance(bits, tuple) else (bits,)) > 8)
    if isinstance(image, PngImagePlugin.PngImageFile):
        return any(";16" in str(tile[3]) for tile in image.tile)
    return False


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # unreadable EXIF says nothing; the pixels are whole all the same
        return 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        # A conversion to the mode that an image has would be a copy.
        solid = image if image.mode == "RGBA" else image.convert("RGBA")
        if solid.getchannel("A").getextrema()[0] != 255:
            raise ImageRefused("The image has transparent pixels; flatten it onto a background.")
        if image.mode == "RGBa":
            image = solid
        del solid
    return image if image.mode == "RGB" else image.convert("RGB")


def _refuse(error: Exception) -> NoReturn:
    if isinstance(error, Image.DecompressionBombError):
        raise ImageRefused("The image has over 100 megapixels.") from None
    if isinstance(error, UnidentifiedImageError):
        raise ImageRefused(
            f"The file is no image of a kind that is read ({', '.join(FORMATS)}), "
            "or its beginning is damaged."
        ) from None
    if isinstance(error, MemoryError):
        raise ImageRefused("Decoding the image needs more memory than there is.") from None
    raise ImageRefused(f"The file is truncated or damaged: {one_line(error)}.") from None

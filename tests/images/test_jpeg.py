"""simplejpeg gives Pillow's pixels, and Pillow judges whatever is not whole."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wbczoo import images
from wbczoo.errors import ImageRefused
from wbczoo.images import jpeg

pytest.importorskip("simplejpeg")


def _photograph(width: int, height: int) -> Image.Image:
    """Smooth stains with grain, as a photograph has."""
    random = np.random.default_rng(width * height)
    small = random.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    grain = random.normal(0, 6, smooth.shape)
    return Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))


def _encoded(image: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)  # type: ignore[arg-type]
    return stream.getvalue()


def _by_pillow(content: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", [(320, 240), (17, 31), (641, 479)])
def test_the_pixels_are_pillows(subsampling: str, progressive: bool, size: tuple[int, int]) -> None:
    for quality in (30, 95):
        content = _encoded(
            _photograph(*size), quality=quality, subsampling=subsampling, progressive=progressive
        )
        found = jpeg.decode(content)
        assert found is not None
        np.testing.assert_array_equal(found, _by_pillow(content))
        np.testing.assert_array_equal(images.decode(content), _by_pillow(content))


@pytest.mark.archive
def test_the_archives_pixels_are_pillows(shared: Path) -> None:
    with zipfile.ZipFile(shared / "data" / "blood-cells.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith((".jpg", ".jpeg"))]
        assert len(names) > 12_000
        for name in names[::40]:
            content = archive.read(name)
            np.testing.assert_array_equal(jpeg.decode(content), _by_pillow(content))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_is_turned_upright(orientation: int) -> None:
    image = _photograph(40, 24)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = _encoded(image, exif=exif.tobytes())
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(images.decode(content), np.asarray(upright))


def test_what_is_not_whole_is_left_to_pillow() -> None:
    content = _encoded(_photograph(64, 48))
    for end in (len(content) // 2, len(content) - 40):
        assert jpeg.decode(content[:end]) is None
        with pytest.raises(ImageRefused, match="truncated"):
            images.decode(content[:end])
    assert jpeg.decode(b"no image") is None


def test_without_it_the_pixels_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(_encoded(_photograph(100, 80)))
    program = (
        "import sys; sys.modules['simplejpeg'] = None\n"
        "from wbczoo import images\n"
        "from wbczoo.images import jpeg\n"
        "assert jpeg.simplejpeg() is None\n"
        "sys.stdout.buffer.write(images.decode(sys.argv[1]).tobytes())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, check=True
    )
    assert done.stdout == images.decode(path).tobytes()

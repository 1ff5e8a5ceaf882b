"""Pictures in which there is no white cell, drawn or cut out: what is found there is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from wbczoo.bench.fields import Field
from wbczoo.errors import ImageRefused
from wbczoo.images import Pixels

Floats = NDArray[np.float64]

_TRIES = 30  # places in an image at which a piece without a cell is looked for


def draw_pictures(kind: str, count: int, seed: int = 5000) -> Iterator[Pixels]:
    """Pictures of one of `KINDS`, uint8 (H, W, 3)."""
    for number in range(count):
        generator = np.random.default_rng((seed, number))
        size = generator.integers((150, 150), (400, 500)).tolist()
        yield KINDS[kind](generator, *size).clip(0, 255).astype(np.uint8)


def cut_pieces(fields: Sequence[Field], seed: int = 3) -> Iterator[tuple[Field, Pixels]]:
    """A piece of each boxed field that shows no part of any box, where one is soon found."""
    generator = np.random.default_rng(seed)
    for field in fields:
        try:
            image = field.read()
        except ImageRefused:
            continue
        height, width = image.shape[:2]
        for _ in range(_TRIES):
            share = generator.uniform(0.25, 0.65, 2)
            high, wide = (share * (height, width)).astype(int)
            y, x = int(generator.integers(height - high)), int(generator.integers(width - wide))
            if all(
                right <= x or left >= x + wide or bottom <= y or top >= y + high
                for left, top, right, bottom in field.boxes
            ):
                yield field, np.ascontiguousarray(image[y : y + high, x : x + wide])
                break


def _plain(generator: np.random.Generator, height: int, width: int) -> Floats:
    return np.full((height, width, 3), float(generator.choice([0, 30, 128, 200, 255])))


def _noise(generator: np.random.Generator, height: int, width: int) -> Floats:
    ground = generator.integers(0, 256, 3)
    return generator.normal(ground, generator.uniform(5, 90), (height, width, 3))


def _text(generator: np.random.Generator, height: int, width: int) -> Floats:
    page = Image.new("RGB", (width, height), tuple(generator.integers(170, 256, 3).tolist()))
    pen = ImageDraw.Draw(page)
    for _ in range(generator.integers(5, 60)):
        word = "".join(map(chr, generator.integers(33, 120, generator.integers(1, 14))))
        place = generator.uniform((-20, -5), (width, height)).tolist()
        ink = tuple(generator.integers(0, 140, 3).tolist())
        pen.text(place, word, fill=ink, font_size=float(generator.uniform(8, 60)))
    return np.asarray(page, float)


def _ridges(generator: np.random.Generator, height: int, width: int) -> Floats:
    """Bent lines, as of a fingerprint."""
    y, x = np.mgrid[:height, :width]
    wave = (x * generator.normal() + y * generator.normal()) * generator.uniform(0.1, 0.8)
    bent = np.sin(wave + _clouds(generator, 16, height, width) * generator.uniform(0, 6))
    inks = generator.integers(0, 256, (2, 3)).astype(float)
    return np.asarray(np.where(bent[..., None] > generator.uniform(-0.8, 0.8), *inks))


def _tissue(generator: np.random.Generator, height: int, width: int) -> Floats:
    """Pink ground with small violet nuclei everywhere, as haematoxylin and eosin stain it."""
    fibres = _clouds(generator, int(generator.integers(4, 30)), height, width)[..., None]
    ground = np.array([225, 150, 190]) + generator.normal(0, 10, 3) + fibres * (15, 30, 15)
    image = Image.fromarray(ground.clip(0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    radius = generator.uniform(2, 14)
    for _ in range(int(height * width * generator.uniform(0.1, 0.6) / (4 * radius**2))):
        middle = generator.uniform(0, (width, height))
        axes = np.maximum(1, radius * generator.uniform(0.5, 1.1, 2))
        colour = generator.normal((110, 70, 140), 20).clip(0, 255).astype(int)
        pen.ellipse([*(middle - axes), *(middle + axes)], fill=tuple(colour.tolist()))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(generator.uniform(0.6, 2))), float)


def _gradient(generator: np.random.Generator, height: int, width: int) -> Floats:
    y, x = np.mgrid[:height, :width][..., None]
    slopes = generator.normal(0, 0.5, (2, 3))
    return np.asarray(generator.integers(0, 256, 3) + x * slopes[0] + y * slopes[1])


def _fluorescence(generator: np.random.Generator, height: int, width: int) -> Floats:
    """Glowing spots of one colour on black."""
    page = Image.new("L", (width, height))
    pen = ImageDraw.Draw(page)
    for _ in range(generator.integers(1, 40)):
        middle, axes = generator.uniform(0, (width, height)), generator.uniform(4, 40, 2)
        pen.ellipse([*(middle - axes), *(middle + axes)], fill=int(generator.integers(40, 256)))
    glow = np.asarray(page.filter(ImageFilter.GaussianBlur(generator.uniform(1, 4))), float)
    return np.asarray(glow[..., None] * np.roll([1.0, 0.2, 0.1], generator.integers(3)))


def _shapes(generator: np.random.Generator, height: int, width: int) -> Floats:
    page = Image.new("RGB", (width, height), tuple([int(generator.choice([0, 200, 255]))] * 3))
    pen = ImageDraw.Draw(page)
    for _ in range(generator.integers(1, 6)):
        corners = np.sort(generator.uniform(0, (width, height), (2, 2)), axis=0).ravel()
        colour = tuple(generator.integers(0, 256, 3).tolist())
        if generator.random() < 0.5:
            pen.rectangle(corners.tolist(), fill=colour)
        else:
            pen.rectangle(corners.tolist(), outline=colour, width=int(generator.choice([1, 3, 8])))
    return np.asarray(page, float)


def _clouds(generator: np.random.Generator, grain: int, height: int, width: int) -> Floats:
    """Smooth noise whose patches are `grain` pixels wide, (H, W)."""
    coarse = generator.normal(0, 1, (height // grain + 2, width // grain + 2)).astype(np.float32)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(smooth, float)


KINDS: Mapping[str, Callable[[np.random.Generator, int, int], Floats]] = {
    "one colour": _plain,
    "noise": _noise,
    "text": _text,
    "a fingerprint": _ridges,
    "tissue": _tissue,
    "a gradient": _gradient,
    "fluorescence": _fluorescence,
    "shapes": _shapes,
}

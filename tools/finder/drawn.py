"""Pictures of what is no smear at all, drawn for the finder to leave alone."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from wbczoo_datasets.fields import render_field

Pixels = NDArray[np.uint8]


def draw_other(rng: np.random.Generator) -> Pixels:
    """A picture without a white cell in it: noise, text, lines, tissue, fluorescence, shapes."""
    height, width = int(rng.integers(150, 300)), int(rng.integers(150, 400))
    ground = rng.integers(0, 256, 3).astype(float)
    image = np.ones((height, width, 3)) * ground
    y, x = np.mgrid[:height, :width]
    match rng.integers(9):
        case 0:
            image += rng.normal(0, rng.uniform(0, 90), image.shape)
        case 1:
            image = _text(rng, width, height)
        case 2:
            wave = (x * rng.normal() + y * rng.normal()) * rng.uniform(0.1, 0.8)
            bent = np.sin(wave + _clouds(rng, 16, width, height) * rng.uniform(0, 6))
            lines = bent[..., None] > rng.uniform(-0.8, 0.8)
            image = np.where(lines, rng.integers(0, 256, 3), image)
        case 3 | 4 | 5:
            image = _tissue(rng, width, height)
        case 6:
            image += x[..., None] * rng.normal(0, 0.5, 3) + y[..., None] * rng.normal(0, 0.5, 3)
        case 7:
            image = 255.0 - render_field(int(rng.integers(0, 6)), rng).image[::2, ::2]
            if rng.random() < 0.5:  # as fluorescence shows it: one colour on black
                image *= np.roll([1.0, 0.2, 0.1], rng.integers(3))
        case _:
            image[:] = rng.choice([0, 255, 200])
            for _ in range(rng.integers(0, 6)):
                corners = [(int(rng.integers(width)), int(rng.integers(height))) for _ in range(2)]
                colour = [float(level) for level in rng.integers(0, 256, 3)]
                cv2.rectangle(image, *corners, colour, int(rng.choice([-1, 1, 3, 8])))
    return image.clip(0, 255).astype(np.uint8)


def _clouds(rng: np.random.Generator, grain: int, width: int, height: int) -> NDArray[np.float32]:
    coarse = rng.normal(0, 1, (height // grain + 2, width // grain + 2)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def _text(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float64]:
    page = Image.new("RGB", (width, height), tuple(rng.integers(170, 256, 3).tolist()))
    pen = ImageDraw.Draw(page)
    for _ in range(rng.integers(5, 60)):
        word = "".join(chr(rng.integers(33, 120)) for _ in range(rng.integers(1, 14)))
        place = (rng.uniform(-20, width), rng.uniform(-5, height))
        ink = tuple(rng.integers(0, 140, 3).tolist())
        pen.text(place, word, fill=ink, font_size=float(rng.uniform(8, 60)))
    return np.asarray(page, np.float64)


def _tissue(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float64]:
    """Pink ground with small violet nuclei everywhere, as haematoxylin and eosin stain it."""
    fibres = _clouds(rng, int(rng.integers(4, 30)), width, height)[..., None]
    image = np.array([225, 150, 190.0]) + fibres * np.array([15, 30, 15.0])
    image += rng.normal(0, 10, 3)
    radius = rng.uniform(2, 14)
    for _ in range(int(height * width * rng.uniform(0.1, 0.6) / (4 * radius**2))):
        middle = (int(rng.integers(width)), int(rng.integers(height)))
        axes = [max(1, int(radius * rng.uniform(0.5, 1.1))) for _ in range(2)]
        colour = (np.array([110, 70, 140]) + rng.normal(0, 20, 3)).tolist()
        cv2.ellipse(image, middle, axes, rng.uniform(0, 180), 0, 360, colour, -1)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 2)))

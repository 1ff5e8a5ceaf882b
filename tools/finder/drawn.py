"""Drawn fields with any number of white cells, and pictures of what is no smear at all."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from wbczoo_datasets import smear

Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]
Place = tuple[str, float, float, float]  # class, x, y, radius

CLASSES = ("eosinophil", "lymphocyte", "monocyte", "neutrophil")


def draw_field(rng: np.random.Generator, cells: int) -> tuple[Pixels, list[Box]]:
    """A field of 640x480 with up to so many white cells, every other one touching another.

    Returns:
        the image, uint8 (480, 640, 3), and the boxes of its white cells, cut at the frame.
    """
    size = rng.uniform(0.5, 0.85) if cells > 1 else rng.uniform(0.55, 1)
    places = _places(rng, cells, size)
    density = np.zeros((smear.HEIGHT, smear.WIDTH, 3), np.float32)
    usual = rng.uniform(38, 50) * size
    _add_red_cells(density, places, usual, size, rng)
    for _ in range(rng.integers(0, 12)):
        x, y = rng.uniform(0, smear.WIDTH), rng.uniform(0, smear.HEIGHT)
        rows, columns, u, v = smear._patch((x, y, rng.uniform(0.12, 0.45) * usual), rng)
        thickness = smear._inside(smear._wobbled(u, v, 0.15, rng) - 1, 0.15) * rng.uniform(0.4, 2)
        density[rows, columns] += smear._stained(thickness, smear._PLATELET)
    for kind, x, y, radius in places:
        smear._add_white_cell(density, kind, (x, y, radius), rng)
    density *= -rng.lognormal(0, 0.1, 3).astype(np.float32)
    light = np.exp(density) * smear._illuminate(rng)
    light += 2.5 * rng.standard_normal((*light.shape[:2], 1), np.float32)
    image = Image.fromarray(light.clip(0, 255).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 2)))
    boxes = [
        (max(0.0, x - r), max(0.0, y - r), min(smear.WIDTH, x + r), min(smear.HEIGHT, y + r))
        for _, x, y, r in places
    ]
    return np.asarray(image), boxes


def _places(rng: np.random.Generator, cells: int, size: float) -> list[Place]:
    places: list[Place] = []
    for _ in range(cells):
        kind = CLASSES[rng.integers(4)]
        radius = rng.uniform(*smear._LOOKS[kind].radius) * size
        for _ in range(60):
            if places and rng.random() < 0.5:
                _, x, y, other = places[rng.integers(len(places))]
                angle, apart = rng.uniform(0, 2 * np.pi), (other + radius) * rng.uniform(0.92, 1.1)
                x, y = x + apart * np.cos(angle), y + apart * np.sin(angle)
            else:
                x, y = rng.uniform(0, smear.WIDTH), rng.uniform(0, smear.HEIGHT)
            seen = 0.2 * radius
            free = all(np.hypot(x - p[1], y - p[2]) > 0.9 * (radius + p[3]) for p in places)
            if seen < x < smear.WIDTH - seen and seen < y < smear.HEIGHT - seen and free:
                places.append((kind, x, y, radius))
                break
    return places


def _add_red_cells(
    density: NDArray[np.float32],
    places: Sequence[Place],
    usual: float,
    size: float,
    rng: np.random.Generator,
) -> None:
    pallor = rng.uniform(0.3, 0.9)
    for _ in range(int(rng.integers(5, 34) / size**2)):
        x, y = rng.uniform(-20, smear.WIDTH + 20), rng.uniform(-20, smear.HEIGHT + 20)
        radius = usual * rng.normal(1, 0.08)
        if any(np.hypot(x - p[1], y - p[2]) < p[3] + 0.8 * radius for p in places):
            continue
        rows, columns, u, v = smear._patch((x, y, radius), rng)
        if u.size:
            distance = smear._wobbled(u * rng.uniform(1, 1.35), v, 0.035, rng)
            hollow = pallor * rng.uniform(0.3, 1.1) * np.exp(-((distance / 0.42) ** 2))
            thickness = smear._inside(distance - 1, 0.035) * (1 - hollow)
            thickness *= (0.85 + 0.2 * distance**2) * rng.uniform(0.8, 1.15)
            density[rows, columns] += smear._stained(thickness, smear._HAEMOGLOBIN)


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
            image = 255.0 - draw_field(rng, int(rng.integers(0, 6)))[0][::2, ::2]
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

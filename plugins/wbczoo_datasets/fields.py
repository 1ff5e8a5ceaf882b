"""A field of a smear is rendered here: any number of white cells, touching or cut by the frame.

What a photograph of one cell is made of (`smear`) makes a field, too: white and red cells,
platelets, precipitate, the lamp. The order of the draws is kept, for the finder of white cells is
trained on these fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from wbczoo.tasks import CELL
from wbczoo_datasets import smear

Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]
Place = tuple[str, float, float, float]  # class, x, y, radius

# Optical density of red cells that took on blue (polychromasia, or a buffer too alkaline).
_BLUED = (0.38, 0.42, 0.26)


@dataclass(frozen=True)
class Field:
    """A rendered field of 640x480.

    Attributes:
        image: uint8 RGB (480, 640, 3).
        classes: of its white cells.
        boxes: of its white cells, cut at the frame.
        red: boxes of its red cells.
    """

    image: Pixels
    classes: tuple[str, ...]
    boxes: list[Box]
    red: list[Box]


def render_field(
    cells: int,
    rng: np.random.Generator,
    *,
    magnification: float | None = None,
    lamp: tuple[float, float, float] = (1, 1, 1),
) -> Field:
    """Render a field with up to so many white cells, every other one touching another.

    Platelets of every size up to giant ones, now and then precipitate of stain, red cells that
    took on blue, and marks of an eyepiece are in it too.

    Args:
        cells: of random classes; as many as find a place.
        rng: decides everything that varies.
        magnification: 1 shows a white cell 100 to 230 pixels wide; None draws from .5 to 1.
        lamp: gains of red, green and blue light.
    """
    size = rng.uniform(0.5, 0.85) if cells > 1 else rng.uniform(0.55, 1)
    size = magnification or size
    places = _places(rng, cells, size)
    density = np.zeros((smear.HEIGHT, smear.WIDTH, 3), np.float32)
    usual = rng.uniform(38, 50) * size
    red = _add_red_cells(density, places, usual, size, rng)
    _add_platelets(density, usual, rng)
    for kind, x, y, radius in places:
        smear.add_white_cell(density, kind, (x, y, radius), rng)
    density *= -rng.lognormal(0, 0.1, 3).astype(np.float32)
    light = np.exp(density) * smear.illuminate(rng) * np.array(lamp, np.float32)
    light += 2.5 * rng.standard_normal((*light.shape[:2], 1), np.float32)
    image = Image.fromarray(light.clip(0, 255).astype(np.uint8))
    if rng.random() < 0.15:
        _mark_frame(image, rng)
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 2)))
    classes = tuple(kind for kind, *_ in places)
    return Field(np.asarray(image), classes, [_cut(*place[1:]) for place in places], red)


def _cut(x: float, y: float, radius: float) -> Box:
    """A circle's box, cut at the frame."""
    right, bottom = min(smear.WIDTH, x + radius), min(smear.HEIGHT, y + radius)
    return max(0.0, x - radius), max(0.0, y - radius), right, bottom


def _places(rng: np.random.Generator, cells: int, size: float) -> list[Place]:
    places: list[Place] = []
    for _ in range(cells):
        kind = CELL.classes[rng.integers(4)]
        radius = rng.uniform(*smear.LOOKS[kind].radius) * size
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
) -> list[Box]:
    pallor, boxes = rng.uniform(0, 0.9), []
    blue = rng.uniform(0, 1) if rng.random() < 0.3 else 0.0
    stain = (1 - blue) * np.array(smear.HAEMOGLOBIN) + blue * np.array(_BLUED)
    stain *= rng.uniform(0.7, 1.8)
    for _ in range(int(rng.integers(5, 34) / size**2)):
        x, y = rng.uniform(-20, smear.WIDTH + 20), rng.uniform(-20, smear.HEIGHT + 20)
        radius = usual * rng.normal(1, 0.08)
        if any(np.hypot(x - p[1], y - p[2]) < p[3] + 0.8 * radius for p in places):
            continue
        rows, columns, u, v = smear.patch((x, y, radius), rng)
        if u.size:
            length = rng.uniform(1, 1.35)
            distance = smear.wobbled(u * length, v, 0.035, rng)
            hollow = pallor * rng.uniform(0.3, 1.1) * np.exp(-((distance / 0.42) ** 2))
            thickness = smear.inside(distance - 1, 0.035) * (1 - hollow)
            thickness *= (0.85 + 0.2 * distance**2) * rng.uniform(0.8, 1.15)
            density[rows, columns] += smear.stained(thickness, tuple(stain))
            boxes.append(_cut(x, y, radius / length**0.5))
    return [box for box in boxes if box[2] > box[0] and box[3] > box[1]]


def _add_platelets(density: NDArray[np.float32], usual: float, rng: np.random.Generator) -> None:
    """Platelets of a twentieth to a half of a red cell's area, in heaps too, and precipitate."""
    spots = [
        (rng.uniform(0, smear.WIDTH), rng.uniform(0, smear.HEIGHT), rng.uniform(0.12, 0.55))
        for _ in range(rng.integers(0, 16))
    ]
    for x, y, _ in spots[:2]:  # heaps
        spots += [(*rng.normal((x, y), usual), 0.2) for _ in range(rng.integers(0, 6))]
    if rng.random() < 0.2:
        x, y = rng.uniform(0, smear.WIDTH), rng.uniform(0, smear.HEIGHT)
        grains = rng.normal((x, y), usual * rng.uniform(0.3, 3), (rng.integers(5, 60), 2))
        spots += [(*grain, rng.uniform(0.03, 0.1)) for grain in grains]
    for x, y, share in spots:
        rows, columns, u, v = smear.patch((x, y, share * usual), rng)
        if u.size:
            thickness = smear.inside(smear.wobbled(u, v, 0.15, rng) - 1, 0.15)
            thickness *= rng.uniform(0.4, 2) * (1 + 0.4 * smear.texture(u.shape, 4, rng))
            density[rows, columns] += smear.stained(thickness, smear.PLATELET)


def _mark_frame(image: Image.Image, rng: np.random.Generator) -> None:
    """A pointer, a scale bar with its length, or the black round of an eyepiece."""
    pen = ImageDraw.Draw(image)
    x, y = int(rng.integers(smear.WIDTH)), int(rng.integers(smear.HEIGHT))
    ink = tuple(int(level) for level in rng.integers(0, 60, 3))
    match rng.integers(3):
        case 0:
            pen.line((x, y, x + rng.normal(0, 200), y + rng.normal(0, 200)), ink, 4)
        case 1:
            pen.line((x, y, x + 90, y), ink, int(rng.integers(3, 9)))
            pen.text((x + 15, y - 30), f"{rng.integers(5, 50)} um", ink, font_size=24.0)
        case _:
            reach, wide = rng.uniform(310, 380), 120
            pen.ellipse(
                (320 - reach - wide, 240 - reach - wide, 320 + reach + wide, 240 + reach + wide),
                outline=(0, 0, 0),
                width=wide,
            )

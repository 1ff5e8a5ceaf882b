"""A seed and a cell class become a rendered photograph of a blood smear, and views made from it.

Light is absorbed as in a real smear (Beer and Lambert): everything on the slide adds optical
density, so that cells which overlap darken each other. Lengths are pixels of a 640x480
photograph, or fractions of a cell's radius where a shape is drawn. Nothing here is a model of
disease or of a laboratory: it is something to try the software on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Array = NDArray[np.float32]
Box = tuple[int, int, int, int]

WIDTH, HEIGHT = 640, 480
VIEW = (320, 240)  # (W, H) of a view, half a photograph

# Optical density of red, green and blue light at full thickness.
HAEMOGLOBIN = (0.10, 0.38, 0.40)
_CHROMATIN = (0.92, 1.40, 0.22)
PLATELET = (0.45, 0.55, 0.06)
_ACID_GRANULES = (0.04, 0.75, 0.62)


@dataclass(frozen=True)
class _Look:
    """How white cells of a class differ; a pair is a range to draw from."""

    radius: tuple[float, float]
    cytoplasm: tuple[float, float, float]
    grain: tuple[float, float]  # size in pixels and strength of the cytoplasm's texture
    chromatin: tuple[float, float]  # relative density
    clumps: tuple[float, float]  # size in pixels and strength of the nucleus's texture


LOOKS = {
    "eosinophil": _Look((70, 98), (0.05, 0.24, 0.16), (4, 0.25), (0.70, 1.0), (14, 0.22)),
    "lymphocyte": _Look((50, 80), (0.42, 0.30, 0.03), (8, 0.12), (0.90, 1.25), (11, 0.14)),
    "monocyte": _Look((84, 116), (0.30, 0.27, 0.06), (5, 0.30), (0.58, 0.85), (12, 0.32)),
    "neutrophil": _Look((70, 100), (0.11, 0.24, 0.08), (3, 0.40), (0.80, 1.10), (13, 0.22)),
}


@dataclass(frozen=True)
class Photograph:
    """A rendered photograph at a view's size, and the circle (x, y, radius) of its white cell."""

    image: Image.Image
    cell: tuple[float, float, float]


def render_photograph(cell_class: str, rng: np.random.Generator) -> Photograph:
    """Render one photograph of a smear with one white cell of the class in it.

    Args:
        cell_class: a class of the task `cell`.
        rng: decides everything that varies: places, shapes, stain, light, focus.
    """
    look = LOOKS[cell_class]
    radius = rng.uniform(*look.radius)
    x, y = rng.uniform(0.25, 0.75) * WIDTH, rng.uniform(0.28, 0.72) * HEIGHT
    stain = rng.lognormal(0, 0.10, 3).astype(np.float32)  # differs from slide to slide
    density = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    _add_red_cells(density, (x, y, radius), rng)
    _add_platelets(density, rng)
    add_white_cell(density, cell_class, (x, y, radius), rng)
    density *= -stain
    light = np.exp(density, out=density)
    light *= illuminate(rng)
    light += 2.5 * rng.standard_normal((HEIGHT, WIDTH, 1), np.float32)
    image = Image.fromarray(np.clip(light, 0, 255, out=light).astype(np.uint8)).reduce(2)
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.8)))  # focus
    return Photograph(image, (x / 2, y / 2, radius / 2))


def render_view(photograph: Photograph, rng: np.random.Generator) -> tuple[Image.Image, Box]:
    """Turn, shear, shift, perhaps mirror and brighten a photograph; what is uncovered is black.

    Returns the view (320x240) and the white cell's box in it, in pixels, cut at the frame.
    """
    angle = np.deg2rad(rng.uniform(-20, 20))
    shear, mirror = rng.uniform(-0.1, 0.1), rng.choice((-1.0, 1.0))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    forward = turn @ np.array([[mirror, shear], [0.0, 1.0]])
    centre = np.array(VIEW) / 2
    shift = centre + rng.uniform(-0.08, 0.08, 2) * VIEW - forward @ centre
    back = np.linalg.inv(forward)  # Pillow asks where a view's pixel comes from
    offset = -back @ shift
    image = photograph.image.transform(
        VIEW,
        Image.Transform.AFFINE,
        (*back[0], offset[0], *back[1], offset[1]),
        Image.Resampling.BILINEAR,
    )
    brightness = rng.uniform(0.95, 1.13)
    image = image.point([min(255, round(level * brightness)) for level in range(256)] * 3)
    x, y, radius = photograph.cell
    middle = forward @ (x, y) + shift
    reach = radius * np.sqrt((forward**2).sum(axis=1))  # half the sides of a turned circle's box
    low, high = np.clip([middle - reach, middle + reach], 0, VIEW)
    return image, (round(low[0]), round(low[1]), round(high[0]), round(high[1]))


def illuminate(rng: np.random.Generator) -> Array:
    """The empty field: pale, a little brighter in one place, shaded on one side; (H, W, 3)."""
    across = np.linspace(-1, 1, WIDTH, dtype=np.float32)
    down = np.linspace(-1, 1, HEIGHT, dtype=np.float32)[:, None]
    slope = rng.normal(0, 0.025, 2).astype(np.float32)
    bowl = np.float32(rng.uniform(0, 0.06))
    shade = 1 + slope[0] * across + slope[1] * down - bowl * (across**2 + down**2)
    colour = np.array([226, 226, 216]) + rng.normal(0, 5) + rng.normal(0, 2.5, 3)
    return np.asarray(shade[..., None] * colour.astype(np.float32), np.float32)


def _add_red_cells(
    density: Array, white: tuple[float, float, float], rng: np.random.Generator
) -> None:
    usual = rng.uniform(38, 50)
    pallor = rng.uniform(0.3, 0.9)
    for _ in range(rng.integers(14, 32)):
        x, y = rng.uniform(-20, WIDTH + 20), rng.uniform(-20, HEIGHT + 20)
        radius = usual * rng.normal(1, 0.08)
        if np.hypot(x - white[0], y - white[1]) < white[2] + 0.8 * radius:
            continue  # a white cell pushes red ones aside
        rows, columns, u, v = patch((x, y, radius), rng)
        distance = wobbled(u * rng.uniform(1, 1.35), v, 0.035, rng)
        hollow = pallor * rng.uniform(0.3, 1.1) * np.exp(-((distance / 0.42) ** 2))
        thickness = inside(distance - 1, 0.035) * (1 - hollow) * (0.85 + 0.2 * distance**2)
        density[rows, columns] += stained(thickness * rng.uniform(0.8, 1.15), HAEMOGLOBIN)


def _add_platelets(density: Array, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(0, 6)):
        place = (rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), rng.uniform(6, 14))
        rows, columns, u, v = patch(place, rng)
        thickness = inside(wobbled(u, v, 0.15, rng) - 1, 0.15) * rng.uniform(0.4, 1)
        density[rows, columns] += stained(thickness, PLATELET)


def add_white_cell(
    density: Array,
    cell_class: str,
    place: tuple[float, float, float],
    rng: np.random.Generator,
) -> None:
    look = LOOKS[cell_class]
    rows, columns, u, v = patch(place, rng)
    ragged = 0.07 if cell_class == "monocyte" else 0.03
    body = wobbled(u * rng.uniform(1, 1.12), v, ragged, rng)
    cell = inside(body - 1, 0.03)
    warped = 0.09 * texture(u.shape, 40, rng)  # keeps every outline from being a formula's
    nucleus = inside(_nucleus(cell_class, u + warped, v - warped, rng), 0.02) * cell
    cytoplasm = stained(1 + look.grain[1] * texture(u.shape, look.grain[0], rng), look.cytoplasm)
    if cell_class == "eosinophil":
        scattered = _granules(u, place[2], rng) * rng.uniform(0.65, 1.0)
        cytoplasm += stained(scattered, _ACID_GRANULES)
        nucleus *= 1 - 0.35 * scattered  # some lie above the nucleus
    if cell_class == "monocyte":
        cytoplasm *= 1 - 0.8 * _vacuoles(u, v, rng)[..., None]
    clumped = 1 + look.clumps[1] * texture(u.shape, look.clumps[0], rng)
    chromatin = stained(clumped * rng.uniform(*look.chromatin), _CHROMATIN)
    cell, nucleus = cell[..., None], nucleus[..., None]
    covered = density[rows, columns]
    covered *= 1 - 0.85 * cell
    covered += cell * ((1 - nucleus) * cytoplasm + nucleus * chromatin)


def _nucleus(cell_class: str, u: Array, v: Array, rng: np.random.Generator) -> Array:
    """Signed distance from the nucleus's outline, negative inside, in cell radii."""
    if cell_class == "lymphocyte":
        size = rng.uniform(0.76, 0.92)
        dent = rng.uniform(0, 0.10) * np.exp(-((u - size) ** 2 + v**2) / 0.08)
        return np.asarray(wobbled(u + 0.06, v, 0.03, rng) - size + dent, np.float32)
    if cell_class == "monocyte":  # a thick arc: a kidney where it is short, a horseshoe where long
        angles = _arc(rng.uniform(2.0, 3.8), 7, rng)
        bend = rng.uniform(0.34, 0.44)
        sizes = np.full(len(angles), rng.uniform(0.31, 0.40))
        strand = sizes[0]
    elif cell_class == "eosinophil":
        lobes = 2 if rng.random() < 0.88 else 3
        angles = _arc(rng.uniform(2.0, 2.9) * (lobes - 1) / 1.2, lobes, rng)
        bend = rng.uniform(0.38, 0.48)
        sizes = rng.uniform(0.31, 0.40, lobes)
        strand = rng.uniform(0.05, 0.14)
    else:
        lobes = int(rng.integers(3, 6))
        angles = _arc(rng.uniform(3.4, 5.2), lobes, rng) + rng.normal(0, 0.12, lobes)
        bend = rng.uniform(0.40, 0.52)
        sizes = rng.uniform(0.20, 0.29, lobes)
        strand = rng.uniform(0.05, 0.11)
    spread = bend * rng.normal(1, 0.08, len(angles))
    xs, ys = spread * np.cos(angles), spread * np.sin(angles)
    xs, ys = xs - 0.6 * xs.mean(), ys - 0.6 * ys.mean()  # towards the cell's middle
    parts = [np.hypot(u - x, v - y) - s for x, y, s in zip(xs, ys, sizes, strict=True)]
    for i in range(len(xs) - 1):
        parts.append(_segment(u, v, (xs[i], ys[i]), (xs[i + 1], ys[i + 1])) - strand)
    melt = 0.035  # neighbours flow into one another over this length
    return np.asarray(-melt * np.log(sum(np.exp(-part / melt) for part in parts)), np.float32)


def _arc(span: float, points: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Angles of points spread evenly over a span in radians that starts anywhere."""
    return np.asarray(rng.uniform(0, 2 * np.pi) + np.linspace(0, span, points))


def _segment(u: Array, v: Array, a: tuple[float, float], b: tuple[float, float]) -> Array:
    """Distance from the straight line between two points."""
    du, dv = b[0] - a[0], b[1] - a[1]
    along = np.clip(((u - a[0]) * du + (v - a[1]) * dv) / (du**2 + dv**2 + 1e-9), 0, 1)
    return np.asarray(np.hypot(u - a[0] - along * du, v - a[1] - along * dv), np.float32)


def _granules(u: Array, radius: float, rng: np.random.Generator) -> Array:
    """Coarse round granules over the whole patch, 0 to 1."""
    height, width = u.shape
    mask = Image.new("L", (width, height))
    draw = ImageDraw.Draw(mask)
    for x, y in rng.uniform(0, 1, (int(0.08 * radius**2), 2)) * (width, height):
        size = rng.uniform(1.8, 3.4)
        draw.ellipse((x - size, y - size, x + size, y + size), fill=int(rng.integers(150, 256)))
    mask = mask.filter(ImageFilter.GaussianBlur(0.9))
    return np.asarray(mask, np.float32) / np.float32(255)


def _vacuoles(u: Array, v: Array, rng: np.random.Generator) -> Array:
    """A few clear bubbles, 0 to 1."""
    clear = np.zeros_like(u)
    for x, y in rng.uniform(-0.8, 0.8, (rng.integers(0, 9), 2)):
        clear = np.maximum(clear, inside(np.hypot(u - x, v - y) - rng.uniform(0.03, 0.08), 0.02))
    return clear


def patch(
    place: tuple[float, float, float], rng: np.random.Generator
) -> tuple[slice, slice, Array, Array]:
    """Rows and columns around a cell, and coordinates (u, v) turned at random, in its radii."""
    x, y, radius = place
    reach = 1.3 * radius
    left, right = np.clip([int(x - reach), int(x + reach) + 1], 0, WIDTH)
    top, bottom = np.clip([int(y - reach), int(y + reach) + 1], 0, HEIGHT)
    across = ((np.arange(left, right) - x) / radius).astype(np.float32)
    down = ((np.arange(top, bottom) - y) / radius).astype(np.float32)[:, None]
    angle = rng.uniform(0, 2 * np.pi)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return (
        slice(top, bottom),
        slice(left, right),
        cosine * across + sine * down,
        cosine * down - sine * across,
    )


def wobbled(u: Array, v: Array, wobble: float, rng: np.random.Generator) -> Array:
    """Distance from the centre, 1 on an outline that is nearly a circle."""
    around = np.arctan2(v, u)
    outline = np.ones_like(u)
    for waves in (2, 3, 5):
        size, phase = rng.normal(0, wobble / np.sqrt(waves)), rng.uniform(0, 2 * np.pi)
        outline += np.float32(size) * np.cos(waves * around + np.float32(phase))
    return np.asarray(np.hypot(u, v) / outline, np.float32)


def texture(shape: tuple[int, ...], grain: float, rng: np.random.Generator) -> Array:
    """Smooth noise between about -1 and 1 whose patches are `grain` pixels wide."""
    coarse = rng.uniform(-1, 1, (int(shape[0] / grain) + 2, int(shape[1] / grain) + 2))
    noise = Image.fromarray(coarse.astype(np.float32))
    return np.asarray(noise.resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def inside(distance: Array, softness: float) -> Array:
    """1 where a signed distance is negative, 0 where positive, soft between."""
    return np.asarray(np.clip(0.5 - distance / (2 * softness), 0, 1), np.float32)


def stained(thickness: Array, colour: tuple[float, float, float]) -> Array:
    """Optical density (h, w, 3) of a stained thickness (h, w)."""
    return np.asarray(thickness[..., None] * np.array(colour, np.float32), np.float32)

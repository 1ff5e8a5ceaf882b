"""What an image is shown as follows from seed, epoch and place alone; a cell stays a cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from wbczoo.data.augment import (
    Augmentation,
    blend,
    defocus,
    distort,
    draw_focus,
    draw_places,
    draw_stains,
    draw_turns,
    mates,
    restain,
    turn,
)

PLACES = [0.68252, -0.66177, 0.03145, 0.62845, 0.64816, -0.00029]
STAINS = [
    0.88112,
    0.01772,
    0.01714,
    7e-05,
    -0.00291,
    0.7526,
    -0.04326,
    0.03932,
    -0.00716,
    0.00726,
    1.0091,
    -0.00516,
]


@dataclass(frozen=True)
class Settings:
    """What a training's config says."""

    augment: bool = False
    distort: float = 0.0
    stain: float = 0.0
    hue: float | None = None
    blur: float = 0.0
    mixup: float = 0.0
    seed: int = 0


def pixels(rows: int = 10, height: int = 6, width: int = 8) -> np.ndarray:
    """Rows that differ in every value: (rows, H, W, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (rows, height, width, 3), np.uint8)


def smooth(count: int, side: int = 48) -> torch.Tensor:
    """A dark disc on a pale slide, off the middle: (N, 3, S, S) uint8."""
    rows, columns = np.mgrid[:side, :side]
    image = np.full((side, side, 3), 220, np.uint8)
    image[np.hypot(rows - side * 0.4, columns - side * 0.6) < side / 5] = (110, 70, 170)
    return torch.from_numpy(image).permute(2, 0, 1).expand(count, 3, side, side)


def test_what_is_drawn_is_the_same_on_every_machine() -> None:
    """A resumed run meets the images as it would have: these numbers must not change."""
    assert draw_turns(0, 0, 8, square=True).tolist() == [7, 3, 0, 3, 6, 4, 4, 2]
    places, stains = draw_places(0, 0, 2, 1.0), draw_stains(0, 0, 2, 0.3)
    assert places is not None
    assert stains is not None
    assert places[0].ravel().tolist() == pytest.approx(PLACES, abs=1e-5)
    assert stains[0].ravel().tolist() == pytest.approx(STAINS, abs=1e-5)


def test_hue_spreads_the_channels_and_leaves_how_dark_an_image_is() -> None:
    plain, hued = draw_stains(0, 0, 4000, 0.3), draw_stains(0, 0, 4000, 0.3, hue=0.6)
    half = draw_stains(0, 0, 4000, 0.3, hue=0.15)
    alone = draw_stains(0, 0, 4000, 0.0, hue=0.6)
    assert plain is not None
    assert hued is not None
    assert alone is not None
    assert np.array_equal(plain, half)
    own = np.log(np.abs(np.stack([each[:, range(3), range(3)] for each in (plain, hued, alone)])))
    spread = (own - own.mean(2, keepdims=True)).std((1, 2))  # between the channels of an image
    assert spread[0] == pytest.approx(0.15 * (2 / 3) ** 0.5, rel=0.1)
    assert spread[1] == pytest.approx(0.6 * (2 / 3) ** 0.5, rel=0.1)
    assert np.median(own[1]) == pytest.approx(0, abs=0.05)
    assert draw_stains(0, 0, 4, 0.0, hue=0.0) is None


def test_a_blend_keeps_most_of_each_image_and_takes_the_rest_of_its_mate() -> None:
    shown = Augmentation(Settings(mixup=0.4), 0, 500, square=True)
    assert shown.blends is not None
    assert shown.blends.min() >= 0.5
    assert shown.blends.max() <= 1
    images = torch.from_numpy(pixels(4)).permute(0, 3, 1, 2)
    shares = np.array([1, 0.5, 0.75, 1], np.float32)
    blended = blend(images, shares)
    assert torch.equal(blended[0], images[0])
    mixed = 0.75 * images[2].float() + 0.25 * images[1].float()
    assert (blended[2].float() - mixed).abs().max() <= 0.5
    assert mates(6, 2).tolist() == [4, 5, 0, 1, 2, 3]  # each with its own device's


def test_without_a_strength_nothing_is_done() -> None:
    images = smooth(3)
    plain = Augmentation(Settings(), 0, 3, square=True)
    assert plain.show(images, np.arange(3)) is images


def test_an_image_is_shown_by_its_place_whoever_stands_beside_it() -> None:
    images = torch.from_numpy(pixels(6, 16, 16).transpose(0, 3, 1, 2).copy())
    settings = Settings(augment=True, distort=1.0, stain=0.3, blur=0.5, seed=5)
    shown = Augmentation(settings, 2, 6, square=True).show(images, np.arange(6))
    again = Augmentation(settings, 2, 6, square=True)
    order = np.array([4, 1, 3])
    assert torch.equal(again.show(images[order], order), shown[order])
    assert shown.dtype == torch.uint8
    assert shown.is_contiguous(memory_format=torch.channels_last)
    for other in (Augmentation(settings, 3, 6, square=True),
                  Augmentation(Settings(True, 1.0, 0.3, 0.5, 6), 2, 6, square=True)):  # fmt: skip
        assert not torch.equal(other.show(images, np.arange(6)), shown)


def test_a_distorted_cell_keeps_its_colours_and_about_its_size() -> None:
    count = 400
    images = smooth(count)
    places = draw_places(0, 0, count, 1.0)
    assert places is not None
    shown = distort(images, places)
    disc = (shown[:, 2].float() < 200).flatten(1).sum(1) / float((images[0, 2] < 200).sum())
    assert 0.6 < float(disc.min()) < 0.8  # areas: 1 / 1.2 squared and 1.2 squared, less an edge's
    assert 1.3 < float(disc.max()) < 1.6
    assert int(shown.min()) >= 70
    assert int(shown.max()) <= 220
    # Any angle: the disc, which lies to one side, is met all around.
    rows, columns = np.mgrid[:48, :48] - 23.5
    dark = (shown[:, 2] < 200).numpy()
    angles = np.arctan2((dark * rows).sum((1, 2)), (dark * columns).sum((1, 2)))
    assert np.histogram(angles, bins=8, range=(-np.pi, np.pi))[0].min() > count / 8 / 2


def test_a_restained_slide_stays_pale_and_its_cell_dark() -> None:
    images = smooth(300)
    stains = draw_stains(0, 0, 300, 0.3)
    assert stains is not None
    shown = restain(images, stains).float()
    slide, cell = shown[:, :, 0, 0], shown[:, :, 19, 28]
    assert float((slide - cell)[:, 1].min()) > 20  # green, which both stains absorb
    assert float(slide.std(0).min()) > 8
    assert float(cell.std(0).min()) > 12
    # Without a change absorbance is read and written back exactly.
    none = np.zeros((300, 3, 4), np.float32)
    none[:, range(3), range(3)] = 1
    assert torch.equal(restain(images, none), images)


def test_a_share_of_the_images_loses_detail_and_a_share_is_grainy() -> None:
    focus = draw_focus(0, 0, 400, 0.3)
    assert focus is not None
    blurred, grainy = focus[:, 0] < 1, focus[:, 1] > 0
    assert 0.2 < blurred.mean() < 0.4
    assert 0.2 < grainy.mean() < 0.4
    assert 0.05 < (blurred & grainy).mean() < 0.15  # drawn apart
    images = smooth(400)
    shown = defocus(images, focus).float()
    assert torch.equal(shown[~(blurred | grainy)], images[~(blurred | grainy)].float())
    edge = lambda some: (some[:, 2, :, 1:] - some[:, 2, :, :-1]).abs().amax((1, 2))  # noqa: E731
    only = torch.from_numpy(blurred & ~grainy)
    assert float(edge(shown[only]).max()) < 0.8 * float(edge(images[:1].float()))
    slide = shown[torch.from_numpy(grainy), :, :9, :9].flatten(1)
    assert float(slide.std(1).max()) < 9
    assert float((slide.mean(1) - 220).abs().max()) < 3


def test_half_the_strength_moves_half_as_far() -> None:
    weak, strong = draw_places(1, 0, 500, 0.5), draw_places(1, 0, 500, 1.0)
    assert weak is not None
    assert strong is not None
    zoom = [np.log(np.linalg.det(found[:, :, :2])) for found in (weak, strong)]
    assert np.allclose(2 * zoom[0], zoom[1], atol=1e-4)
    assert np.allclose(2 * weak[:, :, 2], strong[:, :, 2], atol=1e-6)


def test_turns_are_a_function_of_seed_and_epoch_and_of_the_images_place() -> None:
    first = draw_turns(3, 1, 500, square=True)
    assert np.array_equal(draw_turns(3, 1, 500, square=True), first)
    assert not np.array_equal(draw_turns(3, 2, 500, square=True), first)
    assert not np.array_equal(draw_turns(4, 1, 500, square=True), first)
    assert np.bincount(first, minlength=8).min() > 30
    assert set(first.tolist()) == set(range(8))
    assert set(draw_turns(3, 1, 500, square=False).tolist()) == set(range(4))


def test_turns_are_the_eight_symmetries_of_a_square() -> None:
    image = torch.from_numpy(pixels(1, 5, 5).transpose(0, 3, 1, 2).copy())
    turned = turn(image.expand(8, 3, 5, 5), np.arange(8))
    found = {array.numpy().tobytes() for array in turned}
    expected = set()
    for mirrored in (image[0], image[0].flip(2)):
        for quarters in range(4):
            expected.add(torch.rot90(mirrored, quarters, (1, 2)).contiguous().numpy().tobytes())
    assert len(expected) == 8
    assert found == expected
    assert torch.equal(turned[0], image[0])


def test_turns_of_a_rectangle_keep_its_shape() -> None:
    image = torch.from_numpy(pixels(1).transpose(0, 3, 1, 2).copy())
    turned = turn(image.expand(4, 3, 6, 8), np.arange(4))
    assert turned.shape == (4, 3, 6, 8)
    assert torch.equal(turned[0], image[0])
    assert torch.equal(turned[1], image[0].flip(2))
    assert torch.equal(turned[2], image[0].flip(1))
    assert torch.equal(turned[3], torch.rot90(image[0], 2, (1, 2)))


def test_each_image_of_a_batch_is_turned_by_itself() -> None:
    images = torch.from_numpy(pixels(6).transpose(0, 3, 1, 2).copy())
    before = images.clone()
    turns = np.array([1, 0, 2, 3, 1, 0])
    turned = turn(images, turns)
    assert torch.equal(images, before)
    for place, kind in enumerate(turns):
        alone = turn(images[place : place + 1], np.array([kind]))
        assert torch.equal(turned[place], alone[0])
        assert torch.equal(
            turned[place].flatten(1).sort().values, before[place].flatten(1).sort().values
        )

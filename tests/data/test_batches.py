"""Batches hold what was asked for, and their order follows from seed and epoch alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from wbczoo.data.batches import Batches, draw_evenly, draw_order

CPU = torch.device("cpu")


def pixels(rows: int = 10, height: int = 6, width: int = 8) -> np.ndarray:
    """Rows that differ in every value: (rows, H, W, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (rows, height, width, 3), np.uint8)


@pytest.fixture
def batches() -> Batches:
    """Six images that lie in other rows of the cache, some left out of a task."""
    rows = np.array([9, 2, 5, 0, 7, 1])
    targets = {"cell": np.array([3, -1, 0, 1, 2, -1]), "nucleus": np.array([1, 0, 1, 0, 0, -1])}
    return Batches(pixels(), rows, targets, CPU)


def test_images_come_from_the_roles_rows_in_the_order_asked(batches: Batches) -> None:
    assert len(batches) == 6
    images = batches.images(np.array([4, 0, 0, 3]))
    assert (images.shape, images.dtype) == ((4, 3, 6, 8), torch.uint8)
    expected = pixels()[[7, 9, 9, 0]].transpose(0, 3, 1, 2)
    assert np.array_equal(images.numpy(), expected)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_a_batch_may_be_changed_without_harm_to_the_cache(batches: Batches) -> None:
    batches.images(np.array([0])).zero_()
    assert np.array_equal(batches.images(np.array([0]))[0].numpy(), pixels()[9].transpose(2, 0, 1))


def test_a_batch_comes_from_a_mapped_file_too(tmp_path: object) -> None:
    content = pixels()
    path = f"{tmp_path}/pixels.u8"
    content.tofile(path)
    mapped = np.memmap(path, np.uint8, "r", shape=content.shape)
    batches = Batches(mapped, np.arange(10), {}, CPU)
    images = batches.images(np.array([3, 1]))
    assert np.array_equal(images.numpy(), content[[3, 1]].transpose(0, 3, 1, 2))


def test_targets_come_with_their_images_and_keep_what_is_left_out(batches: Batches) -> None:
    targets = batches.targets_at(np.array([1, 5, 0]))
    assert {name: values.tolist() for name, values in targets.items()} == {
        "cell": [-1, -1, 3],
        "nucleus": [0, -1, 1],
    }
    assert all(values.dtype == torch.int64 for values in targets.values())


def test_an_order_is_a_function_of_seed_and_epoch() -> None:
    orders = {
        (seed, epoch): draw_order(seed, epoch, 50).tolist()
        for seed, epoch in itertools.product((0, 1, 2**63 - 1), (0, 1, 2))
    }
    for (seed, epoch), order in orders.items():
        assert sorted(order) == list(range(50))
        np.random.seed(epoch)  # somebody else's draw must not matter
        torch.manual_seed(seed % 5)
        assert draw_order(seed, epoch, 50).tolist() == order
    assert len(set(map(tuple, orders.values()))) == 9


def test_an_order_is_the_same_on_every_machine() -> None:
    """A resumed run meets the images as it would have: these numbers must not change."""
    assert draw_order(0, 0, 8).tolist() == [2, 4, 3, 6, 5, 0, 1, 7]


def test_even_shares_are_alike_over_laboratories_and_classes() -> None:
    targets = {"cell": np.array([0, 0, 0, 1, 2, 2]), "nucleus": np.array([0, 0, 0, -1, 1, 1])}
    laboratories = ("a", "a", "a", "a", "b", "b")
    batches = Batches(pixels(), np.arange(6), targets, CPU, laboratories)
    assert batches.even_shares() == pytest.approx([1 / 12, 1 / 12, 1 / 12, 1 / 4, 1 / 4, 1 / 4])


def test_an_even_draw_shows_an_image_as_often_as_its_share_says() -> None:
    shares = np.array([0.5, 0.25] + [0.25 / 18] * 18)
    drawn = {epoch: draw_evenly(3, epoch, shares) for epoch in range(4)}
    for order in drawn.values():
        counts = np.bincount(order, minlength=20)
        assert counts[0] == 10
        assert counts[1] == 5
        assert counts[2:].max() <= 1
    assert np.array_equal(drawn[2], draw_evenly(3, 2, shares))
    assert not np.array_equal(drawn[2], drawn[3])
    assert not np.array_equal(drawn[2], draw_evenly(4, 2, shares))

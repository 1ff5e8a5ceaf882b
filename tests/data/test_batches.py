"""Order and turns follow from seed and epoch alone, and a turn changes nothing but the pose."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from wbczoo.data.batches import Batches, draw_order, draw_turns, turn

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
    assert draw_turns(0, 0, 8, square=True).tolist() == [7, 3, 0, 3, 6, 4, 4, 2]


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


def test_each_image_of_a_batch_is_turned_by_itself(batches: Batches) -> None:
    images = batches.images(np.arange(6))
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

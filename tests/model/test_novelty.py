"""The novelty against numpy, how it is fitted, and what is left out against what is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wbczoo.data.batches import Batches
from wbczoo.metrics import formulas
from wbczoo.metrics.limits import weigh
from wbczoo.model.novelty import Novelty, condense
from wbczoo.runtime.flags import LIMIT, Limits
from wbczoo.training.novelty import fit_novelty

Array = NDArray[Any]


def by_hand(novelty: Novelty, fused: Array, logits: dict[str, Array]) -> Array:
    """The same with numpy, in double precision."""
    parts = np.split(fused.astype(float), [novelty.widths[0]], axis=1)
    if novelty.widths[1] > 1024:
        step = novelty.widths[1] // 1024
        whole = novelty.widths[1] // step * step
        parts[1] = parts[1][:, :whole].reshape(len(fused), -1, step).mean(2)
    units = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in parts if each.shape[1]]
    at = {name: values.double().numpy() for name, values in novelty.named_buffers()}
    moved = np.concatenate(units, 1) - at["centre"]
    beyond = ((moved - moved @ at["axes"] @ at["axes"].T) ** 2).sum(1)
    gaps = (moved @ at["axes"] @ at["whiten"])[:, None] - at["means"]
    distance = np.sqrt((gaps**2).sum(2).min(1) + at["scales"][0] * beyond)
    energy = -sum(np.log(np.exp(each.astype(float)).sum(1)) for each in logits.values())
    return np.stack([distance, energy, np.ones(len(fused))], 1) @ at["scales"][1:]


@pytest.mark.parametrize("widths", [(24, 0), (0, 24), (24, 16), (24, 2500)])
def test_every_composition_is_scored_as_by_hand(widths: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    fused = torch.randn(7, sum(widths), generator=generator)
    dims = condense(fused, widths).shape[1]
    assert dims == (1274 if widths[1] == 2500 else sum(widths))
    novelty = Novelty(
        torch.randn(dims, generator=generator) / 10,
        torch.linalg.qr(torch.randn(dims, 5, generator=generator)).Q,
        torch.randn(5, 5, generator=generator),
        torch.randn(3, 5, generator=generator),
        torch.tensor([3.0, 0.7, 0.2, -1.0]),
        widths,
    )
    logits = {name: torch.randn(7, n, generator=generator) for name, n in (("a", 3), ("b", 2))}
    found = novelty(fused, logits)
    expected = by_hand(novelty, fused.numpy(), {n: v.numpy() for n, v in logits.items()})
    assert found.shape == (7,)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)


class Stub(nn.Module):
    """A model whose fused features are its images' channels, and whose logits are three of them."""

    widths = (6, 0)

    def __init__(self) -> None:
        super().__init__()
        self.novelty: Any = None

    def fuse(self, images: Tensor) -> Tensor:
        """uint8 (N, 3, 1, 2) -> (N, 6)."""
        return images.float().flatten(1) / 255

    def logits(self, fused: Tensor) -> dict[str, Tensor]:
        """(N, 6) -> the logits (N, 3) of its one task."""
        return {"kind": 20 * fused[:, :3]}

    def probabilities(self, logits: dict[str, Tensor]) -> dict[str, Tensor]:
        """The softmax of its one task's logits."""
        return {"kind": logits["kind"].softmax(1)}

    def ask(self, batches: Batches) -> Array:
        """The novelty of each image."""
        fused = self.fuse(batches.images(np.arange(len(batches))))
        return self.novelty(fused, self.logits(fused)).numpy()


def images_of(counts: dict[int, int], seed: int) -> Batches:
    """Noise about a colour for each class; 3 is left out by the task."""
    generator = np.random.default_rng(seed)
    classes = np.repeat(np.array([*counts], int), [*counts.values()])
    colours = np.array([[200, 40, 40, 90, 90, 90], [40, 200, 40, 90, 90, 90],
                        [40, 40, 200, 90, 90, 90], [90, 90, 90, 200, 40, 90]])  # fmt: skip
    pixels = (colours[classes] + generator.normal(0, 12, (len(classes), 6))).clip(0, 255)
    # The six values of an image as channels of two pixels: (N, H, W, 3).
    cached = pixels.astype(np.uint8).reshape(-1, 3, 1, 2).transpose(0, 2, 3, 1)
    targets = np.where(classes > 2, -1, classes)
    return Batches(np.ascontiguousarray(cached), np.arange(len(classes)),
                   {"kind": targets}, torch.device("cpu"))  # fmt: skip


def fit(training: Batches, validation: Batches, groups: list[str]) -> tuple[Stub, Limits]:
    model = Stub()
    limits = fit_novelty(model, training, validation, weigh(groups), 0)  # type: ignore[arg-type]
    return model, limits


def test_most_that_is_known_lies_below_the_limit_and_what_is_left_out_beyond() -> None:
    validation = images_of({0: 60, 1: 60, 2: 80}, 1)
    groups = [str(row // 4) for row in range(200)]
    model, limits = fit(images_of({0: 100, 1: 100, 2: 100}, 0), validation, groups)
    known = model.ask(validation)
    assert limits.unknown_above == LIMIT
    assert 0.95 <= (known <= LIMIT).mean() < 0.96  # 95 % at least, and no more than need be
    assert np.median(known) == pytest.approx(0, abs=0.02)
    other = model.ask(images_of({3: 50}, 2))
    found = formulas.auroc(np.ones((1, 250)), np.r_[known, other], np.arange(250) >= 200)
    assert found[0] > 0.99
    assert limits.unsure_below == {"kind": 0.0}  # every answer is right


def test_a_group_of_many_files_counts_as_one() -> None:
    validation = images_of({0: 40, 3: 40}, 1)  # the last are odd, and one photograph's
    training = images_of({0: 50, 1: 50}, 0)
    alike, _ = fit(training, validation, [str(row) for row in range(80)])
    assert (alike.ask(validation) <= LIMIT).mean() >= 0.95
    one, _ = fit(training, validation, [str(min(row, 40)) for row in range(80)])
    known = one.ask(validation)
    assert (known[:40] <= LIMIT).mean() == pytest.approx(39 / 40, abs=0.03)
    assert (known[40:] > LIMIT).all()


def test_without_validation_there_is_a_novelty_and_no_limit() -> None:
    model, limits = fit(images_of({0: 30, 1: 30}, 0), images_of({}, 0), [])
    assert limits == Limits()
    assert limits.flags({"kind": {"class": "a", "probability": 0.1}}, 99.0) == []
    assert np.median(model.ask(images_of({0: 30, 1: 30}, 0))) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("counts", [{0: 1}, {0: 3}, {0: 4, 1: 3}])
def test_of_too_few_images_a_class_there_is_no_novelty(counts: dict[int, int]) -> None:
    few = images_of(counts, 0)
    model, limits = fit(few, few, ["one"] * len(few))
    assert model.novelty is None
    assert limits == Limits()


def test_few_and_equal_images_give_numbers_that_rounding_does_not_move() -> None:
    few = images_of({0: 4, 1: 4}, 0)
    model, _ = fit(few, few, ["one"] * len(few))
    assert np.isfinite(model.ask(images_of({0: 3, 3: 3}, 1))).all()
    black = Batches(np.zeros((4, 1, 2, 3), np.uint8), np.arange(4),
                    {"kind": np.zeros(4, np.int64)}, torch.device("cpu"))  # fmt: skip
    model, _ = fit(black, black, ["one"] * 4)
    assert np.isfinite(model.ask(few)).all()
    assert float(np.ptp(model.ask(black))) < 1e-3


def test_where_little_lies_beyond_the_axes_rounding_does_not_count() -> None:
    generator = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(512, 8, generator=generator)).Q
    features = torch.randn(50, 8, generator=generator) @ axes.T / 8**0.5  # nothing lies beyond
    tensors = [torch.zeros(512), axes, torch.eye(8), torch.zeros(1, 8)]
    novelty = Novelty(*tensors, torch.tensor([1e6, 1.0, 0.0, 0.0]), (512, 0))
    distance, _ = novelty.terms(features, {"a": torch.zeros(50, 2)})
    torch.testing.assert_close(distance, (features @ axes).norm(dim=1), rtol=1e-4, atol=1e-4)

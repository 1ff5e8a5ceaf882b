"""The branch `nucleus` measures what a person sees in a drawn cell, and travels to ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from wbczoo.exporting.graph import write_graph
from wbczoo.exporting.half import half_graphs
from wbczoo.exporting.parity import compare
from wbczoo.exporting.trained import bare
from wbczoo.model.build import create_model
from wbczoo.runtime import Session
from wbczoo_nucleus import NUCLEUS
from wbczoo_nucleus.measures import COUNT, euler_numbers
from wbczoo_nucleus.regions import density, distance, find_regions, grown, otsu, shrunk

SIDE = 64
SLIDE, CYTOPLASM, CHROMATIN = (230, 230, 230), (165, 155, 205), (110, 60, 150)
ONE = [(32, 32, 12)]  # row, column and radius of each lobe
TWO = [(24, 24, 7), (40, 40, 7)]


def cell(lobes: list[tuple[int, int, int]], hole: int = 0, seed: int = 0) -> Tensor:
    """A drawn cell with grain, (1, 3, 64, 64) in [0, 1], with a bright middle of radius `hole`."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    image = np.empty((SIDE, SIDE, 3))
    image[:] = SLIDE
    image[np.hypot(rows - 32, columns - 32) < 22] = CYTOPLASM
    for row, column, radius in lobes:
        image[np.hypot(rows - row, columns - column) < radius] = CHROMATIN
    image[np.hypot(rows - 32, columns - 32) < hole] = CYTOPLASM
    image += np.random.default_rng(seed).normal(0, 4, image.shape)
    return torch.from_numpy(image.clip(0, 255).round() / 255).float().permute(2, 0, 1)[None]


def branch(side: int = SIDE) -> Any:
    torch.manual_seed(0)
    return NUCLEUS.build(image_size=(side, side), hidden=8).eval()


def parts_of(image: Tensor) -> float:
    return float(euler_numbers(find_regions(image).nucleus)[0, 0])


def test_a_nucleus_is_found_in_its_place_and_size() -> None:
    found = find_regions(cell(ONE))
    assert float(found.nucleus.sum()) == pytest.approx(np.pi * 12**2, rel=0.05)
    assert float(found.cytoplasm.sum()) == pytest.approx(np.pi * (22**2 - 12**2), rel=0.1)
    assert found.nucleus[0, 0, 32, 32] == 1
    assert found.nucleus[0, 0, 32, 50] == found.nucleus[0, 0, 5, 5] == 0
    red, green, blue = found.absorbed[0, :, 30:34, 30:34].mean((1, 2))
    assert green > red > blue > 0.1


def test_lobes_and_holes_are_counted() -> None:
    assert parts_of(cell(ONE)) == pytest.approx(1, abs=0.05)
    assert parts_of(cell(TWO)) == pytest.approx(2, abs=0.05)
    assert parts_of(cell(ONE, hole=5)) == pytest.approx(0, abs=0.05)


def test_corners_hang_together() -> None:
    """Gray's counts for eight neighbours, against components less holes found by scipy."""
    ndimage = pytest.importorskip("scipy.ndimage")
    masks = np.random.default_rng(1).random((20, 1, 12, 12)) < 0.5
    found = euler_numbers(torch.from_numpy(masks.astype(np.float32)))[:, 0]
    for mask, number in zip(masks[:, 0], found, strict=True):
        parts = ndimage.label(mask, np.ones((3, 3)))[1]
        holes = ndimage.label(np.pad(~mask, 1, constant_values=True))[1] - 1
        assert float(number) == parts - holes


def test_two_lobes_are_less_solid_than_one() -> None:
    """Closing fills what lies between lobes; a disc it leaves as it is."""

    def filled(image: Tensor) -> float:
        found = find_regions(image)
        closed = shrunk(distance(1 - grown(found.outside, 3.0)), 3.0)
        return float(closed.sum() / found.nucleus.sum())

    assert filled(cell(ONE)) == pytest.approx(1, abs=0.03)
    assert filled(cell([(26, 26, 7), (38, 38, 7)])) > filled(cell(ONE)) + 0.05


def test_distances_are_euclidean() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    mask = np.random.default_rng(0).random((2, 1, 20, 31)) < 0.03
    expected = np.stack([[ndimage.distance_transform_edt(~one[0])] for one in mask])
    found = distance(torch.from_numpy(mask.astype(np.float32))).numpy()
    np.testing.assert_allclose(found, np.minimum(expected, 10), atol=1e-5)


def test_the_threshold_is_otsus() -> None:
    skimage = pytest.importorskip("skimage.filters")
    stain = density(cell(TWO))[:, :1]
    found = otsu(stain, torch.ones(SIDE, SIDE))
    expected = skimage.threshold_otsu(stain.numpy())
    parted = [float((stain > value).float().mean()) for value in (found.item(), expected)]
    assert parted[0] == pytest.approx(parted[1], abs=0.01)


@pytest.mark.parametrize("side", [64, 96, 128])
def test_a_turned_cell_has_the_same_measures(side: int) -> None:
    image = torch.nn.functional.interpolate(cell(TWO), (side, side), mode="nearest")
    module = branch(side)
    with torch.inference_mode():
        upright = module.measures(image)
        assert upright.shape == (1, COUNT)
        for turned in (image.rot90(1, (2, 3)), image.rot90(2, (2, 3)), image.flip(3)):
            torch.testing.assert_close(module.measures(turned), upright, rtol=1e-3, atol=2e-3)


def test_the_lamp_divides_out() -> None:
    with torch.inference_mode():
        bright, dim = (density(scale * cell(ONE)) for scale in (1.0, 0.7))
    torch.testing.assert_close(bright, dim, rtol=0, atol=1e-5)


def test_no_answer_hangs_on_a_neighbour_in_the_batch() -> None:
    module = branch()
    images = torch.cat([cell(ONE), cell(TWO), torch.zeros(1, 3, SIDE, SIDE)])
    with torch.inference_mode():
        alone = torch.cat([module(one[None]) for one in images])
        torch.testing.assert_close(module(images), alone)


def test_training_learns_the_scale_of_each_measure_whatever_the_batches() -> None:
    images = torch.cat([cell(lobes, seed=seed) for seed in range(4) for lobes in (ONE, TWO)])
    scales = []
    for size in (1, 3, 8):
        module = branch().train()
        for batch in images.split(size):
            assert torch.isfinite(module(batch)).all()
        scales.append(module.scale)
    values = branch().measures(images)
    for scale in scales:
        torch.testing.assert_close(scale.mean, values.mean(0), rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(
            scale.variance, values.var(0, unbiased=False), rtol=1e-2, atol=1e-5
        )
    assert scales[0].eval()(100 * values).abs().max() <= 4


@pytest.mark.nightly  # so is the export of the pairs, in tests/test_pairs.py
def test_half_precision_leaves_the_measures_in_fp32(tmp_path: Path) -> None:
    """A graph whose layers are in fp16 answers nearly as before, on cells and on nothing at all."""
    model = create_model("none", "nucleus", tasks=["cell"], image_size=SIDE, hidden=8).train()
    images = torch.cat([cell(ONE), cell(TWO), cell(ONE, hole=5), torch.ones(1, 3, SIDE, SIDE)])
    pixels = (images * 255).round().to(torch.uint8)
    with torch.no_grad():
        model(pixels)
    graph = tmp_path / "model.onnx"
    write_graph(bare(model.eval()), graph, 18)
    parity = compare(model, graph, pixels.numpy(), "drawn cells")
    assert parity.holds, parity
    (_, halved), *_ = half_graphs(onnx.load(graph))
    onnx.save(halved, tmp_path / "half.onnx")
    kinds = {tensor.data_type for tensor in halved.graph.initializer if len(tensor.dims) == 2}
    assert onnx.TensorProto.FLOAT16 in kinds
    whole, half = (
        Session(path, device="cpu").run(pixels.numpy())["cell_logits"]
        for path in (graph, tmp_path / "half.onnx")
    )
    np.testing.assert_allclose(half, whole, atol=0.01)

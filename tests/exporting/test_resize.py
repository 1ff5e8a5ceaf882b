"""A graph that resizes by itself makes the pixels that Pillow makes, and so gives its answers."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from wbczoo import images
from wbczoo.errors import UsageError
from wbczoo.exporting.resize import compare_resize, embed, refuse_crop, resize
from wbczoo.runtime import Session
from wbczoo.specs import Preprocessing

SIZES = [(480, 640), (300, 200), (127, 53), (33, 47), (61, 67), (20, 300), (197, 110)]


def photograph(height: int, width: int, seed: int = 0) -> images.Pixels:
    """Fields, edges and grain, with a white strip, uint8 (H, W, 3)."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (max(2, height // 9), max(2, width // 9), 3), np.uint8)
    fields = np.array(Image.fromarray(coarse).resize((width, height))).astype(int)
    grain = generator.integers(-30, 31, fields.shape)
    image = np.clip(fields + grain, 0, 255).astype(np.uint8)
    image[: height // 4] = 255
    return image


@pytest.mark.parametrize("antialias", [True, False], ids=["antialias", "plain"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_pixels_are_pillows(size: tuple[int, int], interpolation: str, antialias: bool) -> None:
    preprocessing = Preprocessing(size=(96, 70), interpolation=interpolation, antialias=antialias)  # type: ignore[arg-type]
    camera = np.stack([photograph(*size, seed) for seed in range(2)])
    expected = np.stack([images.preprocess(each, preprocessing) for each in camera])
    for fixed in (None, size):
        found = resize(camera, preprocessing, fixed).transpose(0, 2, 3, 1)
        difference = np.abs(found - expected)
        assert difference.max() <= 1, fixed
        assert (difference > 0).mean() < 0.05, fixed  # a value in the middle goes either way
        assert (found == np.round(found)).all()


def test_where_many_values_lie_in_the_middle_each_pass_may_round_one_off() -> None:
    """Enlarged by 3/2, every third weight is a half: the worst case for the rounding."""
    camera = np.stack([photograph(64, 64, seed) for seed in range(4)])
    assert compare_resize(camera, Preprocessing(size=(96, 96)), None) <= 2


@pytest.mark.parametrize("size", [None, (60, 90)], ids=["any size", "one size"])
def test_the_answers_are_those_of_images_resized_before(
    network_export: Path, tmp_path: Path, size: tuple[int, int] | None
) -> None:
    graph = tmp_path / "model.onnx"
    shutil.copy(network_export / "model.onnx", graph)
    plain = Session(network_export, device="cpu")
    embed(graph, plain.preprocessing, size)
    session = Session(graph, device="cpu")
    assert session.file.embedded
    assert session.file.size == size
    for batch, camera in ((1, (60, 90)), (3, (60, 90)), (17, size or (97, 41))):
        photographs = np.stack([photograph(*camera, seed) for seed in range(batch)])
        resized = np.stack([images.preprocess(p, plain.preprocessing) for p in photographs])
        expected = plain.run(resized.transpose(0, 3, 1, 2))
        for name, found in session.run(photographs).items():
            # No two photographs are as near to one another.
            np.testing.assert_allclose(found, expected[name], atol=2e-3)
            if batch > 1 and name.endswith("logits"):
                assert np.ptp(expected[name], axis=0).max() > 5e-3


def test_one_size_is_in_operators_that_tensorrt_takes(network_export: Path, tmp_path: Path) -> None:
    plain = onnx.load(network_export / "model.onnx")
    graph = tmp_path / "model.onnx"
    onnx.save(plain, graph)
    embed(graph, Session(network_export, device="cpu").preprocessing, (48, 80))
    proto = onnx.load(graph)
    front = [node for node in proto.graph.node if node.name.startswith("resize/")]
    assert {node.op_type for node in front} == {
        "Cast", "Transpose", "MatMul", "Add", "Floor", "Clip"
    }  # fmt: skip
    # uint8 is what it reads, and nothing after the first Cast.
    assert [n.op_type for n in proto.graph.node if "images" in n.input] == ["Cast"]
    assert not any(
        node.op_type == "Cast" and node.attribute[0].i == onnx.TensorProto.UINT8
        for node in proto.graph.node
    )
    assert [output.name for output in proto.graph.output] == [o.name for o in plain.graph.output]
    assert {entry.key: entry.value for entry in proto.metadata_props} == {
        entry.key: entry.value for entry in plain.metadata_props
    }


def test_images_that_are_cropped_are_refused() -> None:
    refuse_crop(Preprocessing())
    with pytest.raises(UsageError, match="--embed-preprocess"):
        refuse_crop(replace(Preprocessing(), crop="centre"))

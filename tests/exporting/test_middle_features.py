"""What an export's middle layers see: which layers are taken, and what is made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_export
from middle_graphs import middle_features, network

from wbczoo.exporting.adapting.graph import read_adaptable
from wbczoo.exporting.adapting.middle import FEATURES, add_features
from wbczoo.runtime import Session
from wbczoo.runtime.model_file import ModelFile
from wbczoo.runtime.onnx_graph import open_with

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 3, *tiny_export.SIZE), dtype=np.uint8)


def described(path: Path) -> ModelFile:
    return Session(path, device="cpu").file


@pytest.mark.parametrize(
    ("layers", "taken"),
    [
        # MobileNet: what is projected, not what is widened and clipped before it.
        (["conv Clip", "conv", "conv Clip /2", "conv", "conv Clip"], ["conv_1", "conv_3"]),
        # ResNet: the sum, although it is activated after.
        (["conv Relu", "conv add Relu", "conv Relu /2", "conv add Relu"], ["add_1", "add_3"]),
        # VGG: every convolution is activated, so the last of them.
        (["conv Relu", "conv Relu", "conv Relu /2", "conv Relu"], ["conv_1", "conv_3"]),
        # A gate of one position, as squeeze and excitation is, is no map.
        (["conv", "conv /2", "gate"], ["conv_0", "conv_1"]),
    ],
)
def test_the_last_map_that_ends_a_block_is_taken_at_each_resolution(
    layers: list[str], taken: list[str], tmp_path: Path
) -> None:
    path = network(tmp_path / "model.onnx", layers)
    given = read_adaptable(described(path), PIXELS)
    assert [len(size) for size in given.positions] == [2, 2]
    assert given.positions[0] > given.positions[1]
    reads = {node.output[0]: node.input[0] for node in given.proto.graph.node}
    mine = [reads[name] for name in reads if name.startswith("adapted/middle_map_")]
    assert mine == taken


def test_each_channel_gives_its_mean_and_its_spread(tmp_path: Path) -> None:
    path = network(tmp_path / "model.onnx", ["conv Relu", "conv", "conv /2"])
    given = read_adaptable(described(path), PIXELS)
    features = middle_features(given, PIXELS)
    names = ["conv_1", "conv_2"]
    session = open_with(path, onnx.load(path), names, "CPUExecutionProvider", 1)
    maps = session.run(names, {"images": PIXELS})
    expected = [part for each in maps for part in (each.mean((2, 3)), each.std((2, 3)))]
    np.testing.assert_allclose(features, np.concatenate(expected, 1), rtol=1e-4, atol=1e-5)


def test_a_network_without_maps_gives_what_its_heads_read(tmp_path: Path) -> None:
    path = tiny_export.write_model(tmp_path / "model.onnx")
    given = read_adaptable(described(path), PIXELS)
    assert given.positions == []
    means = PIXELS.astype(np.float64).mean((2, 3))
    np.testing.assert_allclose(middle_features(given, PIXELS), means, rtol=1e-5)


def test_a_map_with_the_channels_last_is_not_taken_for_one(tmp_path: Path) -> None:
    path = network(tmp_path / "model.onnx", ["conv", "conv /2", "last"])
    proto = onnx.load(path)
    add_features(described(path), proto, PIXELS)
    parts = next(node for node in proto.graph.node if node.output[0] == FEATURES)
    reads = {node.output[0]: node.input[0] for node in proto.graph.node}
    assert [reads[f"adapted/middle_map_{n}"] for n in range(len(parts.input) // 2)] == [
        "conv_0",
        "conv_1",
    ]

"""The recurrent branches have the report's topology, read in order, and travel to ONNX."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wbczoo.errors import UsageError
from wbczoo.specs import SequenceSpec
from wbczoo_recurrent import BILSTM, BILSTM_FEATURES, GRU

ALL = (BILSTM, GRU, BILSTM_FEATURES)
CHANNELS, MAP = 6, (4, 5)
IMAGE = (8, 11)


@pytest.fixture(scope="module", params=ALL, ids=lambda spec: spec.name)
def built(request: pytest.FixtureRequest) -> tuple[SequenceSpec, Any]:
    """A spec and a small branch of it, with weights large enough for its gates to saturate."""
    spec: SequenceSpec = request.param
    return spec, branch(spec)


def branch(spec: SequenceSpec, hidden: int = 3) -> Any:
    """A branch over `IMAGE`, or over `CHANNELS` of `MAP`."""
    torch.manual_seed(0)
    channels = CHANNELS if spec.reads == "features" else None
    module = spec.build(image_size=IMAGE, in_channels=channels, hidden=hidden).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2)
    return module


def inputs(spec: SequenceSpec, count: int) -> Tensor:
    """What a branch reads: grey images (N, H, W) or feature maps (N, C, h, w)."""
    shape = IMAGE if spec.reads == "pixels" else (CHANNELS, *MAP)
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(count))


def read_both_ways(layer: nn.LSTM | nn.GRU, sequence: Tensor) -> tuple[Tensor, Tensor]:
    """A bidirectional layer step by step, from the equations of its cell in torch's cells.

    Args:
        sequence: (T, width), one sequence.

    Returns:
        outputs (T, 2 * hidden), and both directions' last states, (2 * hidden,).
    """
    directions, last = [], []
    for suffix, order in (("", range(len(sequence))), ("_reverse", range(len(sequence))[::-1])):
        kind = nn.LSTMCell if isinstance(layer, nn.LSTM) else nn.GRUCell
        cell = kind(layer.input_size, layer.hidden_size)
        cell.load_state_dict(
            {
                name: getattr(layer, f"{name}_l0{suffix}")
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            }
        )
        hidden = memory = torch.zeros(1, layer.hidden_size)
        outputs = [hidden] * len(sequence)
        for place in order:
            if isinstance(cell, nn.LSTMCell):
                hidden, memory = cell(sequence[place][None], (hidden, memory))
            else:
                hidden = cell(sequence[place][None], hidden)
            outputs[place] = hidden
        directions.append(torch.cat(outputs))
        last.append(hidden[0])
    return torch.cat(directions, 1), torch.cat(last)


@pytest.mark.parametrize("spec", [BILSTM, GRU], ids=lambda spec: spec.name)
def test_a_grey_image_is_read_along_rows_and_then_across(spec: SequenceSpec) -> None:
    module = branch(spec)
    grey = inputs(spec, 2)
    with torch.inference_mode():
        vectors = module(grey)
        for image, vector in zip(grey, vectors, strict=True):
            rows, _ = read_both_ways(module.rows, image)  # (H, 2 hidden)
            across, _ = read_both_ways(module.columns, rows.T)  # (2 hidden, 2 hidden)
            torch.testing.assert_close(vector, across.reshape(-1))


def test_a_feature_map_is_read_in_raster_order() -> None:
    module = branch(BILSTM_FEATURES)
    maps = inputs(BILSTM_FEATURES, 2)
    with torch.inference_mode():
        vectors = module(maps)
        for feature_map, vector in zip(maps, vectors, strict=True):
            raster = torch.stack(
                [feature_map[:, row, column] for row in range(MAP[0]) for column in range(MAP[1])]
            )
            torch.testing.assert_close(vector, read_both_ways(module.positions, raster)[1])


@pytest.mark.parametrize("spec", [BILSTM, GRU], ids=lambda spec: spec.name)
def test_the_reports_branch_gives_16384_values(spec: SequenceSpec) -> None:
    module = spec.build(image_size=(224, 224), in_channels=None)
    assert module.num_features == 16384
    with torch.inference_mode():
        assert module(torch.rand(1, 224, 224)).shape == (1, 16384)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_vector_for_each_image(built: tuple[SequenceSpec, Any], count: int) -> None:
    spec, module = built
    with torch.inference_mode():
        assert module(inputs(spec, count)).shape == (count, module.num_features)
    assert module.num_features == (6 if spec is BILSTM_FEATURES else 36)


def test_the_order_of_rows_matters(built: tuple[SequenceSpec, Any]) -> None:
    spec, module = built
    read = inputs(spec, 2)
    with torch.inference_mode():
        upright, reversed_rows = module(read), module(read.flip(-2))
    assert (upright - reversed_rows).abs().max() > 0.01


def test_an_image_is_read_alike_in_any_company(built: tuple[SequenceSpec, Any]) -> None:
    spec, module = built
    read = inputs(spec, 3)
    with torch.inference_mode():
        alone = torch.cat([module(one[None]) for one in read])
        torch.testing.assert_close(module(read), alone)


def test_no_parameter_is_idle(built: tuple[SequenceSpec, Any]) -> None:
    spec, module = built
    module.zero_grad()
    module(inputs(spec, 2)).square().sum().backward()
    idle = [name for name, value in module.named_parameters() if not value.grad.abs().any()]
    assert not idle


def test_a_copy_answers_alike_and_is_its_own(built: tuple[SequenceSpec, Any]) -> None:
    spec, module = built
    twin = copy.deepcopy(module)
    read = inputs(spec, 2)
    with torch.inference_mode():
        before = module(read)
        assert torch.equal(twin(read), before)
        for parameter in twin.parameters():
            parameter.zero_()
        assert torch.equal(module(read), before)
        assert not torch.equal(twin(read), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_bf16_autocast_changes_little(built: tuple[SequenceSpec, Any], dtype: torch.dtype) -> None:
    spec, module = built
    read = inputs(spec, 2)
    with torch.inference_mode():
        exact = module(read)
    try:
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = module(read.to(dtype))
    except RuntimeError as error:  # a training is refused likewise: tests/training/test_bf16.py
        if "primitive" not in str(error):
            raise
        pytest.skip(f"torch has none on this processor: {error}")
    torch.testing.assert_close(rounded.float(), exact, rtol=0, atol=0.05)


def test_reading_features_needs_a_backbone() -> None:
    with pytest.raises(UsageError, match="Choose a backbone"):
        BILSTM_FEATURES.build(image_size=(224, 224), in_channels=None)


class _Three(nn.Module):
    """All branches behind one input each, so that they share one slow export."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList([branch(spec, hidden=16) for spec in ALL])

    def forward(self, grey: Tensor, feature_map: Tensor) -> tuple[Tensor, ...]:
        lstm, gru, features = self.branches
        return lstm(grey), gru(grey), features(feature_map)


@pytest.mark.nightly  # tests/test_pairs.py exports each of them
def test_onnx_answers_alike_at_every_batch(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    module = _Three().eval()
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():
        # torch's own, about its exporter's insides and about nn.LSTM's flattened weights.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (inputs(BILSTM, 2), inputs(BILSTM_FEATURES, 2)),
            dynamo=True,
            dynamic_shapes=({0: batch}, {0: batch}),
            input_names=["grey", "feature_map"],
            verbose=False,
        )
    assert program is not None
    program.save(tmp_path / "branches.onnx")
    session = onnxruntime.InferenceSession(
        tmp_path / "branches.onnx", providers=["CPUExecutionProvider"]
    )
    for count in (1, 2, 5):
        grey, maps = inputs(BILSTM, count), inputs(BILSTM_FEATURES, count)
        found = session.run(None, {"grey": grey.numpy(), "feature_map": maps.numpy()})
        with torch.inference_mode():
            expected = module(grey, maps)
        for theirs, ours in zip(found, expected, strict=True):
            torch.testing.assert_close(torch.from_numpy(theirs), ours, rtol=0, atol=1e-5)

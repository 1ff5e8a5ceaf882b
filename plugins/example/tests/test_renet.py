"""The branch renet keeps wbczoo's contract, and sweeps a map as the paper writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from wbczoo.errors import UsageError
from wbczoo.specs import SequenceSpec
from wbczoo.testing import parametrize_with_checks

from wbczoo_renet import RENET
from wbczoo_renet.sweeps import ReNet, Sweeps

CHANNELS, HEIGHT, WIDTH, HIDDEN = 5, 3, 4, 2


@parametrize_with_checks([RENET])
def test_conformance(spec: SequenceSpec, check: Callable[[SequenceSpec], None]) -> None:
    check(spec)


def built(layers: int) -> ReNet:
    """A small branch with weights so large that its gates saturate."""
    torch.manual_seed(0)
    module = RENET.build(
        image_size=(96, 128), in_channels=CHANNELS, hidden=HIDDEN, layers=layers
    ).eval()
    assert isinstance(module, ReNet)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2)
    return module


def maps(count: int) -> Tensor:
    """Feature maps (count, CHANNELS, HEIGHT, WIDTH) of noise."""
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, CHANNELS, HEIGHT, WIDTH, generator=generator)


def read(layer: nn.GRU, steps: Iterable[int], sequence: list[Tensor], suffix: str) -> list[Tensor]:
    """The states of one direction of a GRU, by the equations of Cho et al. 2014.

    Args:
        steps: places of the sequence in the order of reading.
        sequence: vectors (inputs,).
        suffix: of the direction's parameters.

    Returns:
        for each place, the state (hidden,) after it was read.
    """
    weights = {
        name: getattr(layer, f"{name}_l0{suffix}").chunk(3)  # reset, update, new
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    state = torch.zeros(HIDDEN)
    states = [state] * len(sequence)
    for place in steps:
        given, kept = (
            [
                weight @ vector + bias
                for weight, bias in zip(
                    weights[f"weight_{end}"], weights[f"bias_{end}"], strict=True
                )
            ]
            for end, vector in (("ih", sequence[place]), ("hh", state))
        )
        reset = torch.sigmoid(given[0] + kept[0])
        update = torch.sigmoid(given[1] + kept[1])
        new = torch.tanh(given[2] + reset * kept[2])
        state = (1 - update) * new + update * state
        states[place] = state
    return states


def read_both_ways(layer: nn.GRU, sequence: list[Tensor]) -> list[Tensor]:
    """For each place, the states of both directions side by side, (2 hidden,)."""
    places = range(len(sequence))
    there = read(layer, places, sequence, "")
    back = read(layer, reversed(places), sequence, "_reverse")
    return [torch.cat(pair) for pair in zip(there, back, strict=True)]


@pytest.mark.parametrize("layers", [1, 2])
def test_columns_are_swept_and_then_rows_cell_by_cell(layers: int) -> None:
    module = built(layers)
    with torch.inference_mode():
        vectors = module(maps(2))
        for feature_map, vector in zip(maps(2), vectors, strict=True):
            places = list(product(range(HEIGHT), range(WIDTH)))
            grid = {(row, column): feature_map[:, row, column] for row, column in places}
            for layer in module.layers:
                assert isinstance(layer, Sweeps)
                for column in range(WIDTH):
                    down = [grid[row, column] for row in range(HEIGHT)]
                    for row, state in enumerate(read_both_ways(layer.columns, down)):
                        grid[row, column] = state
                for row in range(HEIGHT):
                    along = [grid[row, column] for column in range(WIDTH)]
                    for column, state in enumerate(read_both_ways(layer.rows, along)):
                        grid[row, column] = state
            mean = torch.stack([grid[place] for place in places]).mean(0)
            torch.testing.assert_close(vector, mean)


def test_a_layer_keeps_the_grid() -> None:
    with torch.inference_mode():
        assert built(2).layers(maps(3)).shape == (3, 2 * HIDDEN, HEIGHT, WIDTH)


def test_every_position_reads_the_whole_map() -> None:
    module = built(1)
    feature_map = maps(1).requires_grad_()
    swept = module.layers(feature_map)
    for row, column in product(range(HEIGHT), range(WIDTH)):
        (gradient,) = torch.autograd.grad(
            swept[0, :, row, column].sum(), feature_map, retain_graph=True
        )
        assert gradient[0].abs().sum(0).min() > 0


@pytest.mark.parametrize("side", [2, 3], ids=["rows", "columns"])
def test_the_order_of_rows_and_of_columns_matters(side: int) -> None:
    module = built(1)
    with torch.inference_mode():
        assert (module(maps(2)) - module(maps(2).flip(side))).abs().max() > 0.01


def test_more_layers_are_more_sweeps() -> None:
    assert [len(built(layers).layers) for layers in (1, 3)] == [1, 3]
    assert built(3).num_features == built(1).num_features == 2 * HIDDEN


def test_what_cannot_be_built_is_told() -> None:
    with pytest.raises(UsageError, match="choose a backbone"):
        RENET.build(image_size=(96, 128), in_channels=None)
    with pytest.raises(UsageError, match="1 or more, not 0"):
        RENET.build(image_size=(96, 128), in_channels=CHANNELS, layers=0)

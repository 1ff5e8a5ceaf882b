"""What the exporter asks of recurrent layers while it traces: shapes, which take no loop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


@contextlib.contextmanager
def shapes_alone() -> Iterator[None]:
    """Within it torch's exporter finds a GRU's and an LSTM's shapes without compiling a loop.

    The exporter keeps such a layer as the one node that ONNX has for it, and yet compiles a loop
    over its steps six times for the shapes, half of the time of an export. The graph is the same
    to the byte; were it not, the parity gate would say so. What is replaced is private to torch:
    where it is not there, the exporter goes its own way.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError):
            from torch.export import _patches

            for name, shapes in (("gru_while_loop_impl", _gru), ("lstm_while_loop_impl", _lstm)):
                if hasattr(_patches, name):
                    stack.callback(setattr, _patches, name, getattr(_patches, name))
                    setattr(_patches, name, shapes)
        yield


def _gru(sequence: Tensor, hidden: Tensor, *settings: Any) -> tuple[Tensor, Tensor]:
    """Of `aten::gru.input`: the states (N, L, D H) or (L, N, D H), and the last ones."""
    return _states(sequence, hidden, *settings[-2:]), torch.empty_like(hidden)


def _lstm(
    sequence: Tensor, hidden: tuple[Tensor, Tensor], *settings: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Of `aten::lstm.input`: the same, and the last cells."""
    last, cells = map(torch.empty_like, hidden)
    return _states(sequence, hidden[0], *settings[-2:]), last, cells


def _states(sequence: Tensor, hidden: Tensor, both_ways: bool, batch_first: bool) -> Tensor:
    """Laid out in memory step by step, as the loop does it."""
    width = hidden.shape[2] * (1 + both_ways)
    first, second = sequence.shape[:2]
    if batch_first:
        return sequence.new_empty(second, first, width).transpose(0, 1)
    return sequence.new_empty(first, second, width)

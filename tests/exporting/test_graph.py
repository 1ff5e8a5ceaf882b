"""What stands in the file that an export writes, and what does not."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import ROOT
from torch import nn
from torch.export import _patches

from wbczoo.exporting import graph
from wbczoo.exporting.recurrence import shapes_alone
from wbczoo.model.build import create_model


def test_an_export_tells_nothing_of_the_machine_that_made_it(small_export: Path) -> None:
    """The exporter notes the source of every node, with the paths of whoever exported."""
    content = (small_export / "model.onnx").read_bytes()
    for trace in (str(ROOT).encode(), b"site-packages", b"stack_trace", b".py"):
        assert trace not in content


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("both_ways", [True, False])
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_the_exporter_is_told_the_shapes_of_a_recurrent_layer(
    kind: Any, both_ways: bool, batch_first: bool
) -> None:
    layer = kind(3, 5, num_layers=2, bidirectional=both_ways, batch_first=batch_first)
    sequence = torch.rand(4, 6, 3)
    hidden = torch.zeros(2 * (1 + both_ways), 4 if batch_first else 6, 5)
    given = (hidden, hidden) if kind is nn.LSTM else hidden
    states, last = layer(sequence, given)
    expected = [states, *(last if kind is nn.LSTM else [last])]
    before = _patches.gru_while_loop_impl, _patches.lstm_while_loop_impl
    with shapes_alone():
        told = getattr(_patches, f"{kind.__name__.lower()}_while_loop_impl")(
            sequence, given, [], True, 2, 0.0, False, both_ways, batch_first
        )
    assert before == (_patches.gru_while_loop_impl, _patches.lstm_while_loop_impl)
    assert [each.shape for each in told] == [each.shape for each in expected]


@pytest.mark.nightly  # four exports, two of them with the loops
@pytest.mark.parametrize("branch", ["gru", "bilstm"])
def test_with_shapes_alone_the_graph_is_that_of_the_loops(
    branch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = create_model("none", branch, hidden=4, image_size=32).eval()
    names = graph.output_names(model)
    shapes = graph.trace(graph.Answers(model), (32, 32), names)
    monkeypatch.setattr(graph, "shapes_alone", nullcontext)
    assert graph.trace(graph.Answers(model), (32, 32), names) == shapes

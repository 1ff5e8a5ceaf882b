"""What stands in the file that an export writes, and what does not."""

from __future__ import annotations

from pathlib import Path

from commands import ROOT


def test_an_export_tells_nothing_of_the_machine_that_made_it(small_export: Path) -> None:
    """The exporter notes the source of every node, with the paths of whoever exported."""
    content = (small_export / "model.onnx").read_bytes()
    for trace in (str(ROOT).encode(), b"site-packages", b"stack_trace", b".py"):
        assert trace not in content

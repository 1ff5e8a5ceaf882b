"""A model is found where an export or a Triton repository has it, and its card from there."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_export import write_model

from wbczoo import files
from wbczoo.errors import UsageError, WbczooError
from wbczoo.runtime import Session
from wbczoo.runtime.folder import CARD, find_model, folder_of


@pytest.fixture
def triton(tmp_path: Path) -> Path:
    """A model's folder in a repository: the graph in `1`, its card and configuration above."""
    folder = tmp_path / "models" / "gru"
    write_model(folder / "1" / "model.onnx")
    (folder / "config.pbtxt").write_text('backend: "onnxruntime"\n')
    hashes = {"model.onnx": files.sha256_of(folder / "1" / "model.onnx")}
    files.write_json(folder / CARD, {"files": hashes})
    return folder


def test_the_graph_is_found_from_each_folder_and_its_card_from_the_graph(
    triton: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = triton / "1" / "model.onnx"
    for given in (triton, triton / "1", graph, str(graph)):
        assert find_model(given) == graph
        assert folder_of(find_model(given)) == triton
    monkeypatch.chdir(triton / "1")
    assert folder_of(find_model("model.onnx")) == triton
    flat = write_model(tmp_path / "1" / "model.onnx")  # a folder's name alone says nothing
    assert folder_of(find_model(flat.parent)) == flat.parent
    later = write_model(triton / "2" / "model.onnx")  # somebody's own: the card is not of it
    assert folder_of(find_model(later)) == later.parent


def test_an_export_laid_whole_into_a_version_keeps_its_own_card(triton: Path) -> None:
    (triton / CARD).rename(triton / "1" / CARD)
    assert folder_of(find_model(triton)) == triton / "1"


def test_a_folder_without_a_graph_is_told(triton: Path) -> None:
    for folder in (triton.parent, triton):
        (triton / "1" / "model.onnx").unlink(missing_ok=True)
        with pytest.raises(UsageError, match=r"model\.onnx is not there"):
            find_model(folder)


def test_the_card_above_disowns_a_graph_that_was_exchanged(triton: Path) -> None:
    assert Session(triton, device="cpu").path == triton / "1" / "model.onnx"
    write_model(triton / "1" / "model.onnx", scale=2.0)
    for given in (triton, triton / "1" / "model.onnx"):
        with pytest.raises(WbczooError, match="is not the file that"):
            Session(given, device="cpu")

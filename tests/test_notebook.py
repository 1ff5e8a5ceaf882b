"""The notebook runs from its first cell to its last, where nothing is beforehand."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import ROOT

nbclient = pytest.importorskip("nbclient", reason="the extra dev brings it")
NOTEBOOK = ROOT / "docs" / "notebooks" / "first-model.ipynb"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_notebook_runs(tmp_path: Path) -> None:
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()
    assert (tmp_path / "exports" / "first" / "model.onnx").is_file()
    shown = str([cell.get("outputs") for cell in notebook.cells])
    assert "image/png" in shown
    assert "95 % percentile bootstrap over groups" in shown


def test_its_outputs_are_kept_and_name_no_place_of_the_machine_that_ran_it() -> None:
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs for cell in code[1:])
    assert "/home/" not in str(code)
    assert "stderr" not in str(code)

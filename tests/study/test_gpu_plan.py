"""What a GPU is given to do: open cells that can be run there, the most wanted first."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from wbczoo.study.plan.plan import read_plan
from wbczoo.study.run.results import done_cells

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "docs/studies/report-2020.toml"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_plan", ROOT / "tools/gpu_plan.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_written_plan_has_the_open_cells_under_their_own_keys(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "resnet18.safetensors").touch()
    out = tmp_path / "open.toml"
    options = ["--weights", str(tmp_path), "--data", "bccd"]
    monkeypatch.setattr(sys, "argv", ["gpu_plan.py", str(STUDY), str(out), *options])
    assert tool.main() == 0
    cells, study = read_plan(out).cells(), read_plan(STUDY).cells()
    assert cells.keys() <= study.keys() - done_cells(STUDY, None).keys()
    assert {c.backbone for c in cells.values() if c.weights == "imagenet"} <= {"resnet18"}
    assert not {c.dataset for c in cells.values()} - {"bccd"}


def test_what_cannot_end_in_time_is_counted(tool: ModuleType) -> None:
    cells = [*read_plan(STUDY).cells().values()][:4]
    assert tool.finishing(cells, 2, 0.0)[0] == 0
    count, last = tool.finishing(cells, 2, 1e6)
    assert count == 4
    assert tool.finishing(cells, 4, 1e6)[1] <= last

"""The built wheel holds the whole zoo, and works away from the checkout."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from commands import ROOT
from elsewhere import build_wheel

from wbczoo.runtime.published import published

# Of the published models; the others lie in the repository alone.
IN_WHEEL = ("leukocyte-small", "leukocyte-nano", "report-2020")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


def test_wheel_holds_the_plugins_and_their_tables(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
    for name in (
        "wbczoo/py.typed",
        "wbczoo/review/page/index.html",
        "wbczoo/review/page/main.js",
        "wbczoo/review/page/style.css",
        "wbczoo_timm/__init__.py",
        "wbczoo_torchvision/__init__.py",
        "wbczoo_recurrent/__init__.py",
        "wbczoo_nucleus/__init__.py",
        "wbczoo_datasets/bccd_photographs.csv",
        "wbczoo_datasets/bccd_augmented.csv",
    ):
        assert name in names
    assert not [name for name in names if name.startswith(("tests/", "plugins/", "docs/"))]
    assert not [name for name in names if name.endswith((".jpeg", ".jpg"))]
    models = {f"wbczoo/runtime/models/{name}/model.onnx" for name in IN_WHEEL}
    assert set(IN_WHEEL) < set(published().names)
    networks = models | {"wbczoo/cells/finder.onnx"}
    assert {name for name in names if name.endswith(".onnx")} == networks


def test_installed_wheel_lists_and_builds_elsewhere(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
               "--target", str(target), str(wheel)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    # -P and the path below: what is imported is the wheel, not the editable checkout.
    script = (
        f"import sys; sys.path.insert(0, {str(target)!r}); import wbczoo;"
        f"assert wbczoo.__file__.startswith({str(target)!r}), wbczoo.__file__;"
        "from wbczoo.cli import main; sys.exit(main(sys.argv[1:]))"
    )

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-c", script, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    done = run("build", "--backbone", "squeezenet1_1", "--seq", "gru", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == "squeezenet1_1+gru"
    assert run("verify", "report-2020").returncode == 0
    left = run("verify", "mobilenetv2-white-cell")
    assert left.returncode == 2
    assert "published, but too large to come with this installation" in left.stderr
    # In a clone, where the installation has it not, the working folder has it.
    clone = tmp_path / "exports" / "mobilenetv2-white-cell"
    clone.parent.mkdir()
    clone.symlink_to(ROOT / "exports" / clone.name, target_is_directory=True)
    assert run("verify", clone.name).returncode == 0

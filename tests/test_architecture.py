"""The house's rules: which way imports point, and that listing and predicting need no torch."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from commands import ROOT

# `wbczoo.images` walks folders and archives for every data set alike.
PLUGIN_MAY_IMPORT = {"wbczoo.specs", "wbczoo.tasks", "wbczoo.errors", "wbczoo.images"}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(place: str) -> list[Path]:
    path = ROOT / place
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def test_imports_point_one_way_and_never_in_a_circle() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_the_house_is_seen_at_a_glance() -> None:
    rooms = [path for path in (ROOT / "wbczoo").iterdir() if path.name != "__pycache__"]
    assert len([path for path in rooms if path.suffix == ".py"]) <= 12
    assert len([path for path in rooms if path.is_dir()]) <= 18


def test_plugins_import_the_contract_alone() -> None:
    for path in _files("plugins"):
        allowed = PLUGIN_MAY_IMPORT | ({"wbczoo.testing"} if "tests" in path.parts else set())
        for name in _imports(path):
            if name.startswith("wbczoo."):
                assert any(name == ok or name.startswith(f"{ok}.") for ok in allowed), (
                    f"{path.relative_to(ROOT)} imports {name}"
                )


def test_list_predict_and_verify_import_no_torch(
    small_export: Path, smears: Path, tmp_path: Path
) -> None:
    script = (
        "import json, sys; from wbczoo.cli import main\n"
        "for command in json.loads(sys.argv[1]):\n"
        "    code = main(command)\n"
        "    found = {'torch', 'timm', 'onnx', 'safetensors', 'sklearn'} & set(sys.modules)\n"
        "    if found or code: sys.exit(f'{command} imported {found} and gave {code}')"
    )
    commands = (
        ["list", "--json"],
        ["predict", str(smears / "test"), "--model", str(small_export)],
        ["locate", str(smears / "test")],
        [
            "features",
            str(small_export),
            str(smears / "test"),
            "--layer",
            "fused",
            "--out",
            str(tmp_path / "features.npz"),
        ],
        ["verify", str(small_export)],
        ["evaluate", str(small_export), str(smears), "--dataset", "synthetic"],
    )  # `doctor` too: tests/runtime/test_doctor.py
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(commands)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    listing = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "wbczoo", "list"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    slow = ("numpy", "pydantic", "PIL", "onnxruntime", "torch")
    assert not [word for word in slow if f" {word}\n" in listing.stderr]


def test_a_first_answer_waits_for_nothing_that_it_does_not_need(
    small_export: Path, smears: Path
) -> None:
    script = (
        "import sys; from wbczoo.cli import main; code = main(sys.argv[1:])\n"
        "slow = {'pydantic', 'email', 'PIL.ImageFont', 'wbczoo.registry', 'wbczoo.runtime.maps'}\n"
        "sys.exit(code or ' '.join(slow & set(sys.modules)) or 0)"
    )
    predict = ["predict", str(smears / "test"), "--model", str(small_export)]
    done = subprocess.run(
        [sys.executable, "-c", script, *predict], capture_output=True, text=True, check=False
    )
    assert '"probability"' in done.stdout
    assert done.returncode == 0, done.stderr

"""The house's rules: which way imports point, and that listing and predicting need no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import ROOT

FRAMEWORKS = {"torch", "torchvision", "timm", "onnx", "accelerate", "safetensors"}
PLUGIN_MAY_IMPORT = {"wbczoo.specs", "wbczoo.tasks", "wbczoo.errors"}
# What a module of one layer must never import, at any depth of its file.
NEVER = {
    "wbczoo/specs.py": {"wbczoo"},
    "wbczoo/errors.py": {"wbczoo"},
    "wbczoo/runtime": FRAMEWORKS
    | {"wbczoo.training.train", "wbczoo.exporting", "wbczoo.model.build", "wbczoo.cli"},
    "wbczoo/registry/__init__.py": FRAMEWORKS | {"wbczoo.model.build", "wbczoo.cli", "wbczoo.data"},
    "wbczoo/config.py": FRAMEWORKS | {"wbczoo.registry", "wbczoo.model.build"},
    "wbczoo/tasks.py": FRAMEWORKS | {"wbczoo.registry"},
    "wbczoo/images/__init__.py": FRAMEWORKS | {"wbczoo.data", "wbczoo.runtime"},
    "wbczoo/data": {"wbczoo.training.train", "wbczoo.runtime", "wbczoo.exporting", "wbczoo.cli"},
    "wbczoo/model/fused.py": {
        "wbczoo.registry",
        "wbczoo.data",
        "wbczoo.training.train",
        "wbczoo.cli",
    },
    "wbczoo/model/build.py": {
        "wbczoo.training.train",
        "wbczoo.data",
        "wbczoo.cli",
        "wbczoo.exporting",
    },
    "wbczoo/process.py": FRAMEWORKS | {"wbczoo.registry", "wbczoo.registry.entry", "wbczoo.cli"},
    "wbczoo/registry/installed.py": FRAMEWORKS | {"wbczoo.registry", "wbczoo.cli"},
    "wbczoo/registry/entry.py": FRAMEWORKS
    | {"wbczoo.registry", "wbczoo.model.build", "wbczoo.cli"},
    "wbczoo/registry/sandbox.py": FRAMEWORKS
    | {"wbczoo.registry", "wbczoo.registry.entry", "wbczoo.cli"},
    "wbczoo/skeleton": FRAMEWORKS | {"wbczoo.registry", "wbczoo.model.build", "wbczoo.cli"},
    "wbczoo/testing": {
        "wbczoo.cli",
        "wbczoo.training.train",
        "wbczoo.study",
        "wbczoo.evaluation.evaluate",
    },
    "wbczoo/cells/white_cell.py": FRAMEWORKS | {"wbczoo"},
    "wbczoo/runtime/published.py": FRAMEWORKS | {"wbczoo.runtime", "wbczoo.cli"},
    "wbczoo/study": {"wbczoo.cli", "wbczoo.runtime.predict"},
    "wbczoo/training/train.py": {
        "wbczoo.cli",
        "wbczoo.exporting",
        "wbczoo.runtime",
        "wbczoo.study",
    },
}


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


@pytest.mark.parametrize("place", NEVER)
def test_imports_point_one_way(place: str) -> None:
    for path in _files(place):
        wrong = [
            name
            for name in _imports(path)
            for banned in NEVER[place]
            if name == banned or name.startswith(f"{banned}.")
        ]
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_nothing_in_the_core_imports_a_plugin() -> None:
    for path in _files("wbczoo"):
        assert not [name for name in _imports(path) if name.startswith("wbczoo_")], path


def test_plugins_import_the_contract_alone() -> None:
    for path in _files("plugins"):
        allowed = PLUGIN_MAY_IMPORT | ({"wbczoo.testing"} if "tests" in path.parts else set())
        for name in _imports(path):
            if name.startswith("wbczoo."):
                assert any(name == ok or name.startswith(f"{ok}.") for ok in allowed), (
                    f"{path.relative_to(ROOT)} imports {name}"
                )


def test_list_predict_and_verify_import_no_torch(small_export: Path, smears: Path) -> None:
    script = (
        "import sys; from wbczoo.cli import main; code = main(sys.argv[1:]);"
        "found = {'torch', 'timm', 'onnx', 'safetensors', 'sklearn'} & set(sys.modules);"
        "sys.exit(f'imported {found}' if found else code)"
    )
    for command in (
        ["list", "--json"],
        ["predict", str(smears / "test"), "--model", str(small_export)],
        ["verify", str(small_export)],
        ["evaluate", str(small_export), str(smears), "--dataset", "synthetic"],
        ["doctor"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", script, *command], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    listing = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "wbczoo", "list"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    slow = ("numpy", "pydantic", "PIL", "onnxruntime", "torch")
    assert not [word for word in slow if f" {word}\n" in listing.stderr]

"""What the runtime's tests share: small exports, and a process apart that is asked."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tiny_export
from told import Ask

from wbczoo.process import Apart

LIMIT = 30.0  # seconds that a command may take on a loaded machine; a whole one takes 0.05


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_export.write_model(tmp_path_factory.mktemp("export") / "model.onnx")


@pytest.fixture
def changed_model(tmp_path: Path) -> Callable[[dict[str, str | None]], Path]:
    return lambda changed: tiny_export.write_model(tmp_path / "changed" / "model.onnx", changed)


@pytest.fixture
def export(small_export: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(small_export, tmp_path / "export"))


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """Run a command in a process that is killed if it hangs: its exit code, stdout and stderr."""
    with Apart("hostile_models:answer", LIMIT, quiet=True) as apart:

        def run(*arguments: object) -> tuple[int, str, str]:
            found = apart.ask({"arguments": [str(argument) for argument in arguments]})
            return found["code"], found["out"], found["err"]

        yield run

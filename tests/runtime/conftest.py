"""What the runtime's tests share: one small export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_export


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_export.write_model(tmp_path_factory.mktemp("export") / "model.onnx")


@pytest.fixture
def changed_model(tmp_path: Path) -> Callable[[dict[str, str | None]], Path]:
    return lambda changed: tiny_export.write_model(tmp_path / "changed" / "model.onnx", changed)

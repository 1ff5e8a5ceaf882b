"""The plugin for napari keeps its own tests: layers and table, and napari where it is there."""

from __future__ import annotations

import os
import subprocess
import sys

from commands import ROOT

PLUGIN = ROOT / "plugins" / "napari-wbczoo"


def test_its_own_tests_hold() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-c", "pyproject.toml", "tests"]
    # The plugin is imported from its folder, for only its users install it.
    places = os.pathsep.join([str(PLUGIN), os.environ.get("PYTHONPATH", "")])
    settings = os.environ | {"PYTHONPATH": places, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(command, cwd=PLUGIN, capture_output=True, text=True, env=settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout or "13 passed" in done.stdout, done.stdout

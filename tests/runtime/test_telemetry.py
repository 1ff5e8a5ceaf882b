"""No library leaves an identifier in the home folder or reports to its maker through wbczoo."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wbczoo.runtime import diagnosis

# What would keep a library silent by itself, and so prove nothing.
SILENCERS = ("CI", "TF_BUILD", "JENKINS_URL", "GITHUB_ACTIONS", "XDG_CACHE_HOME", "DO_NOT_TRACK")
OURS = ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY")


def _run(home: Path, script: str) -> None:
    kept = {k: v for k, v in os.environ.items() if k not in (*SILENCERS, *OURS)}
    subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        env={**kept, "HOME": str(home), "USERPROFILE": str(home), "LOCALAPPDATA": str(home)},
    )


@pytest.mark.parametrize(
    "load",
    [
        "from wbczoo.runtime.devices import import_onnxruntime as load",
        "from wbczoo.runtime.openvino import _import as load",
        "import wbczoo.cli; from onnxruntime import InferenceSession as load; load = int",
    ],
)
def test_a_runtime_leaves_nothing_in_the_home_folder(load: str, tmp_path: Path) -> None:
    if "openvino" in load:
        pytest.importorskip("openvino")
    _run(tmp_path, f"{load}\nload()")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_hub_hears_no_versions(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    script = "import wbczoo, huggingface_hub.constants as c; assert c.HF_HUB_DISABLE_TELEMETRY"
    _run(tmp_path, script)


def test_doctor_says_what_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(diagnosis._telemetry().values()) == {"off"}
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    assert diagnosis._telemetry()["onnxruntime"] == "on, by ORT_DISABLE_TELEMETRY=0"

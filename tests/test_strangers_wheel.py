"""Somebody else's wheel, beside wbczoo's and away from the checkout, goes the whole way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import ROOT
from elsewhere import Elsewhere, build_wheel

from wbczoo.skeleton import KINDS, Kind

EXAMPLE = ROOT / "plugins" / "example"
COMPOSITION = ("--backbone", "squeezenet1_1", "--seq", "renet", "--seq-option", "layers=2",
               "--hidden", "8", "--image-size", "64", "--weights", "none")  # fmt: skip


def test_a_strangers_branch_goes_the_whole_way_and_leaves(
    elsewhere: Elsewhere, tmp_path: Path
) -> None:
    smears, run, exported = tmp_path / "smears", tmp_path / "run", tmp_path / "export"
    elsewhere.run("wbczoo", "data", "prepare", smears, "--dataset", "synthetic", "--image-size",
                  "64", "--photographs", "24", "--views", "2")  # fmt: skip
    with elsewhere.installed("wbczoo-renet", build_wheel(EXAMPLE, tmp_path / "wheel")):
        row = elsewhere.rows("sequences")["renet"]
        assert (row["status"], row["distribution"], row["version"], row["reason"]) == (
            "ok", "wbczoo-renet", "0.1.0", ""
        )  # fmt: skip
        where = elsewhere.run("python", "-c", "import wbczoo_renet; print(wbczoo_renet.__file__)")
        assert Path(where.stdout.strip()).is_relative_to(elsewhere.environment)
        built = json.loads(elsewhere.run("wbczoo", "build", *COMPOSITION, "--json").stdout)
        assert built["name"] == "squeezenet1_1+renet"
        assert built["features"] == {"backbone": 512, "sequence": 16, "fused": 528}
        elsewhere.run("wbczoo", "train", smears, "--dataset", "synthetic", *COMPOSITION, "--epochs",
                      "1", "--batch-size", "8", "--device", "cpu", "--out", run)  # fmt: skip
        elsewhere.run("wbczoo", "export", run, "--out", exported)
        elsewhere.run("wbczoo", "verify", exported)
        answers = predict(elsewhere, smears, exported)
        assert len(answers) == 16
        part = json.loads((run / "config.json").read_text())["model"]["sequence"]
        assert part == {
            "name": "renet",
            "distribution": "wbczoo-renet",
            "version": "0.1.0",
            "options": {"layers": 2},
        }
    assert "renet" not in elsewhere.run("wbczoo", "list", "--json").stdout
    refused = elsewhere.run("wbczoo", "build", *COMPOSITION, expect=2)
    assert "There is no sequence branch 'renet'" in refused.stderr
    refused = elsewhere.run("wbczoo", "export", run, "--out", tmp_path / "again", expect=2)
    assert "pip install wbczoo-renet" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "again").exists()
    # The file is enough alone.
    assert predict(elsewhere, smears, exported) == answers


def predict(elsewhere: Elsewhere, smears: Path, exported: Path) -> list[Any]:
    """What an export answers of the test images."""
    done = elsewhere.run("wbczoo", "predict", smears / "test", "--model", exported, "--device",
                         "cpu", "--format", "jsonl")  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(set(answer["tasks"]) == {"cell", "nucleus"} for answer in answers)
    return answers


@pytest.mark.parametrize(
    "left_out",
    [
        "onnx",  # by day: by far the slowest check, and the branch above is exported
        pytest.param("nothing", marks=pytest.mark.nightly),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_installs_and_keeps_the_contract(
    elsewhere: Elsewhere, kind: Kind, left_out: str, tmp_path: Path
) -> None:
    folder = tmp_path / "wbczoo-mine"
    elsewhere.run("wbczoo", "plugin", "new", "wbczoo-mine", "--kind", kind, "--out", folder)
    for rules in (["--isolated"], ["--config", str(ROOT / "pyproject.toml")]):
        for task in (["check"], ["format", "--check"]):
            command = [sys.executable, "-m", "ruff", *task, "--no-cache", *rules, "."]
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
            assert done.returncode == 0, done.stdout
    with elsewhere.installed("wbczoo-mine", build_wheel(folder, tmp_path / "wheel")):
        row = elsewhere.rows(f"{kind}s")["mine"]
        assert (row["status"], row["distribution"]) == ("ok", "wbczoo-mine")
        # -P: what is tested is the wheel's module, and not the one beside the tests.
        done = elsewhere.run("python", "-P", "-m", "pytest", "-p", "no:cacheprovider", folder,
                             "-k", f"not {left_out}")  # fmt: skip
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout

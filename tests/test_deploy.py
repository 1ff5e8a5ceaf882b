"""What deploys the server is well formed, and starts what there is."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from commands import ROOT

from wbczoo.cli import cli

DEPLOY = ROOT / "deploy"
FILES = sorted(DEPLOY.glob("*.yaml"))


def documents(path: Path) -> list[dict[str, Any]]:
    return [*pytest.importorskip("yaml").safe_load_all(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_manifests_keep_the_schemas_of_kubernetes(path: Path) -> None:
    schemas = pytest.importorskip("kubernetes_validate")
    for document in documents(path):
        if document["kind"] == "InferenceService":  # KServe's own; a predictor is a pod
            (predictor,) = (dict(part) for part in document["spec"].values())
            pod = {"containers": predictor["containers"]}
            document = {
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": pod,
            }  # fmt: skip
        schemas.validate(document, schemas.latest_version(), strict=True)


def test_the_container_file_is_linted() -> None:
    beside = Path(sys.executable).parent
    hadolint = shutil.which("hadolint", path=str(beside)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, DEPLOY / "Containerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_image_has_what_the_package_needs_and_the_server() -> None:
    lines = (DEPLOY / "requirements.txt").read_text(encoding="utf-8").splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {each.split(";")[0] for each in project["dependencies"]}
    needed |= {*project["optional-dependencies"]["serve"]}
    processors = {each for each in needed if not each.startswith("onnxruntime-gpu")}
    assert {line for line in lines if not line.startswith("#")} == processors


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_container_runs_a_command_that_exists(path: Path) -> None:
    for document in documents(path):
        spec = document.get("spec", {})
        spec = spec.get("predictor") or spec.get("template", {}).get("spec", {})
        for container in spec.get("containers", ()):
            words = " ".join(container["args"]).removeprefix("exec wbczoo ")
            words = words.replace("$((JOB_COMPLETION_INDEX + 1))", "1")
            verb, *rest = words.split()
            command = cli.get_command(None, verb)  # type: ignore[arg-type]
            assert command is not None
            command.make_context(verb, rest, resilient_parsing=True)
            known = {option for each in command.params for option in each.opts}
            assert {word for word in rest if word.startswith("-")} <= known

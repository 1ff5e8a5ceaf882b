"""A package of the BioImage Model Zoo holds what its description names, and its tools run it."""

from __future__ import annotations

import hashlib
import io
import subprocess
import venv
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import yaml
from commands import Completed

Run = Callable[..., Completed]


@pytest.fixture(scope="module")
def package(wbczoo: Run, small_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("package") / "small.zip"
    wbczoo("export", small_export, "--out", out, "--layout", "bioimageio")
    return out


def described(package: Path) -> Any:
    with zipfile.ZipFile(package) as held:
        return yaml.safe_load(held.read("rdf.yaml"))


def sources(part: Any) -> Iterator[dict[str, str]]:
    """All files that a description names."""
    if isinstance(part, dict):
        if "source" in part:
            yield part
        part = [*part.values()]
    if isinstance(part, list):
        for each in part:
            yield from sources(each)


def test_all_that_is_named_is_held_and_the_test_tensors_are_the_graph_s(package: Path) -> None:
    found = described(package)
    assert found["format_version"].startswith("0.5.")
    with zipfile.ZipFile(package) as held:
        named = {each["source"]: each["sha256"] for each in sources(found)}
        assert {*held.namelist()} == {*named, "rdf.yaml"}
        for name, digest in named.items():
            assert hashlib.sha256(held.read(name)).hexdigest() == digest
        session = onnxruntime.InferenceSession(
            held.read("model.onnx"), providers=["CPUExecutionProvider"]
        )
        images = np.load(io.BytesIO(held.read("images.npy")))
        answers = session.run(None, {"images": images})
        assert [each["id"] for each in found["outputs"]] == [
            each.name for each in session.get_outputs()
        ]
        for output, answer in zip(found["outputs"], answers, strict=True):
            expected = np.load(io.BytesIO(held.read(output["test_tensor"]["source"])))
            np.testing.assert_allclose(answer, expected, atol=1e-5)
            assert len(output["axes"]) == expected.ndim
            assert output["data"]["type"] == expected.dtype.name
    (probabilities,) = (each for each in found["outputs"] if each["id"] == "cell_probabilities")
    assert probabilities["axes"][1]["channel_names"][0] == "eosinophil"
    assert "image-classification" in found["tags"]


def test_a_published_model_takes_its_evaluations_and_limitations_along(
    wbczoo: Run, tmp_path: Path
) -> None:
    out = tmp_path / "nano.zip"
    wbczoo("export", "leukocyte-nano", "--out", out, "--layout", "bioimageio")
    config = described(out)["config"]["bioimageio"]
    assert "Diagnosis" in config["out_of_scope_use"]
    assert "after the crop `cell`" in config["bias_risks_limitations"]["limitations"]
    assert len(config["evaluations"]) > 2
    for found in config["evaluations"]:
        assert found["dataset_source"].startswith("https://")
        assert "protocol" in found["results_summary"]
        assert found["dataset_role"] in ("test", "independent", "unknown")
        for value, low, high in found["results"]:
            assert low <= value <= high


def test_a_file_is_kept_unless_it_is_to_be_replaced(
    wbczoo: Run, small_export: Path, tmp_path: Path
) -> None:
    out = tmp_path / "small.zip"
    again = ("export", small_export, "--layout", "bioimageio", "--out")
    out.write_bytes(b"mine")
    assert "--overwrite" in wbczoo(*again, out, expect=2).stderr
    assert out.read_bytes() == b"mine"
    assert "such as model.zip" in wbczoo(*again, tmp_path / "folder", expect=2).stderr
    told = wbczoo(*again, out, "--overwrite").stdout
    assert str(out) in told
    assert zipfile.is_zipfile(out)
    assert [*tmp_path.iterdir()] == [out]


@pytest.mark.nightly  # bioimageio.core needs an older pydantic than the tests run with
def test_bioimageio_validates_and_runs_it(
    wbczoo: Run, small_run: Path, package: Path, tmp_path: Path
) -> None:
    camera = tmp_path / "camera.zip"
    wbczoo("export", small_run, "--out", camera, "--layout", "bioimageio",
           "--embed-preprocess", "--speed", "none")  # fmt: skip
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    wanted = ("bioimageio.core==0.11.0", "bioimageio.spec==0.5.12.0", "pydantic<2.14")
    install = [python, "-m", "pip", "install", "--quiet", *wanted, "onnxruntime"]
    if subprocess.run(install, capture_output=True, check=False).returncode:
        pytest.skip("no index of packages has bioimageio.core")
    code = (
        "import sys, bioimageio.core as core\n"
        "for path in sys.argv[1:]:\n"
        "    found = core.test_model(path, 'onnx', ['CPUExecutionProvider'])\n"
        "    assert found.status == 'passed', found.format()\n"
    )
    done = subprocess.run(
        [python, "-c", code, package, camera], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

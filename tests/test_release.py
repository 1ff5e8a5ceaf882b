"""What would be published is whole, says one version, and brings no licence that is not listed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from commands import ROOT

from wbczoo import __version__

WORKFLOW = ROOT / ".github" / "workflows" / "checks.yml"
sys.path.insert(0, str(ROOT / "tools"))


def read_toml(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / name).read_text(encoding="utf-8"))


def run(*command: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("CHANGELOG.md", r"^## \[([\d.]+)\] - \d{4}-\d\d-\d\d$"),
        ("CITATION.cff", r"^version: (.+)$"),
        ("README.md", r"for ([\d.]+) is not yet on PyPI"),
        ("docs/install.md", r"wbczoo-([\d.]+)-py3"),
        ("docs/list.md", r"wbczoo ([\d.]+)$"),
        ("docs/doctor.md", r"^packages wbczoo +([\d.]+)$"),
        ("deploy/serve.yaml", r"wbczoo-serve:([\d.]+)$"),
        ("deploy/kserve.yaml", r"wbczoo-serve:([\d.]+)$"),
        ("deploy/predict-job.yaml", r"wbczoo-serve:([\d.]+)$"),
    ],
)
def test_each_place_says_this_version(name: str, pattern: str) -> None:
    said = re.findall(pattern, (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
    # A change log goes on with the older ones.
    assert set(said[:1] if name == "CHANGELOG.md" else said) == {__version__}


def test_the_citation_has_the_day_of_the_change_log() -> None:
    log = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    day = re.search(rf"^## \[{re.escape(__version__)}\] - (.+)$", log, re.MULTILINE)
    assert day is not None
    assert f'date-released: "{day[1]}"' in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


@pytest.mark.nightly  # builds a wheel from a source archive; tests/test_wheel.py looks at a wheel
def test_what_would_be_published_is_whole(tmp_path: Path) -> None:
    for module in ("build", "twine"):
        pytest.importorskip(module)
    # The wheel is made from the source archive, so that what it lacks there is missed.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path)
    wheel, archive = (tmp_path / f"wbczoo-{__version__}{end}" for end in
                      ("-py3-none-any.whl", ".tar.gz"))  # fmt: skip
    told = run(sys.executable, "-m", "twine", "check", "--strict", wheel, archive).stdout
    assert told.count("PASSED") == 2
    with tarfile.open(archive) as opened:
        held = {name.partition("/")[2] for name in opened.getnames()}
    assert held >= {"LICENSE", "CITATION.cff", "SECURITY.md", "licences.toml", "constraints.txt",
                    "Makefile", "tests/conftest.py", "docs/README.md", "mkdocs.yml",
                    ".github/workflows/checks.yml"}  # fmt: skip
    with zipfile.ZipFile(wheel) as opened:
        about = f"wbczoo-{__version__}.dist-info"
        metadata = message_from_bytes(opened.read(f"{about}/METADATA"))
        points = opened.read(f"{about}/entry_points.txt").decode()
        assert f"{about}/licenses/LICENSE" in opened.namelist()
        assert not [name for name in opened.namelist() if name.endswith((".pyc", ".jpg", ".png"))]
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    project = read_toml("pyproject.toml")["project"]
    assert set(metadata.get_all("Provides-Extra", ())) == {*project["optional-dependencies"]}
    for group in project["entry-points"]:
        assert f"[{group}]" in points


def test_the_workflow_keeps_its_schema_and_tries_each_python_that_is_promised() -> None:
    yaml = pytest.importorskip("yaml")
    pytest.importorskip("check_jsonschema")
    run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows",
        WORKFLOW)  # fmt: skip
    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    promised = [each.rpartition(" ")[2] for each in read_toml("pyproject.toml")["project"][
        "classifiers"] if each.startswith("Programming Language :: Python :: 3.")]  # fmt: skip
    assert jobs["test"]["strategy"]["matrix"]["python"] == promised
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    targets = {word for line in commands for word in line.split()[1:] if "=" not in word}
    assert targets == {"test", "docs", "release"}
    make = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{target}:", make, re.MULTILINE) for target in targets)


@pytest.mark.nightly  # an environment of its own: cffconvert wants an older jsonschema
def test_the_citation_is_valid(tmp_path: Path) -> None:
    venv.create(tmp_path / "cff", with_pip=True)
    python = tmp_path / "cff" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    command = [str(python), "-m", "pip", "install", "--quiet", "cffconvert==2.0.0"]
    # It imports what newer versions of setuptools no longer bring.
    done = subprocess.run([*command, "setuptools<81"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip reaches no package index: {done.stderr.strip().splitlines()[-1]}")
    run(python.with_name("cffconvert"), "--validate", "-i", ROOT / "CITATION.cff")


def test_licences_of_what_users_get_are_looked_at_and_only_of_that() -> None:
    licences = pytest.importorskip("licences")
    needs = {
        "numpy": ["Deep_er>=1", "linter; extra == 'dev'", "wrong; python_version < '3'"],
        "deep-er": [],
        "old": ["faster; extra == 'all'", "numpy"],
        "faster": None,
    }
    asked = ["numpy>=1.26", "old[all]>=2"]
    assert licences.find_shipped(asked, needs.__getitem__) == (
        {"numpy", "deep-er", "old"}, {"faster"}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("licence", "expression", "allowed"),
    [
        ([{"expression": "BSD-3-Clause AND (MIT OR GPL-3.0-only)"}],
         "BSD-3-Clause AND (MIT OR GPL-3.0-only)", True),
        ([{"license": {"name": "License :: OSI Approved :: MIT License"}}], "MIT", True),
        ([{"license": {"id": "MIT"}}, {"license": {"id": "AGPL-3.0-only"}}],
         "(AGPL-3.0-only) AND (MIT)", False),
        ([{"license": {"name": "as you like it"}}], "as you like it", False),
        ([], "", False),
    ],
)  # fmt: skip
def test_a_licence_is_allowed_by_all_that_it_demands(
    licence: list[dict[str, Any]], expression: str, allowed: bool
) -> None:
    licences = pytest.importorskip("licences")
    rules = read_toml("licences.toml")
    found = licences.find_licence({"name": "a", "licenses": licence}, rules)
    assert found == expression
    assert licences.is_allowed(found, rules["allowed"]) is allowed


@pytest.mark.nightly  # half a minute: each file of the environment is looked at
def test_all_that_the_wheel_and_its_extras_bring_is_allowed(tmp_path: Path) -> None:
    pytest.importorskip("cyclonedx_py")
    bill = tmp_path / "sbom.json"
    run(sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject",
        "pyproject.toml", "--output-reproducible", "--output-file", bill)  # fmt: skip
    assert json.loads(bill.read_text())["bomFormat"] == "CycloneDX"
    run(sys.executable, ROOT / "tools" / "licences.py", bill)

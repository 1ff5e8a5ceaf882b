"""The wheel without extras, in environments of its own: small, without torch, and enough."""

from __future__ import annotations

import json
import re
import sys
import venv
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
from commands import ROOT
from elsewhere import Elsewhere, build_wheel

from wbczoo.cli import VERBS

MB = 1_000_000
INSTALLERS = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")

PYTHON = """
import io, json, sys
from pathlib import Path
import numpy as np
from PIL import Image
from wbczoo.runtime import Session

path = Path(sys.argv[2])
image = Image.open(path).convert("RGB")
forms = [path, str(path), path.read_bytes(), image, np.asarray(image)]
answers = Session(sys.argv[1]).predict(forms)
assert [answer.pop("path", None) for answer in answers] == [str(path)] * 2 + [None] * 3
assert all(answer == answers[0] for answer in answers[1:]), answers
assert "torch" not in sys.modules
print(json.dumps(answers[0]["tasks"]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


def make_empty(folder: Path) -> Elsewhere:
    """An environment with nothing but pip, or a skip where pip reaches no package index."""
    venv.create(folder / "environment", with_pip=True, symlinks=sys.platform != "win32")
    found = Elsewhere(folder / "environment", folder)
    install = ["install", "--no-compile", "--constraint", ROOT / "constraints.txt"]
    try:
        found.pip(*install, "tabulate")
    except AssertionError as error:
        pytest.skip(f"pip reaches no package index: {str(error).strip().splitlines()[-1]}")
    return found


def read_recipe() -> list[str]:
    """The requirements that docs/deployment.md shows."""
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    shown = re.search(r"`requirements-cpu\.txt`:\n\n```\n(.*?)```", text, re.DOTALL)
    assert shown is not None
    return shown[1].split()


def weigh(environment: Path) -> int:
    """Bytes of what is installed, but for what installs."""
    (site,) = environment.rglob("site-packages")
    files = [path for path in site.rglob("*") if path.is_file() and not path.is_symlink()]
    return sum(
        path.stat().st_size
        for path in files
        if not path.relative_to(site).parts[0].startswith(INSTALLERS)
    )


def use(small: Elsewhere, export: Path, smears: Path, cure: str) -> None:
    """Run what a deployer runs, and see that it answers without torch.

    Args:
        cure: what a verb says that wants the extra `hub`.
    """
    small.run("python", "-c", "import importlib.util as u; assert u.find_spec('torch') is None")
    listed = {row["name"] for row in json.loads(small.run("wbczoo", "list", "--json").stdout)[
        "backbones"]}  # fmt: skip
    assert "mobilenetv2" in listed
    small.run("wbczoo", "verify", export)
    images = sorted((smears / "test").rglob("*.jpg"))[:3]
    done = small.run("wbczoo", "predict", *images, "--model", export, "--device", "cpu")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["path"] for answer in answers] == [str(path) for path in images]
    found = json.loads(small.run("python", "-c", PYTHON, export, images[0]).stdout)
    assert found == answers[0]["tasks"]
    told = json.loads(small.run("wbczoo", "doctor", "--json").stdout)
    assert told["torch"] is None
    assert told["devices"]["cpu"] is None
    missing = small.run("wbczoo", "pull", "a/b", "--out", "x", expect=1)
    assert cure in missing.stderr
    bench = ("bench", "predict", *images, "--model", export, "--batch-size", "2", "--rounds", "1")
    rows = json.loads(small.run("wbczoo", *bench, "--json").stdout)["rows"]
    assert [row["error"] for row in rows] == [None, None]  # the bare call and the runtime


def test_the_wheel_alone_is_enough_and_small(
    wheel: Path, small_export: Path, smears: Path, tmp_path: Path
) -> None:
    small = make_empty(tmp_path)
    constraints = ROOT / "constraints.txt"
    small.pip("install", "--no-compile", "--constraint", constraints, wheel)
    weight = weigh(small.environment)  # before Python writes bytecode beside what it runs
    use(small, small_export, smears, f"pip install '{wheel}[hub]'")
    small.pip("check")
    print(f"{weight / MB:.1f} MB")
    if sys.platform == "linux":
        # The published models, of at most 16 MB, are weighed by themselves.
        models = sum(path.stat().st_size for path in small.environment.rglob("runtime/models/*/*"))
        assert models <= 16 * MB
        assert weight - models <= 445 * MB


def test_the_documented_list_is_what_the_wheel_requires(wheel: Path) -> None:
    (about,) = (each for each in zipfile.Path(wheel).iterdir() if each.name.endswith("dist-info"))
    required = PathDistribution(about).requires or []
    # All that the wheel requires, with the other onnxruntime.
    plain = {each for each in required if ";" not in each}
    assert {each for each in read_recipe() if not each.startswith("onnxruntime")} == plain
    both = [each for each in required if each.startswith("onnxruntime") and "extra" not in each]
    assert any(each.startswith("onnxruntime>=") for each in both)


@pytest.mark.nightly  # the test above, and a smaller environment than that of the wheel alone
def test_the_documented_list_is_enough_for_the_cpu_and_smaller(
    wheel: Path, small_export: Path, smears: Path, tmp_path: Path
) -> None:
    small = make_empty(tmp_path)
    (tmp_path / "requirements-cpu.txt").write_text("\n".join(read_recipe()))
    constraints = ROOT / "constraints.txt"
    small.pip("install", "--no-compile", "--constraint", constraints, "-r", "requirements-cpu.txt")
    small.pip("install", "--no-compile", "--no-deps", wheel)
    use(small, small_export, smears, "pip install 'huggingface-hub>=1.0'")
    weight = weigh(small.environment)
    print(f"{weight / MB:.1f} MB")
    if sys.platform == "linux":
        assert weight <= 200 * MB


@pytest.mark.nightly
@pytest.mark.skipif(sys.version_info >= (3, 13), reason="the lowest NumPy has no wheel for it")
def test_the_lowest_versions_that_are_promised_are_enough(
    wheel: Path, small_export: Path, smears: Path, tmp_path: Path
) -> None:
    small = make_empty(tmp_path)
    small.pip("install", "--no-compile", *(each.replace(">=", "==") for each in read_recipe()))
    small.pip("install", "--no-compile", "--no-deps", wheel)
    use(small, small_export, smears, "pip install 'huggingface-hub>=1.0'")
    for verb in VERBS:
        small.run("wbczoo", verb, "--help")

"""What the tests share: the real data beside the checkout, drawn smears, and one small run."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tiny_export
from commands import ROOT, SMALL_TRAINING, Completed, call, expected, made_once, run_here
from elsewhere import Elsewhere, make_environment
from sentences import Ask

from wbczoo.process import JobProcess

if TYPE_CHECKING:
    from wbczoo.data.samples import Rows

# Threads that wait must not spin: the tests' own subprocesses are waiting for the same cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

LIMIT = 30.0  # seconds that a command may take on a loaded machine; a whole one takes 0.05


def pytest_addoption(parser: pytest.Parser) -> None:
    """More kills than there is time for: `pytest tests/training/test_resume.py --kills 200`."""
    parser.addoption("--kills", type=int, default=5, help="how often a training is killed")


# Of one test or of few, and minutes long: what is begun last keeps one process waiting for another.
LONG = (
    "test_archive.py", "test_tutorial.py", "test_resume.py", "test_breadth.py", "test_jobs.py",
    "test_pairs.py", "test_precision.py", "test_bench.py", "test_kit.py", "test_skeleton.py",
    "test_strangers_wheel.py", "test_torchvision_family.py", "test_notebook.py",
    "test_small_install.py", "test_several_devices.py", "test_results.py", "test_doctor.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files come first; with --no-loadscope-reorder that is the order of two processes too."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let exports of one process share the exporter's table of operators, which none changes.

    It takes a second of processor time to make, and the exporter makes it anew for each export.
    """
    module = sys.modules.get("torch.onnx._internal.exporter._registration")
    registry = getattr(module, "ONNXRegistry", None)
    if not hasattr(getattr(registry, "from_torchlib", functools.cache(str)), "cache_info"):
        cached = staticmethod(functools.cache(registry.from_torchlib))  # type: ignore[union-attr]
        registry.from_torchlib = cached  # type: ignore[union-attr]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and weights, or a skip that says so."""
    folder = Path(os.environ.get("WBCZOO_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"the real data are not at {folder}")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's pixel cache and weights out of the tests, in subprocesses too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WBCZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.delenv("WBCZOO_WEIGHTS", raising=False)
        patch.delenv("WBCZOO_DEBUG", raising=False)
        yield


@pytest.fixture(scope="session")
def wbczoo_process() -> Callable[..., Completed]:
    """Run the command in a process of its own, as a user does, and expect its exit code."""

    def run(*arguments: object, expect: int = 0, cwd: Path | None = None) -> Completed:
        command = [sys.executable, "-m", "wbczoo", *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=cwd, timeout=600
        )
        return expected(done, expect)

    return run


@pytest.fixture(scope="session")
def wbczoo() -> Callable[..., Completed]:
    """Run the command in this process, where PyTorch is imported once, and expect its exit code."""

    def run(*arguments: object, expect: int = 0, cwd: Path | None = None) -> Completed:
        return expected(run_here(arguments, cwd), expect)

    return run


@pytest.fixture(scope="session")
def smears(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 drawn photographs, three views of each."""

    def draw(root: Path) -> None:
        from wbczoo_datasets.synthetic import SYNTHETIC

        assert SYNTHETIC.prepare is not None
        SYNTHETIC.prepare(root, photographs=24, views=3, seed=0)

    return made_once(tmp_path_factory, "smears", draw)


@pytest.fixture(scope="session")
def bccd_rows(shared: Path) -> Rows:
    """The rows of the real BCCD archive: 12 882 files, read and hashed once."""
    from wbczoo import registry
    from wbczoo.data.samples import read_rows

    return read_rows(registry.datasets.spec("bccd"), shared / "data" / "blood-cells.zip")


@pytest.fixture(scope="session")
def small_run(smears: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run of the small composition on the drawn smears."""

    def train(out: Path) -> None:
        assert call(["train", smears, "--dataset", "synthetic", *SMALL_TRAINING, "--out", out]) == 0

    return made_once(tmp_path_factory, "small-run", train)


@pytest.fixture(scope="session")
def small_export(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run, exported."""

    def export(out: Path) -> None:
        assert call(["export", small_run, "--out", out]) == 0

    return made_once(tmp_path_factory, "small-export", export)


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    """A new environment that borrows what the tests have installed, all but wbczoo."""
    return make_environment(tmp_path_factory.mktemp("elsewhere"))


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
    with JobProcess("hostile_models:answer", LIMIT, quiet=True) as jobs:

        def run(*arguments: object) -> tuple[int, str, str]:
            found = jobs.ask({"arguments": [str(argument) for argument in arguments]})
            return found["code"], found["out"], found["err"]

        yield run

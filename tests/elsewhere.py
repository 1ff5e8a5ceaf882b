"""An environment away from the checkout, with wbczoo's wheel and what a test installs beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands import ROOT, Completed


@dataclass(frozen=True)
class Elsewhere:
    """An environment with wbczoo's wheel, and a folder outside the checkout to stand in."""

    environment: Path
    folder: Path

    def run(self, program: str, *arguments: object, expect: int = 0) -> Completed:
        """Run a program of the environment, and expect its exit code."""
        where = "Scripts" if os.name == "nt" else "bin"
        command = [str(self.environment / where / program), *map(str, arguments)]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=self.folder, env=kept
        )
        assert done.returncode == expect, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def pip(self, *arguments: object) -> None:
        """pip, which asks no index."""
        self.run("python", "-m", "pip", "--disable-pip-version-check", *arguments)

    def rows(self, kind: str) -> dict[str, dict[str, Any]]:
        """Name -> row of `wbczoo list --json`, of one kind."""
        document = json.loads(self.run("wbczoo", "list", "--json").stdout)
        return {row["name"]: row for row in document[kind]}

    @contextmanager
    def installed(self, distribution: str, wheel: Path) -> Iterator[None]:
        """A distribution that is there for as long as it is needed."""
        self.pip("install", "--no-index", "--no-deps", wheel)
        try:
            yield
        finally:
            self.pip("uninstall", "--yes", distribution)


def build_wheel(project: Path, out: Path) -> Path:
    """The wheel of a folder with a pyproject.toml, in the new folder `out`."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, check=True, capture_output=True, cwd=project)
    (wheel,) = out.glob("*.whl")
    return wheel


def make_environment(folder: Path) -> Elsewhere:
    """A new environment that borrows what the tests have installed, all but wbczoo."""
    borrowed, environment = folder / "borrowed", folder / "environment"
    borrowed.mkdir()
    for site in {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}:
        for each in site.iterdir():
            if "wbczoo" not in each.name and each.suffix != ".pth":
                (borrowed / each.name).symlink_to(each)
    venv.create(environment, with_pip=False, symlinks=os.name != "nt")
    (site,) = environment.rglob("site-packages")
    # Named in a .pth file, it is searched after the environment's own packages.
    (site / "borrowed.pth").write_text(f"{borrowed}\n")
    found = Elsewhere(environment, folder)
    found.pip("install", "--no-index", "--no-deps", build_wheel(ROOT, folder / "wheel"))
    where = found.run("python", "-c", "import wbczoo, torch; print(wbczoo.__file__)").stdout
    assert Path(where.strip()).is_relative_to(site), where
    return found

"""Distributions of strangers as pip leaves them, and Python with them installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SPEC = """
from wbczoo.specs import BackboneSpec, SequenceSpec

def build(**settings):
    raise AssertionError("nothing was asked to be built")

"""


def part(name: str, more: str = "", before: str = "") -> str:
    """The code of a module with one backbone."""
    return f"{before}{SPEC}PART = BackboneSpec(name={name!r}, build=build, {more})\n"


def install(
    site: Path, distribution: str, name: str, code: str, *, group: str = "wbczoo.backbones"
) -> Path:
    """A distribution with one module and one part, as pip leaves it; returns the module."""
    module = distribution.replace("-", "_").replace(".", "_").lower()
    about = site / f"{module}-1.5.dist-info"
    about.mkdir(parents=True)
    (site / f"{module}.py").write_text(code)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n")
    (about / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:PART\n")
    (about / "RECORD").write_text(f"{module}.py,,\n")
    return site / f"{module}.py"


def run(site: Path, *arguments: str, expect: int = 0, **environment: str) -> str:
    """What Python writes to stdout with the fake distributions installed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(site), **environment},
    )
    assert done.returncode == expect, done.stderr
    return done.stdout

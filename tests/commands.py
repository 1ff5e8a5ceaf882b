"""How the tests run the command, and the small composition that they run it on."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]

# A composition that imports little and trains in a second: what is tested is the road.
SMALL = ("--seq", "gru", "--hidden", "8", "--image-size", "64", "--weights", "none")
SMALL_TRAINING = (
    *SMALL, "--epochs", "2", "--batch-size", "8", "--lr", "1e-2", "--device", "cpu",
    "--precision", "fp32",  # and not what the processor at hand is quickest in
)  # fmt: skip

Completed = subprocess.CompletedProcess[str]


def call(arguments: Sequence[object]) -> int:
    """Run the command in this process: its exit code."""
    from wbczoo.cli import main

    return main([str(argument) for argument in arguments])


def run_here(arguments: Sequence[object], cwd: Path | None = None) -> Completed:
    """Run the command in this process: its exit code and what it printed."""
    words = [str(argument) for argument in arguments]
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    surroundings, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
    try:
        with (
            contextlib.chdir(cwd or Path.cwd()),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = call(words)
    finally:
        os.environ.clear()
        os.environ.update(surroundings)
        signal.signal(signal.SIGTERM, handler)
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(["wbczoo", *words], code, *texts)


def expected(done: Completed, code: int) -> Completed:
    """What a command did, if it ended with this exit code and without a traceback."""
    assert done.returncode == code, f"{done.args}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first of the tests' processes makes and all of them read."""
    base = factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with FileLock(root / f"{name}.lock"):
        if not (root / f"{name}.made").exists():
            make(root / name)
            (root / f"{name}.made").touch()
    return root / name

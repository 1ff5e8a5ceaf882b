"""Processes of their own for tests that kill and stop them, forked from one that knows PyTorch.

To import it takes most of a short training's time; a fork has it at once.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["wbczoo.cli.train", "wbczoo.training.run", "wbczoo_recurrent"])


def start(function: Callable[..., int], *arguments: object, log: Path) -> BaseProcess:
    """A process that runs a function and exits with its code; what it prints goes to a file."""
    job = (function, arguments, dict(os.environ), str(log))
    process = _CONTEXT.Process(target=_run, args=job)
    process.start()
    return process


def run(function: Callable[..., int], *arguments: object, log: Path) -> tuple[int, str]:
    """Run it to its end: the exit code, that of a signal below 0, and what was printed."""
    process = start(function, *arguments, log=log)
    process.join()
    assert process.exitcode is not None
    return process.exitcode, log.read_text()


def _run(
    function: Callable[..., int], arguments: Sequence[object], environment: dict[str, str], log: str
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    printed = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    sys.exit(function(*arguments))

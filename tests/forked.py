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
_CONTEXT.set_forkserver_preload([
    "wbczoo.cli.train", "wbczoo.training.run", "wbczoo.study.run.run", "wbczoo.study.run.context",
    "wbczoo.study.run.heads", "wbczoo.study.run.networks", "wbczoo_recurrent",
])  # fmt: skip


def start(function: Callable[..., int], *arguments: object, log: Path) -> BaseProcess:
    """A process that runs a function and exits with its code.

    Args:
        log: a file for its stdout; its stderr goes to one beside it, `.err`.
    """
    job = (function, arguments, dict(os.environ), str(log))
    process = _CONTEXT.Process(target=_run, args=job)
    process.start()
    return process


def run(function: Callable[..., int], *arguments: object, log: Path) -> tuple[int, str]:
    """Run it to its end: the exit code, that of a signal below 0, and what went to stderr."""
    process = start(function, *arguments, log=log)
    process.join()
    assert process.exitcode is not None
    return process.exitcode, log.with_suffix(".err").read_text()


def _run(
    function: Callable[..., int], arguments: Sequence[object], environment: dict[str, str], log: str
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path in ((1, Path(log)), (2, Path(log).with_suffix(".err"))):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    sys.exit(function(*arguments))

"""Results alone reach stdout: what plugins and libraries write there meanwhile goes to stderr."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_kept: TextIO | None = None


def stream() -> TextIO:
    """Where a command's results go."""
    return _kept or sys.stdout


def echo(text: object = "") -> None:
    """Print a result."""
    click.echo(text, file=stream())


def alone_on_stdout(callback: F) -> F:
    """A command's function, during which nothing but `echo` and `stream` reaches stdout."""

    @functools.wraps(callback)
    def call(*args: Any, **kwargs: Any) -> Any:
        with _kept_for_results():
            return callback(*args, **kwargs)

    return call  # type: ignore[return-value]


@contextlib.contextmanager
def _kept_for_results() -> Iterator[None]:
    global _kept
    if _kept is not None:  # a command within a command
        yield
        return
    before = sys.stdout
    with contextlib.ExitStack() as undone:
        _kept = undone.enter_context(_without_descriptor(before))
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        finally:
            _kept = None


@contextlib.contextmanager
def _without_descriptor(stdout: TextIO) -> Iterator[TextIO]:
    """A stream to where descriptor 1 leads, which leads to stderr meanwhile; or stdout itself."""
    try:
        descriptor = stdout.fileno()
    except (OSError, ValueError):  # it has none
        descriptor = -1
    if descriptor != 1:
        yield stdout
        return
    stdout.flush()
    kept = os.dup(1)
    try:
        with contextlib.suppress(OSError):  # stderr may be closed
            os.dup2(2, 1)
        with open(kept, "w", encoding=stdout.encoding, errors=stdout.errors, closefd=False) as own:
            yield own
    finally:
        os.dup2(kept, 1)
        os.close(kept)

"""Progress and remarks reach the user here, on stderr, so that stdout holds results alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from tqdm import tqdm

Tell = Callable[[str], object]


def tell(sentence: str) -> None:
    """Say something to the user on stderr, above any progress bar; one voice of many devices."""
    if int(os.environ.get("RANK", "0")) == 0:
        with tqdm.external_write_mode(file=sys.stderr):
            click.echo(sentence, err=True)


@contextmanager
def bar(
    total: int | None, label: str, done: int = 0, unit: str = "step"
) -> Iterator[Callable[[int], object]]:
    """A progress bar with the time left, if the total is known; yields what advances it.

    Where stderr is no terminal a line appears every ten seconds at most.
    """
    quiet = int(os.environ.get("RANK", "0")) > 0
    seconds = 0.2 if sys.stderr.isatty() else 10.0
    with tqdm(
        total=total,
        desc=label,
        initial=done,
        unit=unit,
        file=sys.stderr,
        mininterval=seconds,
        leave=False,
        disable=quiet,
        dynamic_ncols=True,
    ) as shown:
        yield shown.update

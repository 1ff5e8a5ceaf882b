"""Progress and remarks reach the user here, on stderr, so that stdout holds results alone."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import click

from wbczoo.text import format_duration, printable

Tell = Callable[[str], object]

_EVERY = 30.0  # seconds


def tell(sentence: str) -> None:
    """Say something to the user on stderr, above any progress bar; one voice of many devices.

    What a file says of itself may be quoted, with signs that a terminal would obey.
    """
    if int(os.environ.get("RANK", "0")) == 0:
        bars = sys.modules.get("tqdm")  # where nobody imported it, no bar is shown
        with bars.tqdm.external_write_mode(file=sys.stderr) if bars else nullcontext():
            click.echo("\n".join(map(printable, sentence.split("\n"))), err=True)


@contextmanager
def bar(
    total: int | None, label: str, done: int = 0, unit: str = "step"
) -> Iterator[Callable[[int], object]]:
    """A progress bar with the time left, if the total is known; yields what advances it.

    Where stderr is no terminal there is no bar, for it would be one endless line: a sentence says
    from time to time how far it is.
    """
    if not sys.stderr.isatty() or int(os.environ.get("RANK", "0")) > 0:
        yield _Sentences(total, label, done, unit).advance
        return
    from tqdm import tqdm

    with tqdm(
        total=total,
        desc=label,
        initial=done,
        unit=unit,
        file=sys.stderr,
        leave=False,
        dynamic_ncols=True,
    ) as shown:
        yield shown.update


class _Sentences:
    """Says how far something is, after every `_EVERY` seconds."""

    def __init__(self, total: int | None, label: str, done: int, unit: str) -> None:
        self.total, self.label, self.first, self.done, self.unit = total, label, done, done, unit
        self.begun = self.said = time.monotonic()

    def advance(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if now - self.said < _EVERY:
            return
        self.said = now
        whole, left = "", ""
        if self.total is not None and self.done > self.first:
            each = (now - self.begun) / (self.done - self.first)
            whole = f" of {self.total}"
            left = f", {format_duration(each * (self.total - self.done))} left"
        tell(f"{self.label}: {self.done}{whole} {self.unit}s{left}")

"""The paths that a stream lists, as `find` prints them, arrive here one after another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Protocol

from wbczoo.errors import UsageError

_LONGEST = 1 << 20  # bytes; no system has a longer path


class Listing(Protocol):
    """What gives bytes as they arrive, such as `sys.stdin.buffer`."""

    def read1(self, size: int, /) -> bytes: ...


def read_list(stream: Listing, *, null: bool = False) -> Iterator[str]:
    """The paths that a stream lists, each as soon as its line has arrived; empty ones are left out.

    Args:
        null: paths end with a NUL, as `find -print0` ends them, and not with a line's end.

    Raises:
        UsageError: if what arrives is no list.
    """
    end = b"\0" if null else b"\n"
    rest = b""
    start = True
    while piece := stream.read1(1 << 16):
        *whole, rest = (rest + piece).split(end)
        for line in whole:
            yield from _listed(line, null=null, start=start)
            start = False
        if len(rest) > _LONGEST:
            raise UsageError(
                "The list on stdin is no list of paths, one to a line; "
                "--null reads paths that end with a NUL."
            )
    yield from _listed(rest, null=null, start=start)


def _listed(line: bytes, *, null: bool, start: bool) -> Iterator[str]:
    if not null:
        if start:
            line = line.removeprefix(b"\xef\xbb\xbf")  # as Windows begins a text file
        line = line.removesuffix(b"\r")
    if line:
        yield os.fsdecode(line)

"""A call that ends itself by SIGKILL: `killed_prediction.py PLACE COUNT predict|locate ...`.

PLACE is where it happens for the COUNTth time: with a `half-row` written, `before-rename` or
`after-rename` of a file; the row's other half and what comes after are lost. At `no-rename` it
only waits for somebody who kills it, however fast it came there.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any, TextIO


def main(place: str, count: int, arguments: list[str]) -> int:
    """Run the command with one trap laid."""
    from wbczoo.cli import main as wbczoo

    met = 0

    def meet() -> bool:
        nonlocal met
        met += 1
        return met == count

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    replace = Path.replace

    def trapped_replace(self: Path, target: Path) -> Path:
        due = meet()
        if due and place == "before-rename":
            die()
        while due and place == "no-rename":
            signal.pause()
        done = replace(self, target)
        if due:
            die()
        return done

    class Halving:
        """A stream whose COUNTth row, or table's head, is written by half."""

        def __init__(self, stream: TextIO) -> None:
            self._stream = stream

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

        def __enter__(self) -> Halving:
            return self

        def __exit__(self, *_: object) -> None:
            self._stream.close()

        def write(self, text: str) -> None:
            if meet():
                self._stream.write(text[: len(text) // 2])
                self._stream.flush()
                die()
            self._stream.write(text)

    whole = Path.open

    def halved(self: Path, mode: str = "r", *given: Any, **more: Any) -> Any:
        stream: Any = whole(self, mode, *given, **more)
        return Halving(stream) if mode == "a" else stream

    if place == "half-row":
        Path.open = halved  # type: ignore[method-assign, assignment]
    else:
        Path.replace = trapped_replace  # type: ignore[method-assign]
    return wbczoo(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))

"""A training that ends itself at a chosen place.

A place is where it happens for the n-th time: after a `step`, with a file `half-written`,
`before-rename` or `after-rename`, all by SIGKILL; or `interrupt`, by SIGINT after a step.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any


def main(place: str, count: int, arguments: list[str]) -> int:
    """Run the command with one trap laid, which is met for the `count`-th time."""
    from wbczoo.cli import main as wbczoo
    from wbczoo.training import checkpoint, train

    met = 0

    def meet(number: signal.Signals = signal.SIGKILL) -> None:
        nonlocal met
        met += 1
        if met == count:
            os.kill(os.getpid(), number)

    step, replace, fsync, save = train.train_step, Path.replace, os.fsync, checkpoint.save_file

    def trapped_step(*args: Any, **kwargs: Any) -> None:
        step(*args, **kwargs)
        meet(signal.SIGINT if place == "interrupt" else signal.SIGKILL)

    def trapped_fsync(descriptor: int) -> None:
        meet()
        fsync(descriptor)

    def trapped_replace(self: Path, target: Path) -> Path:
        done = replace(self, target)
        meet()
        return done

    def trapped_save(tensors: Any, path: Path, metadata: Any) -> None:
        save(tensors, path, metadata)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        meet()
        path.write_bytes(whole)

    if place in ("step", "interrupt"):
        train.train_step = trapped_step
    elif place == "before-rename":
        os.fsync = trapped_fsync
    elif place == "after-rename":
        Path.replace = trapped_replace  # type: ignore[method-assign]
    else:
        checkpoint.save_file = trapped_save
    return wbczoo(arguments)

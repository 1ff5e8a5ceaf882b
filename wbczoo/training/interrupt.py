"""Ctrl-C and SIGTERM become a question that a training answers between two steps."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from wbczoo.progress import Tell


@contextmanager
def stop_on_signal(tell: Tell) -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether to stop; a second signal stops at once.

    Raises:
        KeyboardInterrupt: at the second signal.
    """
    asked = False

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        tell("stopping after this step; the state will be saved")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

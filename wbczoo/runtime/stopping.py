"""Runs of a network end here when their time is up, or when the user stops the process.

onnxruntime computes outside Python, where neither a signal's handler nor an exception reaches it:
a graph with an endless loop would hold its thread for good, and Ctrl-C would wait for it. It looks
at a flag of its own between two nodes, which one thread of this module raises.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

from wbczoo.runtime import devices

TIME_LIMIT = 600.0  # seconds that a batch may take, if nobody says otherwise

_NEVER = float("inf")
_WAKE = b"\0"  # no signal has this number


class _Watch(threading.Thread):
    """Raises the flags of runs whose time is up, and of all when a signal comes."""

    def __init__(self) -> None:
        super().__init__(name="wbczoo-watch", daemon=True)
        self.waking, self._woken = socket.socketpair()
        self.waking.setblocking(False)
        self.stopped = False
        self._ends: dict[Any, float] = {}
        self._looks_at = _NEVER  # when it next looks by itself
        self._lock = threading.Lock()

    def run(self) -> None:
        while True:
            now = monotonic()
            with self._lock:
                for options in [each for each, end in self._ends.items() if end <= now]:
                    options.terminate = True
                    del self._ends[options]
                self._looks_at = min(self._ends.values(), default=_NEVER)
            wait = None if self._looks_at == _NEVER else max(0.001, self._looks_at - now)
            self._woken.settimeout(wait)
            with suppress(TimeoutError):
                if self._woken.recv(4096).strip(_WAKE):
                    self._stop()

    def _stop(self) -> None:
        self.stopped = True  # before the flags: whoever begins meanwhile sees this
        with self._lock:
            for options in self._ends:
                options.terminate = True

    def begin(self, options: Any, end: float) -> None:
        """Watch a run from now on."""
        with self._lock:
            self._ends[options] = end
            # After a run the thread still looks when that would have ended, which is sooner.
            sleeps = end < self._looks_at
        if sleeps:
            with suppress(BlockingIOError):  # full of what wakes it already
                self.waking.send(_WAKE)
        if self.stopped:
            options.terminate = True

    def end(self, options: Any) -> None:
        """The run is over."""
        with self._lock:
            self._ends.pop(options, None)


_watch: _Watch | None = None
_starting = threading.Lock()


def _started() -> _Watch:
    global _watch
    with _starting:
        if _watch is None or not _watch.is_alive():  # a forked process has no threads but its own
            _watch = _Watch()
            _watch.start()
        return _watch


@contextmanager
def limited(seconds: float) -> Iterator[Any]:
    """onnxruntime's RunOptions for one run, which then takes no longer than so many seconds.

    A node at work is not interrupted; the run ends behind it.

    Raises:
        TimeoutError: in place of what the run raises where it was ended.
    """
    watch = _started()
    options = devices.import_onnxruntime().RunOptions()
    options.log_severity_level = 4  # what goes wrong is raised as well
    watch.begin(options, monotonic() + seconds)
    try:
        yield options
    except Exception:
        if not options.terminate:
            raise
        why = "it was stopped" if watch.stopped else f"it took longer than {seconds:g} s"
        raise TimeoutError(why) from None
    finally:
        watch.end(options)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let a signal that Python handles, as Ctrl-C, end every run of the process meanwhile.

    Only the main thread can hear of signals; in another one this changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    watch = _started()
    before = signal.set_wakeup_fd(watch.waking.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        watch.stopped = False

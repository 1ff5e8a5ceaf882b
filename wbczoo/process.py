"""Work that may hang, exit, crash or print is done here, job by job, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import IO, Any, Self

_SERVE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from wbczoo.process import serve; serve(sys.argv[2])"
)
_PATIENCE = 5.0  # seconds that a process has to end by itself


class JobError(Exception):
    """A job that brought no answer; the message ends a sentence that begins with the job.

    Attributes:
        late: whether its time was over; else it ended its process.
    """

    def __init__(self, message: str, *, late: bool) -> None:
        super().__init__(message)
        self.late = late


class JobProcess:
    """A process that answers jobs one after the other, and is replaced when a job kills it.

    What the jobs print goes to this process's stderr, or nowhere; their stdin is empty.

    Args:
        function: `module:function`; it takes a job and returns its answer, both JSON values.
        limit: seconds that a job may take.
        quiet: lose what the jobs write to stderr and stdout.
    """

    def __init__(self, function: str, limit: float, *, quiet: bool = False) -> None:
        self.function = function
        self.limit = limit
        self.quiet = quiet
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def ask(self, job: Any) -> Any:
        """The answer to a job.

        Raises:
            JobError: if the job took longer than the limit, or ended its process.
        """
        process = self._process = self._process or self._start()
        line = self._wait(process, json.dumps(job))
        if line is not None:
            with contextlib.suppress(ValueError):
                return json.loads(line)
        if line is None:
            _kill(process)
        self.close()
        if line is None:
            raise JobError(f"did not end within {self.limit:g} seconds", late=True)
        code = process.returncode
        how = f"killed it with {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        raise JobError(f"ended the process that it ran in ({how})", late=False)

    def close(self) -> None:
        """End the process, whatever it is doing."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)
        _kill(process)
        process.wait()
        assert process.stdout is not None
        if self._reader is not None:
            self._reader.join(0.5)
        if self._reader is None or not self._reader.is_alive():
            process.stdout.close()  # else somebody unknown holds it, and closing would wait

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and self._process is not None:
            _kill(self._process)
        self.close()

    def _wait(self, process: subprocess.Popen[str], job: str) -> str | None:
        """The answer's line; "" if the process ended without one, None if the time is over."""
        answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(
            target=lambda: answers.put(_exchange(process, job)), daemon=True
        )
        self._reader.start()
        deadline = time.monotonic() + self.limit
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                return answers.get(timeout=min(left, 0.2))
            # What a job started may outlive it, and hold its end of the pipe open.
            if process.poll() is not None:
                with contextlib.suppress(queue.Empty):
                    return answers.get(timeout=0.5)
                return ""
        return None

    def _start(self) -> subprocess.Popen[str]:
        path = json.dumps([str(place) for place in sys.path])
        return subprocess.Popen(
            # -P: a json.py in the working folder is not ours to import.
            [sys.executable, "-P", "-c", _SERVE, path, self.function],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if self.quiet else None,
            encoding="utf-8",
            # A group of its own, so that what the jobs started can be killed with them.
            start_new_session=True,
        )


def serve(function: str) -> None:
    """Answer the jobs on stdin, a line of JSON each, until there are no more."""
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    jobs = _private(0, "r")
    answers = _private(1, "w")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    module, _, name = function.partition(":")
    __import__(module)
    answer = getattr(sys.modules[module], name)
    for job in jobs:
        with contextlib.suppress(OSError):  # nobody listens any more
            # In one piece: a process that dies between two writes has said nothing.
            answers.write(json.dumps(answer(json.loads(job))) + "\n")
            answers.flush()
    # Neither the threads nor the exit handlers of what was loaded hold this process up.
    os._exit(0)


def _leave_with(parent: int) -> None:
    """End this process soon after its parent, which may have been killed in the middle of a job."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _private(descriptor: int, mode: str) -> IO[str]:
    """A standard stream under a number that what is loaded does not know."""
    return os.fdopen(os.dup(descriptor), mode, encoding="utf-8")


def _exchange(process: subprocess.Popen[str], job: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(OSError):
        process.stdin.write(job + "\n")
        process.stdin.flush()
        return process.stdout.readline()
    return ""


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()

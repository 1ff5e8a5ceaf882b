"""A process that answers jobs survives what they do, and does not outlive whoever asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wbczoo.process import JobError, JobProcess

MODULE = """
import os, sys, time

def answer(job):
    what, value = job
    if what == "echo": return {"value": value, "pid": os.getpid()}
    if what == "print": print(value); os.write(1, b"raw"); sys.stdin.read(); return value
    if what == "exit": os._exit(value)
    if what == "sleep": time.sleep(value)
    if what == "raise": raise ValueError(value)
    if what == "touch": open(value, "w").write(str(os.getpid())); time.sleep(60)
"""


@pytest.fixture
def function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "jobs_apart.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return "jobs_apart:answer"


def test_one_process_answers_many_jobs(function: str) -> None:
    with JobProcess(function, 60) as jobs:
        first, second = jobs.ask(["echo", "é\n"]), jobs.ask(["echo", [1, None]])
        assert (first["value"], second["value"]) == ("é\n", [1, None])
        assert first["pid"] == second["pid"] != os.getpid()


def test_what_a_job_prints_is_no_answer(function: str) -> None:
    with JobProcess(function, 60, quiet=True) as jobs:
        assert jobs.ask(["print", '"forged"']) == '"forged"'
        assert jobs.ask(["echo", 1])["value"] == 1


@pytest.mark.parametrize(
    ("job", "limit", "told"),
    [
        (["exit", 3], 60.0, r"ended the process that it ran in \(exit code 3\)"),
        (["raise", "no"], 60.0, r"ended the process that it ran in \(exit code 1\)"),
        (["sleep", 60], 1.0, r"did not end within 1 seconds"),
    ],
)
def test_a_job_that_ends_its_process_is_told_and_the_next_is_answered(
    job: list[object], limit: float, told: str, function: str
) -> None:
    with JobProcess(function, limit, quiet=True) as jobs:
        with pytest.raises(JobError, match=told):
            jobs.ask(job)
        jobs.limit = 60
        assert jobs.ask(["echo", 2])["value"] == 2


@pytest.mark.skipif(os.name == "nt", reason="a process group of POSIX")
def test_a_process_does_not_outlive_a_parent_that_was_killed(function: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from wbczoo.process import JobProcess\n"
        f"JobProcess({function!r}, 60).ask(['touch', {str(mark)!r}])"
    )
    parent = subprocess.Popen([sys.executable, "-c", script])
    while not mark.is_file() or not mark.read_text():
        assert parent.poll() is None
        time.sleep(0.05)
    child = int(mark.read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(200):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        stat = Path(f"/proc/{child}/stat")
        if stat.is_file() and stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return  # it has ended, and nobody has asked how
        time.sleep(0.1)
    pytest.fail("the process goes on without its parent")

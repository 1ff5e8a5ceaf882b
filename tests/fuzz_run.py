"""`wbczoo predict` is asked about many files here, one process for all, and its rows are judged."""

from __future__ import annotations

import json
import os
import re
import selectors
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fuzz_images import Case, whole_images


@dataclass
class Result:
    """What became of the files; `faults` are sentences, and there should be none."""

    images: int
    faults: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    worst_gap: float = 0.0
    slowest: str = ""
    peak_mb: float = 0.0


def run(
    drawn: Iterable[Case], model: Path, folder: Path, *, limit: float, one_by_one: bool = True
) -> Result:
    """Ask `wbczoo predict` about all of them in one process, and look at what it writes.

    Rows come in order. One by one, with one decoding thread and batches of one image, the time
    between two rows is about the time that the later image takes: that is what `limit` (seconds)
    bounds, and where no row comes for so long, the process is killed.

    Args:
        folder: where the files are written.
    """
    more = ["--batch-size", "1", "--workers", "1"] if one_by_one else []
    whole = whole_images()
    for number, (suffix, content) in enumerate(whole):
        (folder / f"whole{number}{suffix}").write_bytes(content)
    names = [f"whole{number}{suffix}" for number, (suffix, _) in enumerate(whole)]
    usual = _ask(names, model, folder, more, limit, Result(0))
    asked = []
    for case in drawn:
        (folder / case.name).write_bytes(case.content)
        asked.append(replace(case, content=b""))
    result = Result(len(asked))
    lines = _ask([case.name for case in asked], model, folder, more, limit, result)
    for case, line in zip(asked, lines, strict=False):
        _judge(case, line, usual, result)
    if len(lines) != len(asked):
        result.faults.append(f"{len(lines)} rows came for {len(asked)} images.")
    return result


def _judge(case: Case, line: bytes, usual: Sequence[bytes], result: Result) -> None:
    row = json.loads(line)
    if row["path"] != case.name:
        result.faults.append(f"{case.name} was due when the row of {row['path']} came.")
    (result.refused if "error" in row else result.answered)[case.kind] += 1
    if case.twin is not None and _answer(line) != _answer(usual[case.twin]):
        result.faults.append(f"{case.name} is whole and was answered {line!r}.")
    reason = row.get("error", "A sentence.")
    if not (reason[:1].isupper() and reason.endswith(".") and reason.isprintable()):
        result.faults.append(f"{case.name} was refused without a sentence: {reason!r}.")


def _answer(line: bytes) -> bytes:
    """A row's text behind the path."""
    return line.partition(b'", "')[2]


def _ask(
    names: Sequence[str], model: Path, folder: Path, more: list[str], limit: float, result: Result
) -> list[bytes]:
    """The lines that come; what else there is to know is written into `result`."""
    command = [sys.executable, "-m", "wbczoo", "predict", "-", "--null", "--model", str(model)]
    listed = folder / "list.bin"
    listed.write_bytes(b"".join(os.fsencode(name) + b"\0" for name in names))
    lines: list[bytes] = []
    rest = b""
    with (
        listed.open("rb") as stdin,
        (folder / "stderr.txt").open("w+b") as stderr,
        selectors.DefaultSelector() as ready,
    ):
        begun = last = time.monotonic()
        process = subprocess.Popen(
            [*command, "--device", "cpu", *more],
            cwd=folder, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, bufsize=0,
        )  # fmt: skip
        assert process.stdout is not None
        ready.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not ready.select(limit):
                process.kill()
                result.faults.append(f"No row came for {limit} s; {names[len(lines)]} was due.")
                break
            piece = process.stdout.read(1 << 16)
            if not piece:
                break
            result.peak_mb = max(result.peak_mb, _peak_mb(process.pid))
            now = time.monotonic()
            if lines and now - last > result.worst_gap:  # before the first it starts
                result.worst_gap, result.slowest = now - last, names[len(lines)]
            last = now
            *found, rest = (rest + piece).split(b"\n")
            lines += found
        process.stdout.close()
        process.wait()
        result.seconds = time.monotonic() - begun
        stderr.seek(0)
        said = stderr.read().decode(errors="replace").splitlines()
    if process.returncode not in (0, 3):
        result.faults.append(f"It ended with {process.returncode}.")
    if [line for line in said if not line.endswith(" refused")]:
        result.faults.append(f"It said on stderr: {said[:5]}.")
    return lines


def _peak_mb(process: int) -> float:
    """The most memory that a process ever held, MB; 0 where the system does not tell.

    Not the figure of `wait4`: it counts what the parent held when the process began.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 / 1e6 if found else 0.0

"""What is decided in a review is appended here, line by line, each bound to the one before it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wbczoo import files
from wbczoo.errors import WbczooError

Entry = dict[str, Any]

LOG = "review.jsonl"
HEAD = "review.head"

_FIRST = "0" * 64  # what the first line follows


@dataclass(frozen=True)
class Fault:
    """What is wrong with a log.

    Attributes:
        line: counted from 1; 0 where no line can be named.
        reason: a sentence about it.
    """

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}" if self.line else self.reason


class Log:
    """The log of a folder, to be appended to by one process; the caller locks.

    A line is one JSON object with its number `n` and, in `before`, the SHA-256 of the line before
    it. `review.head` beside the log has number and SHA-256 of the last line, and while lines are
    written those of the last one to come: what is cut off or added at the end is missed by it.

    Attributes:
        entries: all lines, the first one at place 0.
        head: SHA-256 of the last line.

    Raises:
        WbczooError: if anything in the log is not as it was written.
    """

    def __init__(self, folder: Path) -> None:
        self.path, self._head = folder / LOG, folder / HEAD
        if faults := check(folder):
            raise WbczooError(
                f"{self.path} is not as it was written: {faults[0]} Nothing was changed; "
                f"wbczoo review --check {folder} lists all faults. Put back a copy, or begin "
                "another review in a new folder."
            )
        lines, rest = _read(self.path)
        marks = _read_marks(self._head)
        kept = len(lines)
        if marks and marks.coming and kept < marks.coming[0]:
            kept = marks.written[0]  # a part of what was to be written together
        self.entries: list[Entry] = [json.loads(line) for line in lines[:kept]]
        self.head = _hash(lines[kept - 1]) if kept else _FIRST
        if rest or kept < len(lines):  # which nobody was told was kept
            os.truncate(self.path, sum(map(len, lines[:kept])))

    def append(self, entries: Sequence[Mapping[str, Any]]) -> list[Entry]:
        """Write entries as the next lines; when this returns they are on the disk.

        Returns:
            the entries with their `n` and `before`.

        Raises:
            WbczooError: if they cannot be written; none of them is then kept.
        """
        written: list[Entry] = []
        text, before, count = b"", self.head, len(self.entries)
        for number, entry in enumerate(entries, count + 1):
            written.append({"n": number, **entry, "before": before})
            line = _encode(written[-1])
            text, before = text + line, _hash(line)
        end = self.path.stat().st_size if count else 0
        coming = (count + len(written), before)
        try:
            self._mark((count, self.head), coming)
            with self.path.open("ab") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            self._mark(coming)
        except OSError as error:
            with suppress(OSError):
                os.truncate(self.path, end)
                self._mark((count, self.head))
            raise WbczooError(
                f"{self.path} cannot be written: {error.strerror or error}. What was decided "
                "before is kept; make room and decide again."
            ) from None
        self.entries += written
        self.head = before
        return written

    def _mark(self, written: tuple[int, str], coming: tuple[int, str] | None = None) -> None:
        document: dict[str, Any] = {"lines": written[0], "sha256": written[1]}
        if coming:
            document["coming"] = {"lines": coming[0], "sha256": coming[1]}
        files.write_json(self._head, document)


def check(folder: Path) -> list[Fault]:
    """Every line of a folder's log that was changed, moved, added or taken away, by its number.

    What a kill leaves, half a line or a part of what was to be written together, is no fault:
    nobody was told that it was kept. Who writes the log and its head anew from the first changed
    line on is found out only by a copy of the head's SHA-256 that is kept elsewhere.
    """
    return [*_faults(folder)]


def head_of(folder: Path) -> tuple[int, str]:
    """How many lines a folder's log has, and the SHA-256 of the last one."""
    lines, _ = _read(folder / LOG)
    return len(lines), _hash(lines[-1]) if lines else _FIRST


def _faults(folder: Path) -> Iterator[Fault]:
    lines, _ = _read(folder / LOG)
    before = _FIRST
    for number, line in enumerate(lines, 1):
        entry = _decode(line)
        if entry is None:
            yield Fault(number, "no review writes such a line; it was changed or added.")
        elif entry["n"] != number:
            yield Fault(number, f"here stands line {entry['n']}; lines were moved or taken away.")
        elif entry["before"] != before:
            yield Fault(max(number - 1, 1), "it was changed after the next one was written.")
        before = _hash(line)
    yield from _faults_at_the_end(folder / HEAD, [_hash(line) for line in lines])


def _faults_at_the_end(head: Path, hashes: Sequence[str]) -> Iterator[Fault]:
    if not head.exists():
        if hashes:
            yield Fault(0, f"{head.name} is not there, which tells how many lines there were.")
        return
    marks = _read_marks(head)
    if marks is None:
        yield Fault(0, f"{head.name} was changed, which tells how many lines there were.")
        return
    least, most = marks.written, marks.coming or marks.written
    if len(hashes) < least[0]:
        yield Fault(len(hashes) + 1, f"it is missing; there were {least[0]} lines.")
    elif len(hashes) > most[0]:
        yield Fault(most[0] + 1, f"it was added; there were {most[0]} lines.")
    else:
        for count, sha256 in dict.fromkeys((least, most)):
            if 0 < count <= len(hashes) and hashes[count - 1] != sha256:
                yield Fault(count, f"it is another one than {head.name} tells of.")


@dataclass(frozen=True)
class _Marks:
    """Number and SHA-256 of the last line that is kept, and of the last one that is to come."""

    written: tuple[int, str]
    coming: tuple[int, str] | None


def _read_marks(head: Path) -> _Marks | None:
    try:
        said = files.read_json(head)
        coming = said.get("coming")
        return _Marks(_mark_of(said), _mark_of(coming) if coming is not None else None)
    except (WbczooError, KeyError, TypeError, ValueError):
        return None


def _mark_of(said: Mapping[str, Any]) -> tuple[int, str]:
    return int(said["lines"]), str(said["sha256"])


def _read(log: Path) -> tuple[list[bytes], bytes]:
    """The lines with their ends, and what stands behind the last end."""
    *lines, rest = (log.read_bytes() if log.exists() else b"").split(b"\n")
    return [line + b"\n" for line in lines], rest


def _encode(entry: Mapping[str, Any]) -> bytes:
    return (json.dumps(entry, separators=(",", ":"), allow_nan=False) + "\n").encode()


def _decode(line: bytes) -> Entry | None:
    """A line's entry, if this module would write it so."""
    try:
        entry = json.loads(line)
        same = isinstance(entry, dict) and _encode(entry) == line
    except (ValueError, RecursionError):
        return None
    if not same or type(entry.get("n")) is not int or not isinstance(entry.get("before"), str):
        return None
    found: Entry = entry
    return found


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()

"""Each done trial passes through here as one JSON line of a file."""

from __future__ import annotations

import json
import lzma
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from wbczoo import files
from wbczoo.errors import WbczooError
from wbczoo.study.run.row import Row
from wbczoo.text import one_line

RESULTS = "results.jsonl"


def read_results(path: Path) -> dict[str, Row]:
    """The done trials of a file of results, by key; none where there is no file.

    What lies packed beside it as `<path>.xz`, as a study that is published keeps its results,
    counts too. A last line without its end was torn by a process that died, and is left out.

    Raises:
        WbczooError: if another line cannot be read.
    """
    found: dict[str, Row] = {}
    for one in (path.with_name(f"{path.name}.xz"), path):
        try:
            content = one.read_bytes()
            found |= {
                row["key"]: row
                for row in _rows(content if one is path else lzma.decompress(content), one)
            }
        except FileNotFoundError:
            continue
        except (OSError, lzma.LZMAError) as error:
            raise WbczooError(f"{one} cannot be read: {one_line(error)}.") from None
    return found


def done_trials(plan_path: Path, out: Path | None, *, fresh: bool = False) -> dict[str, Row]:
    """The done trials: of the folder, and unless `fresh` of `<name>/results.jsonl` by the plan."""
    rows = {} if fresh else read_results(plan_path.with_suffix("") / RESULTS)
    return rows if out is None else {**rows, **read_results(out / RESULTS)}


def append_results(path: Path, rows: Iterable[Row]) -> int:
    """Add done trials' lines by one write, on the disk before this returns.

    Safe for several processes; a line that a dying one tore is cut off first.

    Returns:
        how many were added; a trial that is there already is passed over.

    Raises:
        WbczooError: if the file has one of these trials already, and a line that cannot be read.
    """
    lines = {
        row["key"]: json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        for row in rows
    }
    if not lines:
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.locked(path.with_name(f".{path.name}.lock")):
        content = path.read_bytes() if path.exists() else b""
        content = content[: _whole_bytes(content)]
        # A file of many megabytes is parsed only if a key's digits stand anywhere in it.
        here = {row["key"] for row in _rows(content, path)} if _names(content, lines) else set()
        new = [line for key, line in lines.items() if key not in here]
        with path.open("ab") as stream:
            stream.truncate(len(content))
            stream.write("".join(f"{line}\n" for line in new).encode())
            stream.flush()
            os.fsync(stream.fileno())
    return len(new)


def _rows(content: bytes, path: Path) -> Iterator[Row]:
    for number, line in enumerate(content[: _whole_bytes(content)].splitlines(), 1):
        try:
            row = json.loads(line)
            known = row["format"] == 1 and isinstance(row["key"], str)
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise WbczooError(
                f"{path}, line {number}: this is no result of a trial that this version reads. "
                "Take the line out, and the trial is run again."
            )
        yield row


def _names(content: bytes, keys: Iterable[str]) -> bool:
    return any(key.encode() in content for key in keys)


def _whole_bytes(content: bytes) -> int:
    return content.rfind(b"\n") + 1

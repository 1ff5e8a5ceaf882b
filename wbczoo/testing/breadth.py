"""Every architecture that a family reaches is composed, trained, exported and compared here."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from wbczoo import machine
from wbczoo.errors import UsageError, WbczooError
from wbczoo.process import JobError, JobProcess
from wbczoo.registry import backbones
from wbczoo.specs import Size
from wbczoo.text import describe_error

BRANCHES = ("none", "gru", "bilstm", "bilstm_features")
SIZE: Size = (224, 224)
TIME_LIMIT = 900.0  # seconds for a composition; the largest take minutes on two cores

_TAKE_PART = (
    "torch",
    "torchvision",
    "timm",
    "onnx",
    "onnxscript",
    "onnxruntime-gpu",
    "onnxruntime",
)

Row = dict[str, Any]


@runtime_checkable
class Enumerable(Protocol):
    """A family that can name the smallest member of each architecture that it has."""

    def smallest_of_each(self, size: Size) -> Iterable[tuple[str, str | None, str]]:
        """Architecture, member's name within the family or None, and why there is none."""
        ...


def smallest_of_each(family: str) -> list[Row]:
    """The smallest member of each architecture of a family, at 224 x 224 pixels.

    Args:
        family: the family's name, such as `timm`.

    Returns:
        rows with `family`, `architecture`, `member` (None where none accepts the size), `reason`.

    Raises:
        UsageError: if there is no such family, or it cannot tell its architectures.
    """
    entry = backbones.find_family(family)
    known: object = entry.family
    if not isinstance(known, Enumerable):
        raise UsageError(
            f"The family {entry.name} has no method `smallest_of_each`, so its architectures are "
            "not known. Check one member: `wbczoo plugin check FAMILY/MEMBER`."
        )
    return [
        {"family": family, "architecture": architecture, "member": member, "reason": reason}
        for architecture, member, reason in known.smallest_of_each(SIZE)
    ]


def run(
    members: Sequence[Row],
    out: Path,
    *,
    branches: Sequence[str] = BRANCHES,
    limit: float = TIME_LIMIT,
) -> Iterator[Row]:
    """Try every member with every branch; each row is kept in `out` as it is done.

    Rows that `out` already holds are not tried again, so that a run that was stopped goes on.

    Args:
        members: rows of `smallest_of_each`.
        out: a file of JSON lines, made if it is not there.
        limit: seconds for one composition; past it, the row says so.

    Yields:
        every row, those of an earlier run too, in the order of members and branches. The status
        is `passed`, `failed`, or `left out` where no member of an architecture has the size.

    Raises:
        WbczooError: if `out` holds something else than rows.
    """
    done = {_key(row): row for row in read_rows(out)}
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a+b") as stream:  # what cannot be written is told before hours of work
        stream.seek(0)
        os.truncate(stream.fileno(), stream.read().rfind(b"\n") + 1)
    with JobProcess("wbczoo.testing.breadth:try_composition", limit) as jobs:
        for blank in _blank_rows(members, branches):
            row = done.get(_key(blank))
            if row is None:
                row = blank if blank["status"] else blank | _ask(jobs, blank)
                _append(out, row)
                done[_key(blank)] = row
            yield row


def read_rows(path: Path) -> list[Row]:
    """The rows of an earlier run, but for a last line that was cut off.

    Raises:
        WbczooError: if a line is no row.
    """
    if not path.exists():
        return []
    rows = []
    whole, _, cut_off = path.read_bytes().rpartition(b"\n")
    if not whole and cut_off and not cut_off.startswith(b'{"family"'):
        whole = cut_off  # no row of ours that was cut off
    for number, line in enumerate(whole.split(b"\n") if whole else [], 1):
        try:
            row = json.loads(line)
            found = _key(row), row["status"], row["reason"]
        except (ValueError, TypeError, KeyError):
            found = None
        if found is None:
            raise WbczooError(
                f"Line {number} of {path} is no row of a check. Name another file, or delete it."
            )
        rows.append(cast(Row, row))
    return rows


def summarise(rows: Sequence[Row]) -> Row:
    """How many compositions were tried, and how many of them passed."""
    found = [row["status"] for row in rows if row["status"] != "left out"]
    return {"tried": len(found), "passed": found.count("passed")}


def try_composition(job: Mapping[str, str]) -> Row:
    """One composition: built, asked, trained a step, exported, and compared with PyTorch.

    Args:
        job: `backbone` and `sequence`, names of parts.

    Returns:
        `status` (passed, failed), the `step` that failed and its `reason`, `parameters`,
        `difference` and `bound` of the logits, `seconds`, and `versions` of what took part.
    """
    from wbczoo.testing import composition

    start = time.perf_counter()
    versions = {name: machine.installed(name) for name in _TAKE_PART}
    row: Row = {"status": "failed", "step": "build", "reason": "", "versions": versions}
    try:
        for step, found in composition.steps(job["backbone"], job["sequence"], SIZE):
            row |= {"step": step, **found}
        row |= {"status": "passed", "step": ""}
    except Exception as error:
        row["reason"] = str(error) if isinstance(error, WbczooError) else describe_error(error)
    return {**row, "seconds": round(time.perf_counter() - start, 1)}


def _blank_rows(members: Sequence[Row], branches: Sequence[str]) -> Iterator[Row]:
    for member in members:
        known = {"family": member["family"], "architecture": member["architecture"]}
        if member["member"] is None:
            reason = member["reason"]
            yield {**known, "backbone": "", "sequence": "", "status": "left out", "reason": reason}
            continue
        backbone = f"{member['family']}/{member['member']}"
        for branch in branches:
            yield {**known, "backbone": backbone, "sequence": branch, "status": ""}


def _key(row: Row) -> tuple[str, str, str, str]:
    return row["family"], row["architecture"], row["backbone"], row["sequence"]


def _ask(jobs: JobProcess, row: Row) -> Row:
    try:
        return dict(jobs.ask({"backbone": row["backbone"], "sequence": row["sequence"]}))
    except JobError as end:
        return {"status": "failed", "step": "", "reason": f"It {end}."}


def _append(path: Path, row: Row) -> None:
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row, allow_nan=False) + "\n")
        stream.flush()
        os.fsync(stream.fileno())

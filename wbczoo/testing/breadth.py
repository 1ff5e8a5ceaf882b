"""Every architecture that a family reaches is composed, trained, exported and compared here."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from wbczoo.apart import Apart, EndedApart
from wbczoo.errors import UsageError, WbczooError
from wbczoo.registry import backbones
from wbczoo.specs import Size
from wbczoo.strangers import told

BRANCHES = ("none", "gru", "bilstm", "bilstm_features")
SIZE: Size = (224, 224)
TIME_LIMIT = 900.0  # seconds for a composition; the largest take minutes on two cores

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
        every row, those of an earlier run too, in the order of members and branches.

    Raises:
        WbczooError: if `out` holds something else than rows.
    """
    done = {(row["backbone"], row["sequence"]): row for row in read_rows(out)}
    out.parent.mkdir(parents=True, exist_ok=True)
    with Apart("wbczoo.testing.breadth:try_composition", limit) as apart:
        for member in members:
            if member["member"] is None:
                continue
            for branch in branches:
                name = f"{member['family']}/{member['member']}"
                row = done.get((name, branch))
                if row is None:
                    row = {
                        "backbone": name,
                        "sequence": branch,
                        "family": member["family"],
                        "architecture": member["architecture"],
                        **_ask(apart, name, branch),
                    }
                    _append(out, row)
                yield row


def read_rows(path: Path) -> list[Row]:
    """The rows of an earlier run; a last line that was cut off is taken out of the file.

    Raises:
        WbczooError: if a line is no row.
    """
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        os.truncate(path, len(whole.encode()))
    rows = []
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            row = json.loads(line)
            found = row["backbone"], row["sequence"], row["status"]
        except (ValueError, TypeError, KeyError):
            found = None
        if found is None:
            raise WbczooError(
                f"Line {number} of {path} is no row of a check. Name another file, or delete it."
            )
        rows.append(cast(Row, row))
    return rows


def summarise(rows: Sequence[Row]) -> Row:
    """How many compositions and architectures were tried, and how many of them passed."""
    passed = [row for row in rows if row["status"] == "passed"]
    return {"tried": len(rows), "passed": len(passed)}


def try_composition(job: Mapping[str, str]) -> Row:
    """One composition: built, asked, trained a step, exported, and compared with PyTorch.

    Args:
        job: `backbone` and `sequence`, names of parts.

    Returns:
        `status` (passed, failed), the `step` that failed and its `reason`, `parameters`,
        `difference` and `bound` of the logits, `seconds`.
    """
    from wbczoo.testing import composition

    start = time.perf_counter()
    row: Row = {"status": "failed", "step": "build", "reason": ""}
    try:
        for step, found in composition.steps(job["backbone"], job["sequence"], SIZE):
            row |= {"step": step, **found}
        row |= {"status": "passed", "step": ""}
    except Exception as error:
        row["reason"] = str(error) if isinstance(error, WbczooError) else told(error)
    return {**row, "seconds": round(time.perf_counter() - start, 1)}


def _ask(apart: Apart, backbone: str, sequence: str) -> Row:
    try:
        return dict(apart.ask({"backbone": backbone, "sequence": sequence}))
    except EndedApart as end:
        return {"status": "failed", "step": "", "reason": f"It {end}.", "seconds": None}


def _append(path: Path, row: Row) -> None:
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row, allow_nan=False) + "\n")
        stream.flush()
        os.fsync(stream.fileno())

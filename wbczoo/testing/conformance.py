"""One part goes through all its checks here, in a process that a check may hang or kill."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wbczoo import registry
from wbczoo.errors import NotInstalled, UsageError, WbczooError
from wbczoo.process import JobError, JobProcess
from wbczoo.specs import DatasetSpec
from wbczoo.text import describe_error, printable

TIME_LIMIT = 300.0  # seconds for a check; an export of a large network takes a minute


@dataclass(frozen=True)
class Result:
    """What came of one check.

    Attributes:
        result: `passed`, `failed`, or `not run`, with the reason of the last two.
    """

    check: str
    result: Literal["passed", "failed", "not run"]
    reason: str = ""
    seconds: float | None = None


def find_kind(name: str, kind: str | None) -> str:
    """In which of `registry.ALL` a part of a name is.

    Args:
        kind: one of them, where a name is in several.

    Raises:
        UsageError: if no kind has such a part, or several have.
    """
    if kind is not None:
        return kind
    bare = name.rpartition(":")[2]
    family, slash, _ = bare.partition("/")
    wanted = f"{family}/*" if slash else bare
    found = [
        kind
        for kind, parts in registry.ALL.items()
        if any(entry.name == wanted for entry in parts.entries())
    ]
    if len(found) > 1:
        raise UsageError(f"{name!r} is the name of parts among {' and '.join(found)}; say --kind.")
    if not found:
        family = f" It is a family: check one member, {name}/NAME." if _is_family(name) else ""
        raise UsageError(
            f"No part is called {name!r}.{family} `wbczoo plugin list` shows all; a plugin is seen "
            "once it is installed (again, where its entry point is new)."
        )
    return found[0]


def _is_family(name: str) -> bool:
    rows = [entry for parts in registry.ALL.values() for entry in parts.entries()]
    return f"{name}/*" in {entry.name for entry in rows}


def run(
    kind: str, name: str, *, data: Path | None = None, limit: float = TIME_LIMIT
) -> Iterator[Result]:
    """Run every check of a part; each result is yielded as it is known.

    Args:
        kind: a key of `registry.ALL`.
        name: as `--backbone` and its like take it.
        data: the root of a data set.
        limit: seconds that a check may take.

    Raises:
        UsageError: if there is no such part.
        WbczooError: if something that it needs is not installed.
    """
    if refused := _refused(kind, name):
        yield refused
        return
    about = {"kind": kind, "name": name, "data": str(data.resolve()) if data else None}
    with JobProcess("wbczoo.testing.conformance:answer", limit) as jobs:
        try:
            checks = jobs.ask({**about, "check": None})
        except JobError as end:
            yield Result("check_loads_quietly", "failed", f"Loading it {end}.")
            return
        if isinstance(checks, str):
            raise UsageError(checks)
        if isinstance(checks, dict):
            raise WbczooError(checks["not installed"])
        for check in checks:
            try:
                yield Result(**jobs.ask({**about, "check": check}))
            except JobError as end:
                yield Result(check, "failed", f"It {end}.", None)


def answer(job: Mapping[str, Any]) -> Any:
    """In the other process: the names of a part's checks, the result of one, or a sentence that
    says why there can be none; as `not installed` where something is to be installed first.
    """
    from wbczoo.testing import bound, checks_of

    try:
        spec = registry.ALL[job["kind"]].spec(job["name"])
    except NotInstalled as error:
        return {"not installed": str(error)}
    except UsageError as error:
        return str(error)
    if isinstance(spec, DatasetSpec) and spec.prepare is None and job["data"] is None:
        return f"The data set {spec.name!r} cannot make its data by itself: name them with --data."
    checks = {check.__name__: check for check in checks_of(spec)}
    if job["check"] is None:
        return list(checks)
    return run_check(spec, job["check"], bound(spec, checks[job["check"]], job["data"]))


def run_check(spec: Any, name: str, check: Any) -> dict[str, Any]:
    """The fields of a `Result`: a check that passes returns, one that fails raises."""
    from wbczoo.testing.subject import CheckFailed, NotApplicable

    start = time.perf_counter()
    result: dict[str, Any] = {"check": name, "result": "passed", "reason": ""}
    try:
        check(spec)
    except NotApplicable as error:
        result |= {"result": "not run", "reason": printable(str(error))}
    except (CheckFailed, WbczooError) as error:
        result |= {"result": "failed", "reason": printable(str(error))}
    except Exception as error:
        result |= {"result": "failed", "reason": describe_error(error)}
    return {**result, "seconds": round(time.perf_counter() - start, 2)}


def _refused(kind: str, name: str) -> Result | None:
    """The result of a part that the listing calls broken: nothing more can be asked of it."""
    if name.rpartition(":")[2] == "none":
        raise UsageError("`none` is the absence of a part; there is nothing to check.")
    entry = registry.ALL[kind].peek(name)
    if entry.status == "broken":
        return Result("check_loads_quietly", "failed", entry.reason)
    if entry.status in ("missing", "blocked"):
        kind_of_error = WbczooError if entry.status == "missing" else UsageError
        raise kind_of_error(f"{name!r} cannot be checked: {entry.reason}")
    return None

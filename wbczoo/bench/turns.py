"""Engines that are compared take turns, each in a process of its own, and are asked here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from wbczoo.process import JobError, JobProcess


class Compared(Protocol):
    """One way of answering; an error is why it could not be measured."""

    name: str
    error: str | None


def ask(
    each: Compared, processes: Mapping[str, JobProcess], what: str, **job: Any
) -> dict[str, Any]:
    """What its process answers; nothing once something failed, which is kept in `each.error`.

    Args:
        processes: by the contestant's name.
        what: the job's `do`; `job` is the rest of it.
    """
    if each.error is not None:
        return {}
    try:
        answer: dict[str, Any] = processes[each.name].ask({"do": what, **job})
    except JobError as ended:
        answer = {"error": f"It {ended}."}
    each.error = answer.get("error")
    return {} if each.error else answer

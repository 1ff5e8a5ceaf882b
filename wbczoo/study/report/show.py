"""A plan and its results become rows to read here: what is done, how well, and what is not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wbczoo.study.plan.plan import read_plan
from wbczoo.study.run import estimate
from wbczoo.study.run.results import done_cells, measure_answers
from wbczoo.text import format_duration, format_figure


def describe_cells(
    plan_path: Path, out: Path | None, only: Sequence[str] = (), *, resamples: int = 2000
) -> list[dict[str, Any]]:
    """Each cell of a plan; a done one with its counts, and its figures with their intervals.

    Raises:
        UsageError, WbczooError: as `read_plan`, `StudyPlan.chosen` and `read_results` do.
    """
    done = done_cells(plan_path, out)
    found = []
    for key, cell in read_plan(plan_path).chosen(only).items():
        row = done.get(key)
        shown: dict[str, Any] = {
            "key": key,
            "arena": cell.arena,
            "model": cell.model,
            "settings": cell.model_dump(mode="json"),
            "done": row is not None,
        }
        if row is not None:
            shown["arena"] = f"{'LEAKY ' if row['leaky'] else ''}{cell.arena}"
            shown |= {name: row[name] for name in ("photographs", "files", "groups", "seconds")}
            shown["tasks"] = {
                task: measure_answers(row, task, resamples=resamples) for task in row["tasks"]
            }
        found.append(shown)
    return found


def describe_missing(plan_path: Path, out: Path, only: Sequence[str] = ()) -> dict[str, Any]:
    """Each cell of a plan and the seconds that it will take; for `--dry-run`."""
    done = done_cells(plan_path, out)
    rows = list(done.values())
    cells: list[dict[str, Any]] = [
        {
            "key": key,
            "arena": cell.arena,
            "model": cell.model,
            "settings": cell.model_dump(mode="json"),
            "how": cell.how,
            "done": key in done,
            "seconds": 0 if key in done else round(estimate.seconds_of([cell], rows)),
        }
        for key, cell in read_plan(plan_path).chosen(only).items()
    ]
    seconds = sum(cell["seconds"] for cell in cells)
    return {
        "cells": cells,
        "done": sum(cell["done"] for cell in cells),
        "seconds": seconds,
        "told": format_duration(seconds),
        "basis": "what its done cells took" if rows else "rough figures of a machine of two cores",
    }


def format_published(figure: Mapping[str, float | None]) -> str:
    """`0.5711 [0.45, 0.68]`: four digits, as published accuracies have them."""
    return format_figure(figure, digits=4)

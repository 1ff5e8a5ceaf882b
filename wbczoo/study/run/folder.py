"""A folder of a study's results: its plan, the tables that this names, and what was refused."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Container, Mapping
from pathlib import Path

from wbczoo import files
from wbczoo.errors import UsageError
from wbczoo.study.plan.plan import PLAN, StudyPlan, read_plan
from wbczoo.study.run.results import RESULTS, append_results, done_trials, read_results
from wbczoo.study.run.row import Row

REFUSED = "refused.json"


def claim(out: Path, plan_path: Path, plan: StudyPlan) -> None:
    """See that results may be written to a folder, which need not be there.

    Raises:
        UsageError: if it is a file, or holds another study's plan, which must not be lost.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; --out wants a folder for the study.")
    kept = out / PLAN
    if kept.exists() and not kept.samefile(plan_path):
        with contextlib.suppress(UsageError):
            if read_plan(kept).name == plan.name:
                return
        raise UsageError(f"{kept} is no plan of the study {plan.name}. Give --out another folder.")


def keep_together(
    plan_path: Path, plan: StudyPlan, out: Path, *, fresh: Container[str] | None = None
) -> dict[str, Row]:
    """Copy the plan, its tables, and those of its trials that were done beside it, to the results.

    So the folder is enough for a report, wherever it is taken.

    Args:
        fresh: the trials that are to be run whatever was done beside the plan; nothing of that
            is then copied.

    Returns:
        the done trials, of this plan and of others.

    Raises:
        UsageError: if the folder has, of a fresh trial, the result that lies beside the plan.
    """
    here = read_results(out / RESULTS)
    if fresh is not None:
        kept = done_trials(plan_path, None)
        if copied := [key for key, row in here.items() if key in fresh and row == kept.get(key)]:
            raise UsageError(
                f"{out} has the kept results of {len(copied)} of these trials, which --fresh is "
                "to stand beside. Give --out a new folder."
            )
    if not (out / PLAN).exists() or not plan_path.samefile(out / PLAN):
        files.write_bytes(out / PLAN, plan_path.read_bytes())
    for table in (table for one in plan.data.values() for table in one.tables.values()):
        if not (out / table.name).exists() or not table.samefile(out / table.name):
            files.write_bytes(out / table.name, table.read_bytes())
    done = done_trials(plan_path, out, fresh=fresh is not None)
    beside = [done[key] for key in plan.trials() if key in done and key not in here]
    append_results(out / RESULTS, beside)
    return done


def keep_refused(out: Path, refused: Mapping[str, str], done: Container[str]) -> None:
    """Write down why trials were refused, beside those of earlier calls that are not done yet."""
    with files.locked(out / f".{REFUSED}.lock"):
        whole = {**read_refused(out), **refused}
        left = {key: reason for key, reason in whole.items() if key not in done}
        if left or (out / REFUSED).exists():
            document = {"format": 1, "refused": left}
            files.write_text(out / REFUSED, json.dumps(document, indent=2) + "\n")


def read_refused(out: Path | None) -> dict[str, str]:
    """Trial -> why it was refused when it was last tried; none where nothing is written down."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        if out is not None:
            document = json.loads((out / REFUSED).read_text(encoding="utf-8"))
            return {str(key): str(reason) for key, reason in document["refused"].items()}
    return {}

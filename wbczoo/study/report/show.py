"""A plan and its results become rows to read here: what is done, how well, and what is not run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wbczoo.study.plan.plan import read_plan
from wbczoo.study.plan.trial import NetworkTrial, Trial
from wbczoo.study.report.tally import measure_seeds
from wbczoo.study.report.words import describe_setting, why_missing
from wbczoo.study.run import estimate
from wbczoo.study.run.results import done_trials
from wbczoo.text import format_duration


def describe_trials(
    plan_path: Path, out: Path | None, only: Sequence[str] = (), *, resamples: int = 2000
) -> list[dict[str, Any]]:
    """Each trial of a plan; a done one with its counts, and its figures with their intervals.

    Raises:
        UsageError, WbczooError: as `read_plan`, `StudyPlan.trials` and `read_results` do.
    """
    done, plan = done_trials(plan_path, out), read_plan(plan_path)
    found = []
    for key, trial in plan.trials(only).items():
        row = done.get(key)
        shown = _describe(key, trial, row is not None)
        if row is None:
            shown["missing"] = why_missing(plan, trial.fields)
        else:
            shown["arena"] = f"{'LEAKY ' if row['leaky'] else ''}{trial.arena}"
            shown |= {name: row[name] for name in ("photographs", "files", "groups", "seconds")}
            shown["tasks"] = {
                task: measure_seeds([row], task, resamples=resamples) for task in row["tasks"]
            }
        found.append(shown)
    return found


def describe_missing(plan_path: Path, out: Path, only: Sequence[str] = ()) -> dict[str, Any]:
    """Each trial of a plan and the seconds that it will take; for `--dry-run`."""
    done = done_trials(plan_path, out)
    rows = list(done.values())
    trials = [
        _describe(key, trial, key in done)
        | {
            "how": trial.how,
            "seconds": 0 if key in done else round(estimate.seconds_of([trial], rows)),
        }
        for key, trial in read_plan(plan_path).trials(only).items()
    ]
    seconds = sum(trial["seconds"] for trial in trials)
    return {
        "trials": trials,
        "done": sum(trial["done"] for trial in trials),
        "seconds": seconds,
        "told": format_duration(seconds),
        "basis": "what its done trials took" if rows else "rough figures of a machine of two cores",
    }


def _describe(key: str, trial: Trial, done: bool) -> dict[str, Any]:
    network = isinstance(trial, NetworkTrial)
    setting = [describe_setting(trial), f"{trial.train.epochs} epochs" if network else ""]
    return {
        "key": key,
        "arena": trial.arena,
        "model": trial.model,
        "setting": ", ".join([*filter(None, setting), f"seed {trial.train.seed}"]),
        "settings": trial.fields,
        "done": done,
    }

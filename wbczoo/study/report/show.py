"""A plan and its results become rows to read here: what is done, how well, and what is not run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wbczoo.study.plan.plan import read_plan
from wbczoo.study.plan.trial import NetworkTrial, Trial
from wbczoo.study.report.series import gather
from wbczoo.study.report.tables import published_values
from wbczoo.study.report.tally import measure_seeds
from wbczoo.study.report.words import describe_setting, explain_missing, why_missing
from wbczoo.study.run import estimate
from wbczoo.study.run.folder import read_refused
from wbczoo.study.run.results import done_trials
from wbczoo.study.run.row import Row
from wbczoo.text import format_duration


def describe_trials(
    plan_path: Path, out: Path | None, only: Sequence[str] = (), *, resamples: int = 2000
) -> list[dict[str, Any]]:
    """Each trial of a plan; a done one with its counts, and its figures with their intervals.

    Returns:
        of a done one under `tasks` its figures, under `kept` those of another result of it that
        lies beside the plan, and under `published` the accuracies that it repeats; of another one
        what is `missing`, the `reason`, and the `seconds` that it would take.

    Raises:
        UsageError, WbczooError: as `read_plan`, `StudyPlan.trials` and `read_results` do.
    """
    done, plan = done_trials(plan_path, out), read_plan(plan_path)
    kept, refused = done_trials(plan_path, None), read_refused(out)
    published = published_values(plan, gather(plan, {}))
    rows = list(done.values())

    def measure(row: Row) -> dict[str, Any]:
        return {task: measure_seeds([row], task, resamples=resamples) for task in row["tasks"]}

    found = []
    for key, trial in plan.trials(only).items():
        row = done.get(key)
        shown = _describe(key, trial, row is not None)
        if row is None:
            shown["missing"] = why_missing(plan, trial.fields)
            shown["reason"] = explain_missing(plan, trial, refused)
            shown["seconds"] = round(estimate.seconds_of([trial], rows))
        else:
            shown["arena"] = f"{'LEAKY ' if row['leaky'] else ''}{trial.arena}"
            shown |= {
                name: row[name] for name in ("photographs", "files", "groups", "unit", "seconds")
            }
            shown["tasks"] = measure(row)
            if kept.get(key, row) != row:
                shown["kept"] = measure(kept[key])
            shown["published"] = {
                task: published[key, task] for task in row["tasks"] if (key, task) in published
            }
        found.append(shown)
    return found


def describe_models(plan_path: Path, out: Path, *, resamples: int = 2000) -> list[dict[str, Any]]:
    """Each setting of a plan under each protocol, its figures over all its seeds that are done.

    Returns:
        of each the protocol (`arena`), `model`, `setting`, how it was `trained`, what `test` its
        figures rest on, `tasks` with the figures and their intervals, or why it is `missing`; and
        `label`, the model with what tells it from the others.
    """
    plan = read_plan(plan_path)
    series = gather(plan, done_trials(plan_path, out))
    series.sort(key=lambda one: [*plan.protocols].index(one.protocol))
    refused = read_refused(out)
    several = len({one.setting for one in series if one.network}) > 1
    return [
        {
            "arena": one.arena,
            "model": one.model,
            "setting": one.setting,
            "label": f"{one.model}, {one.setting}" if several and one.setting else one.model,
            "trained": one.trained,
            "seeds": sorted(one.rows),
            "test": one.counts if one.rows else "",
            "tasks": {
                task: measure_seeds([*one.rows.values()], task, resamples=resamples)
                for task in (plan.task_names if one.rows else ())
            },
            **({} if one.rows else {"missing": explain_missing(plan, one.trial, refused)}),
        }
        for one in series
    ]


def describe_missing(
    plan_path: Path,
    out: Path,
    only: Sequence[str] = (),
    chosen: Sequence[str] = (),
    *,
    fresh: bool = False,
) -> dict[str, Any]:
    """Each trial of a plan and the seconds that it will take; for `--dry-run`."""
    done = done_trials(plan_path, out, fresh=fresh)
    rows = list(done.values())
    trials = [
        _describe(key, trial, key in done)
        | {
            "how": trial.how,
            "seconds": 0 if key in done else round(estimate.seconds_of([trial], rows)),
        }
        for key, trial in read_plan(plan_path).choose_trials(only, chosen).items()
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

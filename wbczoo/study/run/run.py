"""A study's missing cells are shared out here among processes, through Optuna, and run.

Optuna's storage is the queue: a job is a trial that waits, a process takes one, and a heartbeat
tells of those that died with their job in hand (docs/decisions/study.md).
"""

from __future__ import annotations

import json
import os
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.trial import TrialState

from wbczoo import files
from wbczoo.errors import UsageError, WbczooError
from wbczoo.progress import Tell
from wbczoo.study.plan.plan import PLAN, Cell, StudyPlan, locate_data, read_plan
from wbczoo.study.run import estimate
from wbczoo.study.run.classical import run_baseline
from wbczoo.study.run.results import RESULTS, Row, append_results, done_cells, read_results
from wbczoo.study.run.roles import Library
from wbczoo.text import format_duration

# A process that shows no sign of life for so many seconds is taken for dead, and its job goes on
# elsewhere.
_HEARTBEAT = 5
_GRACE = 30
_RETRIES = 3
_LOST = (
    "Another process had it, and refused it, was stopped or died. Give the command again, and it "
    "is taken up."
)


@dataclass
class Report:
    """What came of a call: how many cells were done before, done now, and refused why."""

    before: int
    done: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def bundle(cells: Sequence[Cell]) -> list[list[Cell]]:
    """The jobs of cells: heads that share a backbone and a protocol are one, others stand alone.

    Heads come first, for many of them cost as little as one; cells from images come last.
    """
    jobs: dict[str, list[Cell]] = {}
    for cell in cells:
        free = {"seed", "batch_size", "lr"}
        shared = json.dumps(cell.model_dump(mode="json", exclude=free), sort_keys=True)
        jobs.setdefault(shared if cell.how == "cached heads" else cell.key, []).append(cell)
    order = ("cached heads", "baseline", "cached branch", "images")
    return sorted(jobs.values(), key=lambda job: order.index(job[0].how))


def run_study(
    plan_path: Path,
    out: Path,
    data: Mapping[str, Path],
    *,
    storage: str | None = None,
    device: str = "auto",
    only: Sequence[str] = (),
    tell: Tell,
) -> Report:
    """Run every cell that is not done; several processes may do so on one folder.

    Args:
        plan_path: the study's TOML file.
        out: the folder of results; it may hold those of earlier calls.
        data: data set -> folder or zip file, over what the plan says.
        storage: an Optuna storage's address, for machines that share no disk of their own; an
            SQLite file in `out` if None.
        only: names of blocks; all of them if empty.

    Raises:
        UsageError: if the plan cannot be, a block is not there, or `out` is a file.
        WbczooError: if the device is not there, or results cannot be read or written.
        KeyboardInterrupt: after Ctrl-C; what is done is kept.
    """
    from wbczoo.study.run.context import open_context

    plan = read_plan(plan_path)
    cells = plan.chosen(only)
    paths = locate_data(plan, data)
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; --out wants a folder for the study.")
    context = open_context(Library(paths, tell), out, device, tell)
    out.mkdir(parents=True, exist_ok=True)
    with FileLock(out / ".queue.lock"):  # so that two do not make the queue, or enter the same jobs
        queue = _open_queue(plan, storage or f"sqlite:///{(out / 'queue.sqlite').resolve()}")
        done = keep_together(plan_path, plan, out)
        report = Report(before=len(done.keys() & cells.keys()))
        held = {key for trial in _open_trials(queue) for key in _keys(trial)}
        missing = [cell for key, cell in cells.items() if key not in done.keys() | held]
        for job in bundle(missing):
            queue.enqueue_trial({}, user_attrs={"cells": [cell.key for cell in job]})
    tell(f"{report.before} of {len(cells)} cells are done; {len(cells) - report.before} are left")

    def run_trial(trial: optuna.Trial) -> float:
        keys = _keys(trial)
        if not keys:  # another process took the last one between our look and our grasp
            raise optuna.TrialPruned
        done = done_cells(plan_path, out)
        if theirs := [key for key in keys if key not in cells and key not in done]:
            # Of a process that runs other blocks, or another plan of this name: they wait again.
            queue.enqueue_trial({}, user_attrs={"cells": theirs})
        job = [cells[key] for key in keys if key in cells and key not in done]
        for cell, row in run_job(job, context):
            if isinstance(row, str):
                report.refused[cell.key] = row
                tell(f"refused {cell.model}, {cell.arena}: {row}")
                continue
            report.done += append_results(out / RESULTS, [row])
            context.forget(cell)
        if not job:
            return 0.0
        done = done_cells(plan_path, out)
        left = [c for k, c in cells.items() if k not in done.keys() | report.refused.keys()]
        seconds = estimate.seconds_of(left, list(done.values()))
        tell(
            f"{len(cells) - len(left) - len(report.refused)} of {len(cells)} cells done, "
            f"about {format_duration(seconds)} left for one process"
        )
        return float(len(job))

    _work(queue, run_trial, cells, tell)
    done = done_cells(plan_path, out)
    # What was refused here, because another process had it in hand, may be done by that one.
    report.refused = {key: report.refused.get(key, _LOST) for key in cells if key not in done}
    return report


def keep_together(plan_path: Path, plan: StudyPlan, out: Path) -> dict[str, Row]:
    """Copy the plan, and those of its cells that were done beside it, into the folder of results.

    So the folder is enough for a report, wherever it is taken.

    Returns:
        the done cells, of this plan and of others.
    """
    if not (out / PLAN).exists() or not plan_path.samefile(out / PLAN):
        files.write_bytes(out / PLAN, plan_path.read_bytes())
    done = done_cells(plan_path, out)
    here = read_results(out / RESULTS)
    beside = [done[key] for key in plan.cells() if key in done and key not in here]
    append_results(out / RESULTS, beside)
    return done


def run_job(job: Sequence[Cell], context: Any) -> Iterator[tuple[Cell, Row | str]]:
    """Run the cells of one job; each comes with its row, or with why it has none."""
    from wbczoo.study.run.networks import run_branch, run_heads, run_images

    if not job:
        return
    kind, first = job[0].how, job[0]
    left = list(job)
    try:
        if kind == "cached heads":
            for cell, row in run_heads(job, context):
                left.remove(cell)
                yield cell, row
        elif kind == "baseline":
            yield first, run_baseline(first, context.library, context.tell)
        else:
            yield first, (run_branch if kind == "cached branch" else run_images)(first, context)
    except Exception as error:  # a plugin's own failure too: the other cells go on
        reason = str(error) if isinstance(error, WbczooError) else _named(error)
        for cell in left:
            yield cell, reason


def _named(error: Exception) -> str:
    if os.environ.get("WBCZOO_DEBUG"):
        traceback.print_exception(error)
    return f"{type(error).__name__}: {(str(error).splitlines() or ['no reason given'])[0]}"


def _open_queue(plan: StudyPlan, address: str) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        again = optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=_RETRIES)
        try:
            storage = optuna.storages.RDBStorage(
                address,
                heartbeat_interval=_HEARTBEAT,
                grace_period=_GRACE,
                heartbeat_stale_trial_callback=again,
                # Many processes may write one SQLite file, each in its turn.
                engine_kwargs={"connect_args": {"timeout": 60}} if "sqlite" in address else {},
            )
            return optuna.create_study(
                storage=storage, study_name=plan.name, load_if_exists=True,
                sampler=optuna.samplers.RandomSampler(seed=0),
            )  # fmt: skip
        except Exception as error:
            raise WbczooError(
                f"The queue at {address} cannot be opened: {type(error).__name__}: "
                f"{str(error).splitlines()[0]} Give another --storage."
            ) from error


def _work(queue: optuna.Study, run_trial: Any, cells: Mapping[str, Cell], tell: Tell) -> None:
    """Take jobs until none waits and none of another process may come back."""
    said = False
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(queue)
            mine = [t for t in _open_trials(queue) if set(_keys(t)) & cells.keys()]
            if any(trial.state == TrialState.WAITING for trial in mine):
                _take_one(queue, run_trial)
                continue
        if not mine:
            return
        if not said:
            tell(
                f"waiting for {sum(len(_keys(t)) for t in mine)} cells that another process has; "
                f"if it died, they are taken up within {_GRACE + _HEARTBEAT} s"
            )
            said = True
        time.sleep(1)


def _take_one(queue: optuna.Study, run_trial: Any) -> None:
    """Run one waiting job; what this process finished is finished, also where it came late."""
    finished = False

    def run(trial: optuna.Trial) -> float:
        nonlocal finished
        value: float = run_trial(trial)
        finished = True
        return value

    try:
        queue.optimize(run, n_trials=1)
    except (ValueError, AssertionError):
        # A process that slept longer than the grace is taken for dead and its trial failed, so
        # that Optuna takes no value for it. The results are written all the same.
        if not finished:
            raise


def _open_trials(queue: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return queue.get_trials(deepcopy=False, states=(TrialState.WAITING, TrialState.RUNNING))


def _keys(trial: optuna.Trial | optuna.trial.FrozenTrial) -> list[str]:
    """The cells of a trial's job; none of a trial that was not entered as one."""
    return list(trial.user_attrs.get("cells", []))

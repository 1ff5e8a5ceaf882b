"""A study's missing trials are shared out here among processes, through Optuna, and run.

Optuna's storage is the queue: a job of one trial or several waits there, a process takes one, and
a heartbeat tells of those that died with their job in hand (docs/decisions/study.md).
"""

from __future__ import annotations

import os
import time
import traceback
import warnings
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from wbczoo import files
from wbczoo.errors import Held, WbczooError
from wbczoo.progress import Tell
from wbczoo.study.plan.plan import StudyPlan, locate_data, read_plan
from wbczoo.study.plan.trial import BaselineTrial, NetworkTrial, Trial
from wbczoo.study.run import estimate
from wbczoo.study.run.classical import run_baseline
from wbczoo.study.run.folder import claim, keep_refused, keep_together
from wbczoo.study.run.results import RESULTS, append_results, done_trials
from wbczoo.study.run.roles import Library
from wbczoo.study.run.row import Row
from wbczoo.text import describe_error, first_line, format_duration

# A process that shows no sign of life for so many seconds is taken for dead, and its job goes on
# elsewhere.
_HEARTBEAT = 5
_GRACE = 30
_RETRIES = 3
_PAUSE = 1.0  # seconds between two looks at what another process does
_LOST = (
    "Another process had it, and refused it, was stopped or died. Give the command again, and it "
    "is taken up."
)


# A job of the queue, which Optuna calls a trial, is run and says how many trials it held.
RunEntry = Callable[[optuna.Trial], float]


@dataclass
class Report:
    """What came of a call: how many trials were done before, done now, and refused why."""

    before: int
    done: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def bundle(trials: Iterable[Trial], in_order: bool = False) -> list[list[Trial]]:
    """The jobs of trials: heads that share a backbone and a protocol are one, others stand alone.

    Heads come first, for many of them cost as little as one; trials from images come last. Or
    all stand in the order of the plan.
    """
    jobs: dict[str, list[Trial]] = {}
    for trial in trials:
        free = ("seed", "batch_size", "lr")
        shared = str({k: v for k, v in trial.fields.items() if k not in free})
        jobs.setdefault(shared if trial.how == "cached heads" else trial.key, []).append(trial)
    if in_order:
        return list(jobs.values())
    order = ("cached heads", "baseline", "cached branch", "cached trunk", "images")
    return sorted(jobs.values(), key=lambda job: order.index(job[0].how))


def run_study(
    plan_path: Path,
    out: Path,
    data: Mapping[str, Path],
    *,
    storage: str | None = None,
    device: str = "auto",
    only: Sequence[str] = (),
    chosen: Sequence[str] = (),
    fresh: bool = False,
    in_order: bool = False,
    library: Library | None = None,
    tell: Tell,
) -> Report:
    """Run every trial that is not done; several processes may do so on one folder.

    Args:
        plan_path: the study's TOML file.
        out: the folder of results; it may hold those of earlier calls.
        data: data set -> folder or zip file, over what the plan says.
        storage: an Optuna storage's address, for machines that share no disk of their own; an
            SQLite file in `out` if None.
        only: names of blocks; all of them if empty.
        chosen: beginnings of the keys of single trials; all of them if empty.
        fresh: run also what was done beside the plan, so that both results can be compared.
        in_order: trials in the order of the plan (or of `only`), not the cheapest first.
        library: the data, where they were read already.

    Raises:
        UsageError: if the plan cannot be, a block or a trial is not there, `out` is a file, or
            holds the results that are to be made afresh.
        WbczooError: if the device is not there, or results cannot be read or written.
        KeyboardInterrupt: after Ctrl-C; what is done is kept.
    """
    from wbczoo.study.run.context import open_context

    plan = read_plan(plan_path)
    trials = plan.choose_trials(only, chosen)
    paths = locate_data(plan, data)
    claim(out, plan_path, plan)
    context = open_context(library or Library(paths, tell), out, device, tell)
    out.mkdir(parents=True, exist_ok=True)
    with files.locked(out / ".queue.lock"):  # two would enter the same jobs
        queue = _open_queue(plan, storage or f"sqlite:///{(out / 'queue.sqlite').resolve()}")
        done = keep_together(plan_path, plan, out, fresh=trials if fresh else None)
        report = Report(before=len(done.keys() & trials.keys()))
        held = {key for entry in _open_entries(queue) for key in _keys(entry)}
        missing = [trial for key, trial in trials.items() if key not in done.keys() | held]
        for job in bundle(missing, in_order):
            _enter(queue, [trial.key for trial in job])
    left = len(trials) - report.before
    tell(f"{report.before} of {len(trials)} trials are done; {left} are left")

    def run_entry(entry: optuna.Trial) -> float:
        keys = _keys(entry)
        if not keys:  # another process took the last one between our look and our grasp
            raise optuna.TrialPruned
        done = done_trials(plan_path, out, fresh=fresh)
        if theirs := [key for key in keys if key not in trials and key not in done]:
            # Of a process that runs other blocks, or another plan of this name: they wait again.
            _enter(queue, theirs)
        job = [trials[key] for key in keys if key in trials and key not in done]
        for trial, row in run_job(job, context):
            if row is None:
                _enter(queue, [trial.key])
                time.sleep(_PAUSE)
                continue
            if isinstance(row, str):
                report.refused[trial.key] = row
                tell(f"refused {trial.model}, {trial.arena}: {row}")
                continue
            report.done += append_results(out / RESULTS, [row])
            context.forget(trial)
        context.free_memory()
        if job:
            done = done_trials(plan_path, out, fresh=fresh)
            gone = done.keys() | report.refused.keys()
            left = [trial for key, trial in trials.items() if key not in gone]
            seconds = estimate.seconds_of(left, list(done.values()))
            tell(
                f"{len(trials) - len(left) - len(report.refused)} of {len(trials)} trials done, "
                f"about {format_duration(seconds)} left for one process"
            )
        return float(len(job))

    _work(queue, run_entry, trials, tell)
    done = done_trials(plan_path, out, fresh=fresh)
    # What was refused here, because another process had it in hand, may be done by that one.
    report.refused = {key: report.refused.get(key, _LOST) for key in trials if key not in done}
    keep_refused(out, report.refused, done)
    return report


def run_job(job: Sequence[Trial], context: Any) -> Iterator[tuple[Trial, Row | str | None]]:
    """Run the trials of one job; each comes with its row, or with why it has none.

    None stands for one that another process still trains, which had been taken for dead.
    """
    from wbczoo.study.run import cached, heads, networks

    left = list(job)
    try:
        if job and job[0].how == "cached heads":
            shared = [trial for trial in job if isinstance(trial, NetworkTrial)]
            for trial, row in heads.run_heads(shared, context):
                left.remove(trial)
                yield trial, row
        while left:
            one = left[0]
            if isinstance(one, BaselineTrial):
                row = run_baseline(one, context.library, context.tell)
            else:
                by = networks.run_images if one.how == "images" else cached.run_cached
                row = by(one, context)
            yield left.pop(0), row
    except Held:
        yield from ((one, None) for one in left)
    except Exception as error:  # a plugin's own failure too: the other trials go on
        if os.environ.get("WBCZOO_DEBUG"):
            traceback.print_exception(error)
        reason = str(error) if isinstance(error, WbczooError) else describe_error(error)
        yield from ((one, reason) for one in left)


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
                f"{first_line(error)}. Give another --storage."
            ) from error


def _enter(queue: optuna.Study, keys: Sequence[str]) -> None:
    queue.enqueue_trial({}, user_attrs={"keys": list(keys)})


def _work(queue: optuna.Study, run_entry: RunEntry, trials: Container[str], tell: Tell) -> None:
    """Take jobs until none waits and none of another process may come back."""
    said = False
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(queue)
            mine = [one for one in _open_entries(queue) if any(k in trials for k in _keys(one))]
            if any(entry.state == TrialState.WAITING for entry in mine):
                _take_one(queue, run_entry)
                continue
        if not mine:
            return
        if not said:
            tell(
                f"waiting for {sum(len(_keys(entry)) for entry in mine)} trials that another "
                f"process has; if it died, they are taken up within {_GRACE + _HEARTBEAT} s"
            )
            said = True
        time.sleep(_PAUSE)


def _take_one(queue: optuna.Study, run_entry: RunEntry) -> None:
    """Run one waiting job; what this process finished is finished, also where it came late."""
    finished = stopped = False

    def run(entry: optuna.Trial) -> float:
        nonlocal finished, stopped
        try:
            value = run_entry(entry)
        except KeyboardInterrupt:
            stopped = True
            raise
        finished = True
        return value

    try:
        queue.optimize(run, n_trials=1)
    except (ValueError, AssertionError):
        # A process that slept longer than the grace is taken for dead and its entry failed, so
        # that Optuna takes no value for it. The results are written all the same.
        if stopped:
            raise KeyboardInterrupt from None
        if not finished:
            raise


def _open_entries(queue: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return queue.get_trials(deepcopy=False, states=(TrialState.WAITING, TrialState.RUNNING))


def _keys(entry: optuna.Trial | optuna.trial.FrozenTrial) -> list[str]:
    """The trials of an entry's job; none of an entry that was not made by `_enter`."""
    return list(entry.user_attrs.get("keys", []))

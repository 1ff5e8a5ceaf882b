"""Jobs of several processes in one queue: none is lost, and none is told as what it is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from small_study import trial, write_plan

from wbczoo.study.plan.plan import read_plan
from wbczoo.study.plan.trial import NetworkTrial
from wbczoo.study.run import heads
from wbczoo.study.run import run as running
from wbczoo.study.run.results import RESULTS, read_results
from wbczoo.study.run.run import run_job, run_study
from wbczoo.training.checkpoint import alone_in

PLAN = """
format = 1
name = "shared"
[data.drawn]
dataset = "synthetic"
path = "{smears}"
[protocols]
report = {{ protocol = "report", data = "drawn" }}
official = {{ protocol = "official", data = "drawn" }}
[[blocks]]
name = "theirs"
baselines = ["majority"]
protocols = ["report"]
[[blocks]]
name = "mine"
baselines = ["majority"]
protocols = ["official"]
"""


def entered(plan: Path, out: Path) -> tuple[optuna.Study, list[str]]:
    """The queue as another process left it, with a job of each trial; and their keys."""
    out.mkdir()
    queue = running._open_queue(read_plan(plan), f"sqlite:///{out / 'queue.sqlite'}")
    keys = list(read_plan(plan).trials())
    for key in keys:
        running._enter(queue, [key])
    return queue, keys


def test_a_job_of_another_processs_blocks_waits_for_it(smears: Path, tmp_path: Path) -> None:
    plan, out = write_plan(tmp_path, smears, PLAN), tmp_path / "out"
    queue, (theirs, mine) = entered(plan, out)
    report = run_study(plan, out, {}, device="cpu", only=["mine"], tell=lambda sentence: None)
    assert (report.done, report.refused) == (1, {})
    assert list(read_results(out / RESULTS)) == [mine]
    waiting = queue.get_trials(states=(TrialState.WAITING,))
    assert [running._keys(entry) for entry in waiting] == [[theirs]]
    report = run_study(plan, out, {}, device="cpu", tell=lambda sentence: None)
    assert (report.before, report.done) == (1, 1)


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_what_another_process_left_undone_is_told(smears: Path, tmp_path: Path) -> None:
    plan, out = write_plan(tmp_path, smears, PLAN), tmp_path / "out"
    queue, (theirs, _) = entered(plan, out)
    taken = queue.ask()

    def tell(sentence: str) -> None:
        if sentence.startswith("waiting"):  # now it is stopped by Ctrl-C
            queue.tell(taken.number, state=TrialState.FAIL)

    report = run_study(plan, out, {}, device="cpu", tell=tell)
    assert report.done == 1
    assert list(report.refused) == [theirs]
    assert "Another process" in report.refused[theirs]


def test_a_process_that_was_taken_for_dead_finishes_its_job(smears: Path, tmp_path: Path) -> None:
    queue, _ = entered(write_plan(tmp_path, smears, PLAN), tmp_path / "out")

    def late(entry: optuna.Trial) -> float:
        queue.tell(entry.number, state=TrialState.FAIL)  # as one that looks for the dead does
        return 1.0

    def broken(entry: optuna.Trial) -> float:
        raise ValueError("the disk")

    running._take_one(queue, late)
    with pytest.raises(ValueError, match="the disk"):
        running._take_one(queue, broken)


def test_a_trial_that_another_process_still_trains_is_waited_for(
    smears: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, out = write_plan(tmp_path, smears, PLAN), tmp_path / "out"
    turns: list[str] = []

    def run(one: Any, *_: Any) -> Any:
        turns.append(one.key)
        if turns.count(one.key) == 1:
            with alone_in(out / "unfinished"), alone_in(out / "unfinished"):
                pass
        return real(one, *_)

    real = running.run_baseline
    monkeypatch.setattr(running, "run_baseline", run)
    monkeypatch.setattr(running, "_PAUSE", 0.0)
    report = run_study(plan, out, {}, device="cpu", tell=lambda sentence: None)
    assert (report.done, report.refused, len(turns)) == (2, {}, 4)


def test_a_job_that_breaks_refuses_only_the_trials_that_it_did_not_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trials = [trial(seed=seed) for seed in range(3)]

    def breaking(job: list[NetworkTrial], context: Any) -> Iterator[tuple[NetworkTrial, Any]]:
        yield job[1], {"key": job[1].key}
        raise RuntimeError("out of memory")

    monkeypatch.setattr(heads, "run_heads", breaking)
    found = [(one.train.seed, row) for one, row in run_job(trials, None)]
    refusal = "RuntimeError: out of memory"
    assert found == [(1, {"key": trials[1].key}), (0, refusal), (2, refusal)]

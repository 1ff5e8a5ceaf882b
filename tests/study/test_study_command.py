"""`study run` and `study show` as a user meets them: reruns, kills, several processes, refusals."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import forked
import made_results
import pytest
from commands import Completed, call
from small_study import PLAN, write_plan

from wbczoo.study.plan.plan import read_plan
from wbczoo.study.run import run as running
from wbczoo.study.run.results import RESULTS, append_results, read_results
from wbczoo.study.run.run import run_study

Run = Callable[..., Completed]


@pytest.fixture(scope="module")
def done_study(smears: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The small study's plan and its folder, by two processes at once."""
    folder = tmp_path_factory.mktemp("study")
    plan, out = write_plan(folder, smears), folder / "out"
    command = ["study", "run", plan, "--out", out, "--json", "--device", "cpu"]
    logs = [folder / "one", folder / "other"]
    both = [forked.start(call, command, log=log) for log in logs]
    for process in both:
        process.join()
    told = [log.with_suffix(".err").read_text() for log in logs]
    assert [process.exitcode for process in both] == [0, 0], told
    assert sum(json.loads(log.read_text())["done_now"] for log in logs) == 9
    assert any("left for one process" in err for err in told)
    return plan, out


def test_two_processes_share_a_study_and_run_each_trial_once(
    done_study: tuple[Path, Path],
) -> None:
    _, out = done_study
    lines = (out / "results.jsonl").read_text().splitlines()
    assert len(lines) == len(read_results(out / "results.jsonl")) == 9


def test_done_trials_are_skipped_also_those_kept_beside_the_plan(
    done_study: tuple[Path, Path], tmp_path: Path, smears: Path, wbczoo: Run
) -> None:
    plan, out = done_study
    again = json.loads(wbczoo("study", "run", plan, "--out", out, "--json").stdout)
    assert (again["done_before"], again["done_now"]) == (9, 0)
    kept = write_plan(tmp_path, smears)
    kept.with_suffix("").mkdir()
    lines = (out / "results.jsonl").read_text().splitlines(keepends=True)
    (kept.with_suffix("") / "results.jsonl").write_text("".join(lines[:5]))
    dry = wbczoo("study", "run", kept, "--out", tmp_path / "new", "--dry-run", "--json")
    document = json.loads(dry.stdout)
    assert document["done"] == 5
    assert len(document["trials"]) == 9
    assert document["seconds"] > 0
    assert not (tmp_path / "new").exists()


def test_show_prints_protocol_counts_and_intervals(
    done_study: tuple[Path, Path], wbczoo: Run
) -> None:
    plan, out = done_study
    told = wbczoo("study", "show", plan, "--out", out, "--resamples", "50").stdout
    assert "LEAKY report" in told
    document = json.loads(
        wbczoo("study", "show", plan, "--out", out, "--resamples", "50", "--json").stdout
    )
    for one in document["trials"]:
        assert one["done"]
        assert one["photographs"] > 0
        for figures in one["tasks"].values():
            accuracy = figures["accuracy"]
            assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
            assert accuracy["low"] < accuracy["high"]
    nothing = wbczoo("study", "show", plan, "--only", "branch").stdout
    assert "not run: official, gru: 1 trials" in nothing


def test_a_killed_study_goes_on(
    smears: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, out = write_plan(tmp_path, smears), tmp_path / "out"
    process = forked.start(call, ["study", "run", plan, "--out", out], log=tmp_path / "log")
    while process.is_alive() and not read_results(out / "results.jsonl"):
        time.sleep(0.05)
    process.kill()
    process.join()
    before = read_results(out / "results.jsonl")
    monkeypatch.setattr(running, "_GRACE", 2)
    monkeypatch.setattr(running, "_HEARTBEAT", 1)
    told: list[str] = []
    report = run_study(plan, out, {}, device="cpu", tell=told.append)
    assert report.before == len(before)
    assert report.before + report.done == 9
    assert not report.refused
    assert {key: row for key, row in read_results(out / "results.jsonl").items()
            if key in before} == before  # fmt: skip


def test_a_trial_that_cannot_be_is_refused_and_the_others_go_on(
    smears: Path, tmp_path: Path, wbczoo: Run
) -> None:
    # mobilenetv2's ImageNet weights are not here, and nobody may fetch them (HF_HUB_OFFLINE).
    lost = 'backbones = ["mobilenetv2"]\nweights = "imagenet"'
    text = PLAN.replace('backbones = ["squeezenet1_1"]\nweights = "none"', lost)
    text = text.replace('["official", "report"]', '["official"]').replace("[8, 16]", "[8]")
    plan, out = write_plan(tmp_path, smears, text), tmp_path / "out"
    done = wbczoo("study", "run", plan, "--out", out, expect=3)
    assert "2 refused" in done.stdout
    assert "WBCZOO_WEIGHTS" in done.stdout
    assert [row["model"] for row in read_results(out / "results.jsonl").values()] == ["gru"]
    # The tables say why a figure is not there.
    shown = wbczoo("study", "show", out, "--resamples", "20").stdout
    assert re.search("not run: official, mobilenetv2: 2 trials; refused: .*WBCZOO_WEIGHTS", shown)
    wbczoo("study", "report", out, "--resamples", "20")
    assert "mobilenetv2 under official: " in (out / "report.md").read_text(encoding="utf-8")


def test_a_kept_trial_is_run_afresh_and_stands_beside_what_was_kept(
    smears: Path, tmp_path: Path, wbczoo: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    text = made_results.PLAN.replace('path = "smears"', f'path = "{smears.as_posix()}"')
    text = text.replace("{", "{{").replace("}", "}}")
    plan, out = write_plan(tmp_path, smears, text), tmp_path / "out"
    trials = {trial.model: trial for trial in read_plan(plan).trials().values()}
    kept = made_results.made_row(trials["majority"], made_results.gain(0.0))
    append_results(plan.with_suffix("") / RESULTS, [kept])
    key = trials["majority"].key[:8]
    run = ["study", "run", plan, "--trial", key, "--json"]
    assert json.loads(wbczoo(*run, "--out", tmp_path / "not").stdout)["done_now"] == 0
    fresh = [*run, "--fresh", "--out", out]
    assert json.loads(wbczoo(*fresh).stdout)["done_now"] == 1
    assert json.loads(wbczoo(*fresh).stdout)["done_now"] == 0  # it is done once, and goes on
    both = wbczoo("study", "show", plan, "--out", out, "--resamples", "20").stdout
    assert both.count("(kept)") == 2  # a line for each task
    assert f"\n{key}  official" in both
    ours = read_results(out / RESULTS)[trials["majority"].key]
    assert ours["files"] != kept["files"]
    # What is to be compared with the kept results does not come to lie among them.
    for folder, reason in ((tmp_path / "not", "--fresh"), (plan.with_suffix(""), "--fresh")):
        assert call([*run, "--fresh", "--out", folder]) == 2
        assert reason in capsys.readouterr().err
    assert call(["study", "run", plan, "--trial", "xyz", "--out", out]) == 2
    assert "names no trial of the study made" in capsys.readouterr().err


def test_published_accuracies_stand_beside_the_trials_that_repeat_them(
    tmp_path: Path, wbczoo: Run
) -> None:
    (plan := tmp_path / "made.toml").write_text(made_results.PLAN, encoding="utf-8")
    rows = [made_results.made_row(trial, made_results.gain(0.0))
            for trial in read_plan(plan).trials().values()]  # fmt: skip
    append_results(plan.with_suffix("") / RESULTS, rows)
    shown = json.loads(wbczoo("study", "show", plan, "--resamples", "20", "--json").stdout)
    repeated = [one for one in shown["trials"] if one["published"]]
    assert {one["model"] for one in repeated} == {"squeezenet1_1 (no ImageNet weights)"}
    assert {one["settings"]["protocol"] for one in repeated} == {"report"}
    assert [one["published"] for one in repeated] == [{"cell": [0.9876]}] * 5
    assert "0.9876 (published)" in wbczoo("study", "show", plan, "--resamples", "20").stdout


def test_a_folder_with_another_plan_keeps_it(
    smears: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, out = write_plan(tmp_path, smears), tmp_path / "out"
    out.mkdir()
    for theirs in (PLAN.format(smears=smears).replace('"small"', '"large"'), "my notes"):
        (out / "plan.toml").write_text(theirs)
        assert call(["study", "run", plan, "--out", out]) == 2
        assert "is no plan of the study small" in capsys.readouterr().err
        assert [path.read_text() for path in out.iterdir()] == [theirs]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--data", "synthetic"], "DATASET=PATH"),
        (["--data", "bccd=here"], "no data set 'bccd'"),
        (["--only", "lost"], "no block 'lost'"),
        (["--storage", "nonsense"], "cannot be opened"),
    ],
)
def test_what_cannot_be_asked_is_told(
    arguments: list[str], reason: str, smears: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    plan = write_plan(tmp_path, smears)
    assert call(["study", "run", plan, "--out", tmp_path / "out", *arguments]) in (1, 2)
    assert reason in capsys.readouterr().err

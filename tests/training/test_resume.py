"""A training that is killed anywhere and resumed ends in the same bits as one that is not."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import forked
import killed_training
import pytest
import torch
from commands import SMALL_TRAINING, Completed, call
from filelock import FileLock
from safetensors.torch import load_file, save_file

from wbczoo import registry
from wbczoo.training import train

KINDS = ("outside", "step", "half-written", "before-rename", "after-rename")


@pytest.fixture(scope="module")
def undisturbed(smears: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    _end(_train(smears, out), out.with_name("log"))
    return out


def _train(smears: Path, out: Path, *more: str) -> list[str]:
    options = [*SMALL_TRAINING, "--epochs", "4", "--augment", "--schedule", "cosine",
               "--distort", "1", "--stain", "0.3", "--blur", "0.5", "--hue", "0.4",
               "--mixup", "0.2", "--average", "0.9"]  # fmt: skip
    return ["train", str(smears), "--dataset", "synthetic", *options, "--out", str(out), *more]


def _end(command: list[str], log: Path) -> None:
    """Run a command that is to come through."""
    code, printed = forked.run(call, command, log=log)
    assert code == 0, printed


def test_killed_anywhere_and_resumed_gives_equal_bits(
    smears: Path, undisturbed: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    dice = random.Random(20201)
    out = tmp_path / "run"
    deaths = 0
    kinds: list[tuple[str, bool]] = []
    wanted = request.config.getoption("--kills")
    # Until each way has killed it once: what dies by chance may have ended before.
    while deaths < wanted or (_killed(kinds) != set(KINDS) and len(kinds) < 4 * wanted):
        # Two ways to die: from outside at a random moment, or at a named place inside.
        seconds = dice.choice(["0", "0", "300"])
        kind = KINDS[len(kinds) % len(KINDS)]
        command = _train(smears, out, "--resume", "--checkpoint-seconds", seconds)
        if kind == "outside":
            died = _kill_from_outside(command, out, dice.uniform(0, 0.4))
        else:
            code, printed = forked.run(
                killed_training.main, kind, dice.randint(1, 6), command, log=tmp_path / "log"
            )
            died = code == -signal.SIGKILL
            assert died or code == 0, printed
        deaths += died
        kinds.append((kind, died))
        if (out / "summary.json").is_file():
            # It came through; the next deaths are another training's.
            _assert_equal(out, undisturbed)
            out = tmp_path / f"run-{deaths}"
    _end(_train(smears, out, "--resume"), tmp_path / "log")
    _assert_equal(out, undisturbed)
    assert len(kinds) < len(KINDS) or _killed(kinds) == set(KINDS)


def _killed(kinds: list[tuple[str, bool]]) -> set[str]:
    return {kind for kind, died in kinds if died}


def _kill_from_outside(command: list[str], out: Path, wait: float) -> bool:
    """Kill it a moment after it first changes its folder; False if it had ended by then."""
    before = _state(out)
    process = forked.start(call, command, log=out.with_name("log"))
    while process.is_alive() and _state(out) == before:
        time.sleep(0.005)
    time.sleep(wait)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def _state(out: Path) -> set[tuple[str, int]]:
    found = set()
    for path in out.glob("*"):
        try:
            found.add((path.name, path.stat().st_mtime_ns))
        except FileNotFoundError:  # it was renamed under our eyes
            continue
    return found


def _assert_equal(out: Path, undisturbed: Path) -> None:
    for name in ("model.safetensors", "last.safetensors"):
        mine, theirs = load_file(out / name), load_file(undisturbed / name)
        assert mine.keys() == theirs.keys()
        for key, tensor in theirs.items():
            assert torch.equal(mine[key], tensor), f"{name}: {key}"
    assert _epochs(out) == _epochs(undisturbed)
    leftovers = {path.name for path in out.iterdir()} - {p.name for p in undisturbed.iterdir()}
    assert all(name.startswith(".") for name in leftovers)


def _epochs(out: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "images_per_second"} for row in rows]


def test_ctrl_c_saves_exits_130_and_resumes_to_equal_bits(
    smears: Path, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = _train(smears, out)
    code, printed = forked.run(killed_training.main, "interrupt", 5, command, log=tmp_path / "log")
    assert code == 130, printed
    assert (out / "last.safetensors").is_file()
    assert not (out / "summary.json").exists()
    _end(_train(smears, out, "--resume"), tmp_path / "log")
    _assert_equal(out, undisturbed)


def test_resume_refuses_other_options_and_other_data(
    wbczoo: Callable[..., Completed], undisturbed: Path, smears: Path, tmp_path: Path
) -> None:
    command = _train(smears, undisturbed, "--resume")
    other = wbczoo(*command, "--lr", "0.5", "--seq", "bilstm", "--epochs", "3", expect=2).stderr
    assert "other options" in other
    for words in ("--lr was 0.01, is 0.5 (another rate is for further epochs",
                  '--seq was "gru", is "bilstm"', "--epochs was 4, is 3"):  # fmt: skip
        assert words in other
    assert other.count(" was ") == 4  # with the sentence's own
    fewer = wbczoo(*command, "--limit-photographs", "4", expect=2).stderr
    assert "with them: --limit-photographs was not given, is 4. Give" in fewer
    kept = load_file(undisturbed / "model.safetensors")
    done = wbczoo(*command)  # nothing is left to do, and nothing is harmed
    assert "best epoch" in done.stdout
    assert all(
        torch.equal(tensor, load_file(undisturbed / "model.safetensors")[name])
        for name, tensor in kept.items()
    )


def test_only_a_training_is_resumed_and_only_by_one(
    wbczoo: Callable[..., Completed], undisturbed: Path, smears: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"mine": true}')
    told = wbczoo(*_train(smears, other, "--resume"), expect=2).stderr
    assert "no training that could be resumed" in told
    assert (other / "config.json").read_text() == '{"mine": true}'
    finished = tmp_path / "finished"
    shutil.copytree(undisturbed, finished)
    with FileLock(finished / ".lock"):
        busy = wbczoo(*_train(smears, finished, "--resume"), expect=2).stderr
    assert "another process" in busy
    (finished / "metrics.jsonl").unlink()
    lost = wbczoo(*_train(smears, finished, "--resume"), expect=1).stderr
    assert "metrics.jsonl" in lost


def test_a_taken_folder_is_refused_and_kept(
    wbczoo: Callable[..., Completed], undisturbed: Path, smears: Path, tmp_path: Path
) -> None:
    assert "already holds a run" in wbczoo(*_train(smears, undisturbed), expect=2).stderr
    (tmp_path / "letter.txt").write_text("mine")
    assert "not empty" in wbczoo(*_train(smears, tmp_path), expect=2).stderr
    assert (tmp_path / "letter.txt").read_text() == "mine"


@contextlib.contextmanager
def _stopping(tell: object) -> Iterator[Callable[[], bool]]:
    """As if Ctrl-C came within the first step."""
    yield lambda: True


def _call(smears: Path, out: Path, *more: str) -> int:
    return call(["train", smears, "--dataset", "synthetic", *SMALL_TRAINING, "--out", out, *more])


def test_other_images_are_named_as_what_differs(
    smears: Path, small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(smears, other)
    changed = next((other / "train").rglob("*.jpg"))
    changed.write_bytes(changed.read_bytes() + b"!")
    assert _call(other, small_run, "--resume") == 2
    told = capsys.readouterr().err
    assert "with them: the images, their photographs or their labels are not those" in told


def test_epochs_can_be_added_where_the_rate_is_constant(
    smears: Path, small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    longer, whole = tmp_path / "longer", tmp_path / "whole"
    shutil.copytree(small_run, longer)
    (longer / "evaluation-official-augmented-synthetic.json").write_text("{}")
    assert _call(smears, longer, "--resume", "--epochs", "1") == 2
    assert "--epochs was 2, is 1" in capsys.readouterr().err
    assert _call(smears, longer, "--resume", "--epochs", "3") == 0
    assert _call(smears, whole, "--epochs", "3") == 0
    _assert_equal(longer, whole)
    assert (longer / "config.json").read_text() == (whole / "config.json").read_text()
    assert json.loads((longer / "summary.json").read_text())["epochs"] == 3
    assert not [*longer.glob("evaluation*")]  # it spoke of another model


def test_another_rate_is_a_segment_behind_the_epochs_that_were_begun(
    smears: Path,
    small_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    longer, stopped = tmp_path / "longer", tmp_path / "stopped"
    shutil.copytree(small_run, longer)
    more = ("--resume", "--epochs", "4", "--lr", "1e-3")
    assert _call(smears, longer, *more) == 0
    assert "to epoch 2 lr 0.01, to epoch 4 lr 0.001" in capsys.readouterr().out
    train_config = json.loads((longer / "config.json").read_text())["train"]
    assert (train_config["epochs"], train_config["lr"]) == (4, 1e-3)
    assert train_config["earlier"] == [{"epochs": 2, "lr": 1e-2}]
    assert [row["lr"] for row in _epochs(longer)] == [1e-2, 1e-2, 1e-3, 1e-3]
    drawn = (longer / "curves.png").read_bytes()
    assert _call(smears, longer, *more) == 0  # nothing is left to do
    assert (longer / "curves.png").read_bytes() == drawn
    assert _call(smears, longer, "--resume", "--epochs", "4") == 2
    assert "--lr was 0.001, is 0.01 (another rate" in capsys.readouterr().err
    # When the first was stopped before its end, that is where the segment begins all the same.
    with monkeypatch.context() as patch:
        patch.setattr(train, "stop_on_signal", _stopping)
        assert _call(smears, stopped) == 130
    assert _call(smears, stopped, *more) == 0
    _assert_equal(stopped, longer)


def test_a_cosine_falls_anew_in_each_segment(
    smears: Path, undisturbed: Path, tmp_path: Path
) -> None:
    longer = tmp_path / "longer"
    shutil.copytree(undisturbed, longer)
    _end(_train(smears, longer, "--resume", "--epochs", "6"), tmp_path / "log")
    rates = [row["lr"] for row in _epochs(longer)]
    assert rates[:4] == [row["lr"] for row in _epochs(undisturbed)]
    assert rates[3] < rates[5] < rates[4] < rates[0]
    assert json.loads((longer / "summary.json").read_text())["segments"] == [
        {"epochs": 4, "lr": 1e-2},
        {"epochs": 6, "lr": 1e-2},
    ]


def test_a_resume_wants_no_initial_weights(
    smears: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    backbone = registry.backbones.spec("mobilenetv3_small").build(image_size=(32, 32))
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        save_file(backbone.state_dict(), tmp_path / name / "mobilenetv3_small.safetensors",
                  {"weights": name})  # fmt: skip
    out, first, second = (
        tmp_path / "run",
        *(tmp_path / name / "mobilenetv3_small.safetensors" for name in ("first", "second")),
    )
    options = ("--backbone", "mobilenetv3_small", "--image-size", "32", "--weights")
    monkeypatch.setenv("WBCZOO_WEIGHTS", str(first.parent))
    with monkeypatch.context() as patch:
        patch.setattr(train, "stop_on_signal", _stopping)
        assert _call(smears, out, *options, "imagenet") == 130
    begun = json.loads((out / "config.json").read_text())
    assert begun["model"]["weights"]["description"] == "first"
    monkeypatch.delenv("WBCZOO_WEIGHTS")
    assert _call(smears, out, "--resume", *options, str(second)) == 2
    assert "--weights was" in capsys.readouterr().err
    assert _call(smears, out, "--resume", *options, "imagenet") == 0
    assert json.loads((out / "config.json").read_text()) == begun
    for choice in ("none", str(first)):
        assert _call(smears, out, "--resume", *options, choice) == 0

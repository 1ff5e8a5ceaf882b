"""Exit codes of what reads images for later: none refused, some, all; what is there stays."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import SMALL_TRAINING, Completed
from tiny_images import picture

Run = Callable[..., Completed]


@pytest.mark.parametrize(("broken", "code"), [(0, 0), (1, 3), (4, 1)])
def test_prepare_counts_what_was_refused(
    broken: int, code: int, wbczoo: Run, tmp_path: Path
) -> None:
    for number in range(4):
        path = tmp_path / ("Eosinophil", "Neutrophil")[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture(number)[: 90 if number < broken else None])
    done = wbczoo("data", "prepare", tmp_path, "--image-size", "32", "--json", expect=code)
    document = json.loads(done.stdout)
    assert (document["cached"], len(document["refused"])) == (4 - broken, broken)
    assert done.stderr.count("refused ") == broken


@pytest.mark.parametrize("options", [[], ["--photographs", "3"]])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_prepare_draws_over_nothing_that_is_there(
    kind: str, options: list[str], wbczoo: Run, tmp_path: Path
) -> None:
    root = tmp_path / "mine"
    letter = root / "letter.txt" if kind == "folder" else root
    letter.parent.mkdir(exist_ok=True)
    letter.write_text("mine")
    told = wbczoo("data", "prepare", root, "--dataset", "synthetic", *options, expect=2).stderr
    assert str(root) in told
    assert letter.read_text() == "mine"
    assert [*tmp_path.rglob("*")] == sorted({root, letter})


def test_evaluate_names_what_it_could_not_read_and_keeps_what_the_run_holds(
    wbczoo: Run, smears: Path, small_run: Path, tmp_path: Path
) -> None:
    root, run = tmp_path / "smears", tmp_path / "run"
    shutil.copytree(smears, root)
    shutil.copytree(small_run, run)
    (run / "notes.txt").write_text("mine")
    for earlier in run.glob("evaluation-*"):  # another test may have asked the shared run
        earlier.unlink()
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    command = ("evaluate", run, root, "--dataset", "synthetic", "--resamples", "20", "--json",
               "--device", "cpu")  # fmt: skip
    whole = json.loads(wbczoo(*command).stdout)
    victim = next((root / "test").rglob("*.jpg"))
    victim.write_bytes(victim.read_bytes()[:500])
    done = wbczoo(*command, expect=3)
    document = json.loads(done.stdout)
    assert victim.name in done.stderr
    assert len(document["refused"]) == 1
    assert document["files"] == whole["files"] - 1
    after = {path.name: path.read_bytes() for path in run.iterdir()}
    assert {name: after[name] for name in before} == before
    assert all(name.startswith("evaluation-") for name in after.keys() - before.keys())


def test_a_process_that_trained_ends_without_a_word_of_leaks(
    wbczoo_process: Run, smears: Path, tmp_path: Path
) -> None:
    command = ("train", smears, "--dataset", "synthetic", *SMALL_TRAINING, "--epochs", "1")
    done = wbczoo_process(*command, "--out", tmp_path / "run")
    assert "leak" not in done.stderr

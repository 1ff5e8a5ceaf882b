"""A training starts from a run: what it takes, what it refuses, and what it remembers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from commands import call

from wbczoo.data.plan import read_split
from wbczoo.tasks import Task
from wbczoo.training.checkpoint import load_model
from wbczoo.training.init import compose_like, start_from

GROUPED = ("--each-file-a-photograph", "--protocol", "grouped", "--fold", "0", "--epochs", "1",
           "--batch-size", "8", "--device", "cpu", "--precision", "fp32")  # fmt: skip


def rows_of(run: Path) -> list[dict[str, str]]:
    return read_split(run / "split.csv")[0]


def test_heads_are_joined_by_the_names_of_classes(small_run: Path) -> None:
    _, trained = load_model(small_run)
    kind = Task("kind", ("neutrophil", "smudge", "eosinophil"))
    config, told = compose_like(small_run, (kind,), {}), list[str]()
    model = start_from(small_run, config, 0, told.append)
    for name, tensor in trained.state_dict().items():
        if name.startswith("sequence."):
            assert torch.equal(model.state_dict()[name], tensor)
    head, cells = model.heads["kind_head"], trained.heads["cell_head"]
    assert torch.equal(head.weight[[0, 2]], cells.weight[[3, 0]])
    assert torch.equal(head.bias[[0, 2]], cells.bias[[3, 0]])
    again = start_from(small_run, config, 0, told.append)
    assert torch.equal(head.weight, again.heads["kind_head"].weight)
    other = start_from(small_run, config, 1, told.append).heads["kind_head"].weight
    assert [torch.equal(head.weight[row], other[row]) for row in range(3)] == [True, False, True]
    assert told[0] == (
        "classes of kind: from the run's cell come neutrophil, eosinophil; smudge start anew"
    )
    assert model.config.weights.source == "run"
    assert model.config.weights.sha256


def test_a_run_starts_another_which_remembers_what_it_has_seen(
    smears: Path, small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    started = ["train", smears / "test", *GROUPED, "--init", small_run, "--out", out]
    assert call(started) == 0
    config = json.loads((out / "config.json").read_text())
    begun = json.loads((small_run / "config.json").read_text())
    assert config["model"]["tasks"] == begun["model"]["tasks"]
    assert str(tmp_path.parent) not in (out / "config.json").read_text()
    seen = [row["sha256"] for row in rows_of(small_run) if row["role"] != "test"]
    inherited = [row["sha256"] for row in rows_of(out) if row["role"] == "init"]
    assert inherited == sorted(set(seen))
    assert call([*started, "--resume"]) == 0
    assert call(["evaluate", out, smears / "test", "--each-file-a-photograph"]) == 0
    capsys.readouterr()
    # What the first was trained on cannot measure the second.
    command = ["evaluate", out, smears, "--dataset", "synthetic", "--protocol", "external"]
    assert call(command) == 1
    assert "was trained or chosen on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ((), "trained or chosen on the photographs of"),
        (("--seq", "bilstm", "--hidden", "9"),
         "sequence is gru there, and bilstm was given; hidden is 8 there, and 9 was given"),
        (("--weights", "mine.safetensors"), "brings its weights"),
    ],
)  # fmt: skip
def test_what_cannot_start_from_a_run_is_refused(
    more: tuple[str, ...],
    sentence: str,
    smears: Path,
    small_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    assert (
        call(["train", smears / "train", *GROUPED, "--init", small_run, *more, "--out", out]) == 2
    )
    assert sentence in capsys.readouterr().err
    assert not out.exists()


def test_a_folder_without_a_run_starts_nothing(
    smears: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        call(["train", smears / "test", *GROUPED, "--init", smears, "--out", tmp_path / "a"]) == 2
    )
    assert "holds no run to start from" in capsys.readouterr().err

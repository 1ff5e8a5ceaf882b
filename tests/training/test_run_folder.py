"""Which folders a training may write to: new and empty ones, its own again, and one at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from wbczoo import files
from wbczoo.config import ModelConfig, RunConfig
from wbczoo.errors import UsageError
from wbczoo.tasks import NUCLEUS
from wbczoo.training import checkpoint

CONFIG = ModelConfig(tasks=(NUCLEUS,))


def test_a_new_or_empty_folder_may_be_taken(tmp_path: Path) -> None:
    for resume in (False, True):
        checkpoint.refuse_taken(tmp_path / "new", resume)
        checkpoint.refuse_taken(tmp_path, resume)
        (tmp_path / ".lock").touch()


@pytest.mark.parametrize("resume", [False, True])
def test_a_file_is_no_folder(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(UsageError, match="is a file; --out wants a folder"):
        checkpoint.refuse_taken(tmp_path / "out", resume)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (["last.safetensors", "config.json", "x"], None),
        (["last.safetensors"], None),
        ([".part"], None),
        (["config.json"], None),
        (["config.json", "split.csv", "environment.json", "metrics.jsonl", "tensorboard"], None),
        (["split.csv"], "holds no training that could be resumed"),
        (["config.json", "notes.txt"], "holds no training that could be resumed"),
        (["x"], "holds no training that could be resumed"),
    ],
)
def test_what_may_be_resumed(tmp_path: Path, found: list[str], said: str | None) -> None:
    for name in found:
        (tmp_path / name).touch()
        if name == "config.json":
            RunConfig(model=CONFIG).write(tmp_path / name)
    if said is None:
        checkpoint.refuse_taken(tmp_path, True)
    else:
        with pytest.raises(UsageError, match=said):
            checkpoint.refuse_taken(tmp_path, True)
    taken = "already holds a run" if "config.json" in found else "is not empty"
    with pytest.raises(UsageError, match=taken):
        checkpoint.refuse_taken(tmp_path, False)


def test_a_damaged_config_is_nothing_to_resume(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UsageError, match="holds no training that could be resumed"):
        checkpoint.refuse_taken(tmp_path, True)


def test_other_devices_of_the_same_training_find_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").touch()
    monkeypatch.setenv("RANK", "1")
    checkpoint.refuse_taken(tmp_path, False)
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UsageError, match="already holds a run"):
        checkpoint.refuse_taken(tmp_path, False)


def test_a_folder_is_held_by_one_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "deep" / "run"
    with checkpoint.alone_in(out):
        assert (out / ".lock").exists()
        with (
            pytest.raises(UsageError, match="is being trained by another process"),
            checkpoint.alone_in(out),
        ):
            pass
        monkeypatch.setenv("RANK", "1")
        with checkpoint.alone_in(out):
            pass
        monkeypatch.delenv("RANK")
    assert not out.exists()  # made here, and nothing was written
    out.mkdir()
    with checkpoint.alone_in(out):
        pass
    assert out.exists()
    with checkpoint.alone_in(out):
        files.write_text(out / "x", "kept")
    assert (out / "x").exists()

"""A file is there whole or not at all, whatever happens while it is written."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wbczoo import files
from wbczoo.errors import UsageError, WbczooError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_its_place_at_the_end_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.json"
    with files.written_aside(path) as aside:
        assert (aside.parent, aside.suffix) == (path.parent, ".json")
        aside.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert names(path.parent) == ["a.json"]


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, SystemExit])
def test_after_an_error_the_old_file_stands_and_nothing_is_left_over(
    error: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    before = path.stat()

    def fail() -> None:
        with files.written_aside(path) as aside:
            aside.write_text("half of the n")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert names(tmp_path) == ["a.txt"]


def test_a_first_file_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with files.written_aside(tmp_path / "a.txt"):
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert names(tmp_path) == []


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the write fails in its middle."""
    files.write_bytes(tmp_path / "a.bin", b"old")
    script = (
        "import resource, signal, sys; from pathlib import Path; from wbczoo import files\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "files.write_bytes(Path(sys.argv[1]), bytes(5000))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "a.bin")]
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert "File too large" in failed.stderr
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    script = (
        "import os, signal, sys; from pathlib import Path; from wbczoo import files\n"
        "with files.written_aside(Path(sys.argv[1])) as aside:\n"
        "    aside.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert all(name.startswith(".") for name in names(tmp_path) if name != "a.txt")


def test_a_result_is_as_readable_as_other_new_files(tmp_path: Path) -> None:
    files.write_text(tmp_path / "mine", "x")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "mine").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_text_is_utf8_whatever_the_locale(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a.txt", "Gür, Kaya\n")
    assert (tmp_path / "a.txt").read_bytes() == "Gür, Kaya\n".encode()


def test_json_comes_back_and_says_its_format(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"name": "Gür", "values": [1, None, 0.5]})
    assert json.loads(path.read_text("utf-8"))["format"] == 1
    assert files.read_json(path) == {"format": 1, "name": "Gür", "values": [1, None, 0.5]}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_what_json_cannot_hold_writes_nothing(value: object, tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"old": True})
    with pytest.raises((ValueError, TypeError)):
        files.write_json(tmp_path / "a.json", {"value": value})
    assert files.read_json(tmp_path / "a.json")["old"] is True
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"format": 2}', "has format 2, and this version of wbczoo reads format 1"),
        (b"{}", "has format None"),
        (b"[1]", "has format None"),
        (b'{"format": 1', "cannot be read as JSON"),
        (b"\xff", "cannot be read as JSON"),
        (None, "is not there"),
    ],
)
def test_a_strange_document_is_told_by_its_path(
    content: bytes | None, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WbczooError, match=f"a.json {sentence}"):
        files.read_json(path)


def test_a_digest_is_of_the_bytes(tmp_path: Path) -> None:
    content = os.urandom(1 << 20)
    (tmp_path / "a").write_bytes(content)
    assert files.sha256_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WBCZOO_CACHE", str(tmp_path))
    assert files.cache_folder() == tmp_path
    monkeypatch.delenv("WBCZOO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    if sys.platform == "linux":
        assert files.cache_folder() == tmp_path / "xdg" / "wbczoo"


def test_a_lock_is_held_by_one_and_gone_after_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"

    def refuse() -> None:
        raise UsageError("busy")

    with files.locked(path, refuse, remove=True):
        with pytest.raises(UsageError, match="busy"), files.locked(path, refuse):
            pass
        with pytest.raises(UsageError), files.locked(path, refuse, remove=True):
            pass
        assert path.exists()
    assert not path.exists()
    with pytest.raises(KeyError), files.locked(path):
        raise KeyError
    with files.locked(path, refuse):  # an error lets go of it
        pass

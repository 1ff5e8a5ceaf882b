"""A bar is for terminals; into a file go whole lines, of which an error is one."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from wbczoo import progress

FAILS = """
from wbczoo import cli, progress

try:
    with progress.bar(3, "epoch 1/1") as advance:
        advance(1)
        raise ValueError("it broke")
except ValueError as error:
    cli._explain(error)
"""


class Terminal(io.StringIO):
    """A terminal to write to."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.bar(3, "epoch 1/3") as advance:
        advance(1)
    assert "epoch 1/3:" in terminal.getvalue()
    assert "?step/s" in terminal.getvalue()


def test_a_file_gets_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    with progress.bar(3, "epoch 1/3") as advance:
        advance(1)
    assert file.getvalue() == ""
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    with progress.bar(4, "epoch 1/3", 2) as advance:
        advance(1)
    with progress.bar(None, "reading", unit="image") as advance:
        advance(5)
    assert file.getvalue() == "epoch 1/3: 3 of 4 steps, 0 s left\nreading: 5 images\n"


def test_an_error_begins_a_line_of_a_log() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILS], capture_output=True, text=True, check=False
    )
    assert done.stderr.startswith("Error: ValueError: it broke")
    assert "\r" not in done.stderr


def test_what_a_file_says_of_itself_does_not_command_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress.tell("a finder \x1b[2J\x07\nand a second line")
    assert capsys.readouterr().err == "a finder \\u001b[2J\\u0007\nand a second line\n"

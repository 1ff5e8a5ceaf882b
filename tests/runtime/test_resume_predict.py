"""Rows in a file: whole or not there, and killed anywhere and resumed the same to the byte."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_export
from commands import Completed, call
from filelock import FileLock
from tiny_images import picture

Run = Callable[..., Completed]
Refusal = Callable[..., str]

KILLER = Path(__file__).with_name("killed_prediction.py")
BATCH = 4


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images and a packed tar, with bad ones and names that are hard to write."""
    root = tmp_path_factory.mktemp("tree")
    (root / "cells").mkdir()
    for number in range(30):
        (root / "cells" / f"{number:02}.png").write_bytes(picture(number))
    (root / "cells" / "07.png").write_bytes(b"")
    (root / "cells" / "13.png").write_bytes(b"x")
    if sys.platform not in ("win32", "darwin"):
        (root / "cells" / '14 "a",\n\nb.png').write_bytes(picture(50))
        (root / "cells" / os.fsdecode(b"15 caf\xe9\r.png")).write_bytes(picture(51))
    with tarfile.open(root / "more.tar.gz", "w:gz") as archive:
        archive.add(root / "cells", "inside")
    return root


def _command(model: Path, out: Path, layout: str, *more: str) -> list[str]:
    return ["predict", "cells", "more.tar.gz", "--model", str(model), "--format", layout,
            "--batch-size", str(BATCH), "--device", "cpu", "--out", str(out), *more]  # fmt: skip


@pytest.fixture
def refusal(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """What is said of a call that does nothing."""

    def said(command: list[str], *more: str) -> str:
        assert call([*command, *more]) == 2
        found = capfd.readouterr()
        assert found.out == ""
        return found.err

    monkeypatch.chdir(tree)
    return said


@pytest.fixture(scope="module")
def undisturbed(
    model: Path, tree: Path, wbczoo: Run, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The file of each layout as a run writes it that nobody stops."""
    folder = tmp_path_factory.mktemp("undisturbed")
    found = {}
    for layout in ("jsonl", "csv"):
        out = folder / "new" / f"rows.{layout}"
        said = wbczoo(*_command(model, out, layout), cwd=tree, expect=3)
        assert said.stdout == ""
        assert "images/s" in said.stderr
        assert "60 images answered, 4 refused" in said.stderr
        assert [path.name for path in out.parent.iterdir()] == [out.name]
        found[layout] = out.read_bytes()
        printed = subprocess.run(
            [sys.executable, "-m", "wbczoo", *_command(model, out, layout)[:-2]],
            cwd=tree, capture_output=True, check=False,
        )  # fmt: skip
        assert printed.stdout == found[layout]
        out.unlink()
    return found


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the names are not allowed there")
@pytest.mark.parametrize("layout", ["jsonl", "csv"])
def test_killed_anywhere_and_resumed_gives_equal_bytes(
    layout: str, model: Path, tree: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    dice = random.Random(layout)
    out = tmp_path / f"rows.{layout}"
    part = tmp_path / f"{out.name}.part"
    command = _command(model, out, layout, "--resume")
    places = [("before-rename", 1), ("after-rename", 1), ("half-row", 1), ("half-row", 6),
              ("half-row", dice.randint(2, 9)), ("half-row", dice.randint(2, 20)),
              ("no-rename", 1), ("before-rename", 1)]  # fmt: skip
    for place, count in places:
        before = part.read_bytes() if part.exists() else b""
        trapped = [sys.executable, str(KILLER), place, str(count), *command]
        if place == "no-rename":
            died = _kill_from_outside(trapped, tree, part, dice.uniform(0, 0.02))
        else:
            died = subprocess.run(trapped, cwd=tree, capture_output=True, check=False).returncode
        assert died == -signal.SIGKILL, place
        assert not out.exists()
        # What was written stays; no more than the last row is written by half.
        written = part.read_bytes()
        assert written.startswith(before[: before.rfind(b"\n") + 1])
        assert undisturbed[layout].startswith(written)
    assert part.read_bytes() == undisturbed[layout]  # it was killed before the last rename
    done = subprocess.run(
        [sys.executable, "-m", "wbczoo", *command], cwd=tree, capture_output=True, check=False
    )
    # All rows count, whoever computed them.
    assert done.returncode == 3
    assert b"60 images answered, 4 refused" in done.stderr
    assert b"0 images in" in done.stderr
    assert out.read_bytes() == undisturbed[layout]
    # What was being written aside when it was killed stays, hidden.
    left = [path.name for path in tmp_path.iterdir() if not path.name.startswith(".rows.")]
    assert left == [out.name]


def _kill_from_outside(command: list[str], tree: Path, part: Path, wait: float) -> int:
    """Kill it a moment after it first wrote a row; its exit code."""
    before = part.stat().st_size
    with subprocess.Popen(
        [*command, "--workers", "1"], cwd=tree, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None and part.stat().st_size <= before:
            time.sleep(0.001)
        time.sleep(wait)
        process.kill()
    return process.returncode


def test_a_file_that_is_there_is_kept_until_it_is_given_up(
    model: Path,
    tree: Path,
    undisturbed: dict[str, bytes],
    wbczoo: Run,
    refusal: Refusal,
    tmp_path: Path,
) -> None:
    out = tmp_path / "rows.jsonl"
    part = tmp_path / "rows.jsonl.part"
    command = _command(model, out, "jsonl")
    out.write_text("mine")
    assert "is there already. Give --overwrite" in refusal(command)
    # A script that is run again is not stopped, and nothing is computed.
    assert "nothing is left to resume" in wbczoo(*command, "--resume", cwd=tree).stderr
    assert "give one" in refusal(command, "--resume", "--overwrite")
    assert out.read_text() == "mine"
    part.write_text("half")
    assert "--resume to go on" in refusal(command)
    assert "would tell what its rows" in refusal(command, "--resume")
    assert (out.read_text(), part.read_text()) == ("mine", "half")
    wbczoo(*command, "--overwrite", cwd=tree, expect=3)
    assert out.read_bytes() == undisturbed["jsonl"]
    assert not part.exists()
    picture_of = tree / "cells" / "00.png"
    assert "an image" in refusal(_command(model, picture_of, "csv", "--overwrite"))
    assert picture_of.read_bytes() == picture(0)
    assert "no ordinary file" in refusal(_command(model, tmp_path, "csv"))
    assert "with --out" in refusal(command[:-2], "--resume")


def test_only_rows_of_the_same_call_are_resumed_and_only_by_one(
    model: Path,
    tree: Path,
    undisturbed: dict[str, bytes],
    wbczoo: Run,
    refusal: Refusal,
    tmp_path: Path,
) -> None:
    out = tmp_path / "rows.jsonl"
    part = tmp_path / "rows.jsonl.part"
    command = _command(model, out, "jsonl", "--resume")
    killed = [sys.executable, str(KILLER), "half-row", "30", *command]
    assert subprocess.run(killed, cwd=tree, check=False).returncode == -signal.SIGKILL
    kept = part.read_bytes()
    other = tiny_export.write_model(tmp_path / "other" / "model.onnx", scale=2)
    assert "another model" in refusal(command, "--model", str(other))
    assert "another row format" in refusal(command, "--format", "csv")
    assert "another batch size" in refusal(command, "--batch-size", "3")
    fewer = [*command[:1], *command[2:]]  # the tar alone
    assert "Row 1 of" in refusal(fewer)
    few = ["predict", "cells/00.png", *command[3:]]
    assert "no further image" in refusal(few)
    with FileLock(tmp_path / "rows.jsonl.part.lock"):
        assert "another process" in refusal(command)
    assert part.read_bytes() == kept
    # A row that somebody edited, and a file that makes no sense.
    part.write_bytes(kept.replace(b'"path": "cells/03', b'"path": cells/03'))
    assert "Row 4 of" in refusal(command)
    part.write_bytes(kept)
    wbczoo(*command, cwd=tree, expect=3)
    assert out.read_bytes() == undisturbed["jsonl"]


def test_a_stopped_run_says_how_it_goes_on_and_a_full_disk_loses_no_row(
    model: Path, tree: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "rows.csv"
    part = tmp_path / "rows.csv.part"
    command = [sys.executable, "-m", "wbczoo", *_command(model, out, "csv")]
    full = ["bash", "-c", 'ulimit -f 2; exec "$@"', "-", *command]  # 2 KiB a file
    done = subprocess.run(full, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "--resume then goes on behind them" in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()
    assert undisturbed["csv"].startswith(part.read_bytes())
    part.unlink()
    with subprocess.Popen(
        [*command[:4], "-", *command[6:]],
        cwd=tree, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write("".join(f"cells/{number:02}.png\n" for number in range(13)))
        process.stdin.flush()
        while not part.exists() or b"00.png" not in part.read_bytes():
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)  # a shell in the background ignores SIGINT
        assert "--resume" in process.stderr.read()
    assert process.returncode == 130
    # A list is resumed like anything else, if it is the same.
    again = [*command[:4], "-", *command[6:], "--resume"]
    names = "".join(f"cells/{number:02}.png\n" for number in range(30))
    done = subprocess.run(again, cwd=tree, input=names, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    rows = out.read_text().splitlines()
    assert [row.partition(",")[0] for row in rows[1:]] == names.split()


def test_json_lines_are_what_they_were(undisturbed: dict[str, bytes]) -> None:
    rows = [json.loads(line) for line in undisturbed["jsonl"].splitlines()]
    assert len(rows) == 64
    assert rows[32]["path"].startswith("more.tar.gz/inside/")
    by_name = {row["path"].removeprefix("more.tar.gz/inside/"): row for row in rows[32:]}
    assert all(
        by_name[row["path"].removeprefix("cells/")].keys() == row.keys() for row in rows[:32]
    )

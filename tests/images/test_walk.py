"""Archives among other sources, and lists on stdin that grow while they are read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Completed
from tiny_archives import IMAGES, write_tar, write_zip
from tiny_images import picture

from wbczoo.errors import UsageError
from wbczoo.images.walk import Images, read_list
from wbczoo.runtime import find_images

Run = Callable[..., Completed]


def test_archives_stand_among_other_sources_and_a_folder_s_are_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    write_zip(Path("in/cells.zip"))
    write_tar(Path("in/more.tar.gz"), {"./x/5.png": picture(5)})
    Path("in/0.png").write_bytes(picture(0))
    assert find_images(["in"]) == ["in/0.png"]
    mixed = [str(image) for image in find_images(["in/0.png", "in/*.zip", "in/0.png", "in/*gz"])]
    zipped = [f"in/cells.zip/{name}" for name in sorted(IMAGES)]
    assert mixed == ["in/0.png", *zipped, "in/0.png", "in/more.tar.gz/x/5.png"]
    assert Images(["in/0.png", "in/cells.zip", "in"]).total == 5


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes of that kind")
def test_a_pipe_that_is_named_like_an_archive_is_an_image_to_refuse(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "endless.zip")
    assert find_images([str(tmp_path / "endless.zip")]) == [str(tmp_path / "endless.zip")]


def test_a_list_is_read_line_by_line_or_by_nul() -> None:
    class Pieces:
        def __init__(self, content: bytes, size: int) -> None:
            self._rest, self._size = content, size

        def read1(self, size: int, /) -> bytes:
            piece, self._rest = self._rest[: self._size], self._rest[self._size :]
            return piece

    lines = b"\xef\xbb\xbfa.png\r\n\n b c.png\ncaf\xe9.png\n\nlast.png"
    expected = ["a.png", " b c.png", os.fsdecode(b"caf\xe9.png"), "last.png"]
    for size in (1, 5, 1000):
        assert list(read_list(Pieces(lines, size))) == expected
    named = b"a\nb.png\0\0c.png\r\0d.png"
    for size in (1, 1000):
        assert list(read_list(Pieces(named, size), null=True)) == ["a\nb.png", "c.png\r", "d.png"]
    with pytest.raises(UsageError, match="no list of paths"):
        list(read_list(Pieces(bytes(5 << 20), 1 << 16)))


def test_listed_images_are_answered_before_the_list_ends(model: Path, tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    command = [sys.executable, "-m", "wbczoo", "predict", "7.png", "-", "--model", str(model),
               "--device", "cpu", "--batch-size", "1"]  # fmt: skip
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("0.png\ngone.png\n\n1.png\n2.png\n")
        process.stdin.flush()
        rows = [json.loads(process.stdout.readline()) for _ in range(3)]
        assert process.poll() is None
        process.stdin.write("3.png")
        process.stdin.close()
        rows += [json.loads(line) for line in process.stdout]
    assert process.returncode == 3
    assert [row["path"][0] for row in rows] == ["7", "0", "g", "1", "2", "3"]
    assert rows[2] == {"path": "gone.png", "error": "The file is not there."}
    assert ["error" in row for row in rows].count(True) == 1


def test_what_a_list_cannot_be_is_wrong_usage(wbczoo: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(0))
    told = wbczoo("predict", "a.png", "--null", "--model", model, cwd=tmp_path, expect=2).stderr
    assert "--null speaks of a list" in told
    told = wbczoo("predict", "-", "-", "--model", model, cwd=tmp_path, expect=2).stderr
    assert "only once" in told


def test_differential_reads_the_same_sources(wbczoo: Run, model: Path, tmp_path: Path) -> None:
    write_zip(tmp_path / "cells.zip")
    done = wbczoo("differential", "cells.zip", "--model", model, "--by", "folder", "--json",
                  "--device", "cpu", cwd=tmp_path)  # fmt: skip
    groups = json.loads(done.stdout)["groups"]
    assert [group["name"] for group in groups] == ["cells.zip/a", "cells.zip/b"]
    assert [group["images"] for group in groups] == [1, 2]
    whole = write_tar(tmp_path / "cells.tar").read_bytes()
    (tmp_path / "cells.tar").write_bytes(whole[:2000])
    done = wbczoo("differential", "cells.tar", "--model", model, cwd=tmp_path, expect=1)
    assert "cells.tar: The archive cannot be read from here on" in done.stderr

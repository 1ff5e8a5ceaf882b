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

from wbczoo import registry
from wbczoo.data.samples import read_rows
from wbczoo.errors import UsageError
from wbczoo.images.listed import read_list
from wbczoo.images.tree import Tree
from wbczoo.images.walk import Images
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


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def test_linked_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    disk = make(tmp_path / "disk", "cells/1.png", "cells/deep/2.png")
    root = make(tmp_path / "root", "own/0.png")
    (root / "eosinophil").symlink_to(disk / "cells")
    (root / "neutrophil").symlink_to(disk / "cells")  # two links to one folder lose no class
    (disk / "cells" / "back").symlink_to(root)  # a loop that leads through another disk
    (root / "self").symlink_to(root / "self")
    (root / "up").symlink_to("/")
    (root / "gone").symlink_to(tmp_path / "nowhere")
    expected = [
        f"{name}/{file}"
        for name in ("eosinophil", "neutrophil")
        for file in ("1.png", "deep/2.png")
    ]
    tree, images = Tree(root), Images([str(root)])
    assert list(tree.names) == [*expected, "own/0.png"]
    assert [*images] == [f"{root}/{name}" for name in tree.names]
    # `root/eosinophil/back` and its twin, and `up`; `self` and `gone` lead nowhere.
    assert tree.links == images.passed_over
    assert tree.links == {"links that lead back": 3, "links to nothing": 2}


def test_a_pattern_through_links_in_a_circle_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = make(Path("root"), "a.png", "sub/b.png", "sub/[1]/c.png", "sub/n.txt", ".no/d.png")
    for name in ("up", "again"):
        (root / "sub" / name).symlink_to("..")  # two of them, and glob would not end
    (root / "other").symlink_to("sub")
    inside = ["sub/[1]/c.png", "sub/b.png"]
    every = [*(name.replace("sub", "other") for name in inside), *inside]
    for pattern, expected in (
        ("root/**/*.png", ["root/a.png", *(f"root/{name}" for name in every)]),
        ("**/c.png", ["root/other/[1]/c.png", "root/sub/[1]/c.png"]),
        ("ro*/**/sub/**/*.png", [f"root/{name}" for name in inside]),
        ("root/**/[[]1]", ["root/other/[1]/c.png", "root/sub/[1]/c.png"]),
        (f"{tmp_path}/**/a.png", [f"{tmp_path}/root/a.png"]),
    ):
        assert find_images([pattern]) == expected, pattern
    assert sorted(find_images(["root/**"])) == sorted(
        ["root/a.png", *(f"root/{name}" for name in every), "root/other/n.txt", "root/sub/n.txt"]
    )
    with pytest.raises(UsageError, match="matches no image"):
        find_images(["nowhere/**/*.png"])


def test_one_list_says_what_an_image_is_and_the_others_are_counted(tmp_path: Path) -> None:
    taken = ["a/1.jpe", "a/2.jfif", "a/3.JPG", "b/4.webp"]
    other = ["a/5.heic", "b/6.HEIC", "b/7.txt", "b/README"]
    clutter = ["a/.hidden.png", "a/@eaDir/1.png", "__MACOSX/a/1.png", ".git/2.png"]
    root = make(tmp_path / "root", *taken, *other, *clutter)
    write_zip(tmp_path / "all.zip", dict.fromkeys((*taken, *other, *clutter), b"x"))
    write_tar(tmp_path / "all.tar", dict.fromkeys((*taken, *other, *clutter), b"x"))
    counted = {".heic": 2, ".txt": 1, "without a suffix": 1}
    for given in (root, tmp_path / "all.zip", tmp_path / "all.tar"):
        images = Images([str(given)])
        assert [str(image).removeprefix(f"{given}/") for image in images] == taken
        assert images.passed_over == counted
    for given in (root, tmp_path / "all.zip"):
        assert Tree(given).images() == taken
        rows = read_rows(registry.datasets.spec("folder"), given)
        assert [sample.path for sample in rows.samples] == taken
        assert rows.passed_over == counted


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
    counted = "passed over, being no images: 1 .txt"
    assert counted in done.stderr
    done = wbczoo("predict", "cells.zip", "--model", model, "--device", "cpu", cwd=tmp_path)
    assert counted in done.stderr
    whole = write_tar(tmp_path / "cells.tar").read_bytes()
    (tmp_path / "cells.tar").write_bytes(whole[:2000])
    done = wbczoo("differential", "cells.tar", "--model", model, cwd=tmp_path, expect=1)
    assert "cells.tar: The archive cannot be read from here on" in done.stderr

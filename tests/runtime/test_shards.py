"""Rows of several machines, whoever was stopped and went on, are the bytes of one machine's."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import drawn_fields
import pytest
import tiny_export
from commands import Completed
from tiny_images import picture

from wbczoo.errors import UsageError, WbczooError
from wbczoo.runtime import Session
from wbczoo.runtime.cells import Cells
from wbczoo.runtime.part_file import part_of
from wbczoo.runtime.resume import write_rows
from wbczoo.runtime.rows import Layout
from wbczoo.runtime.shards import Dealt, Shard, merge, told_by

Advance = Callable[[int], object]


class StoppedError(Exception):
    """What stops a machine in these tests."""


@contextmanager
def unwatched(before: int) -> Iterator[Advance]:
    yield int


@contextmanager
def stopping(before: int) -> Iterator[Advance]:
    """Stops behind the second image that it sees."""
    seen = 0

    def advance(more: int) -> None:
        nonlocal seen
        seen += more
        if seen == 2:
            raise StoppedError

    yield advance


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Session]:
    """Models whose answers depend on what else is in the batch: of images, and of cells."""
    folder = tmp_path_factory.mktemp("company")
    return {
        "images": Session(tiny_export.write_model(folder / "images.onnx", company=True)),
        "cells": Session(drawn_fields.write_model(folder / "cells.onnx", company=True)),
    }


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Fields with none, one and several cells, one damaged, some named twice."""
    paths = drawn_fields.write_fields(tmp_path_factory.mktemp("fields"))
    return [*paths, *paths[:3], paths[0], paths[0], *paths[3:]]


@pytest.mark.parametrize("layout", ["jsonl", "csv"])
@pytest.mark.parametrize("cells", [None, "one", "all"])
@pytest.mark.parametrize("of", [3, 9])
def test_merged_rows_are_the_bytes_of_one_machine(
    sessions: dict[str, Session], fields: list[Path], tmp_path: Path, layout: Layout,
    cells: Cells | None, of: int,
) -> None:  # fmt: skip
    session = sessions["images" if cells is None else "cells"]

    def write(name: str, shard: Shard | None = None, watch=unwatched, resume=False) -> Path:  # type: ignore[no-untyped-def]
        write_rows(
            tmp_path / name, session, iter(fields), layout=layout, batch_size=2, workers=2,
            cells=cells, shard=shard, watch=watch, resume=resume,
        )  # fmt: skip
        return tmp_path / name

    whole = write("whole")
    parts = []
    for number in range(1, of + 1):
        shard, name = Shard(number, of), f"{number}.rows"
        try:
            write(name, shard, stopping)
        except StoppedError:
            assert not (tmp_path / name).exists()
            write(name, shard, resume=True)
        parts.append(tmp_path / name)
    assert merge(parts[::-1], tmp_path / "merged") == len(fields)
    assert (tmp_path / "merged").read_bytes() == whole.read_bytes()


def test_each_image_is_dealt_once_in_whole_blocks() -> None:
    images = [f"{n}.png" for n in range(23)]
    shares = [[*Dealt(images, Shard(number, 3), 4)] for number in (1, 2, 3)]
    assert sorted((image for share in shares for image in share), key=images.index) == images
    assert shares[1] == images[4:8] + images[16:20]
    for number, share in enumerate(shares, 1):
        assert Shard(number, 3).count(len(images), 4) == len(share)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", "1/2/3", "١/2"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="A shard is i/n"):
        Shard.parse(text)


@pytest.fixture(scope="module")
def written(
    model: Path, tmp_path_factory: pytest.TempPathFactory, wbczoo: Callable[..., Completed]
) -> Path:
    """A folder with `images` and the rows `1.rows` and `2.rows` of two shards, by the command."""
    folder = tmp_path_factory.mktemp("written")
    (folder / "images").mkdir()
    for number in range(9):
        (folder / "images" / f"{number}.png").write_bytes(picture(number))
    predict_shards(wbczoo, folder, model)
    return folder


def predict_shards(
    wbczoo: Callable[..., Completed], folder: Path, model: Path, *more: object
) -> None:
    for number in (1, 2):
        wbczoo(
            "predict", "images", "--model", model, "--device", "cpu", "--shard", f"{number}/2",
            "--batch-size", 2, "--out", f"{number}.rows", *more, cwd=folder,
        )  # fmt: skip


@pytest.fixture
def parts(written: Path, tmp_path: Path) -> list[Path]:
    copied = shutil.copytree(written, tmp_path / "copied")
    return [copied / "1.rows", copied / "2.rows"]


def test_the_command_merges_what_the_command_wrote(
    written: Path, model: Path, wbczoo: Callable[..., Completed]
) -> None:
    wbczoo("predict", "images", "--model", model, "--device", "cpu", "--batch-size", 2,
           "--out", "whole", cwd=written)  # fmt: skip
    told = wbczoo("merge", "2.rows", "1.rows", "--out", "merged", cwd=written).stderr
    assert "9 images of 2 shards" in told
    assert (written / "merged").read_bytes() == (written / "whole").read_bytes()
    wbczoo("merge", "2.rows", "1.rows", "--out", "merged", cwd=written, expect=2)


def test_parts_that_do_not_belong_together_are_told_apart(
    parts: list[Path], model: Path, tmp_path: Path, wbczoo: Callable[..., Completed]
) -> None:
    out = tmp_path / "merged"
    first, second = parts
    with pytest.raises(UsageError, match=r"missing: 2/2"):
        merge([first], out)
    with pytest.raises(UsageError, match="the same shard"):
        merge([first, first], out)
    with pytest.raises(UsageError, match="is to be read"):
        merge(parts, first, overwrite=True)
    folder = first.parent
    predict_shards(wbczoo, folder, model, "--overwrite", "--format", "csv")
    shutil.move(folder / "1.rows", tmp_path / "csv.rows")
    shutil.move(told_by(folder / "1.rows"), told_by(tmp_path / "csv.rows"))
    predict_shards(wbczoo, folder, model, "--overwrite")
    with pytest.raises(UsageError, match="made by another row format"):
        merge([tmp_path / "csv.rows", second], out)
    (folder / "images" / "9.png").write_bytes(picture(9))
    shutil.copy(first, tmp_path / "eight.rows")
    shutil.copy(told_by(first), told_by(tmp_path / "eight.rows"))
    predict_shards(wbczoo, folder, model, "--overwrite")
    with pytest.raises(UsageError, match="different lists of images"):
        merge([tmp_path / "eight.rows", second], out)
    second.write_bytes(second.read_bytes()[:-9])
    with pytest.raises(WbczooError, match="not as it was written"):
        merge(parts, out)
    second.rename(part_of(second))
    with pytest.raises(UsageError, match="no finished part"):
        merge(parts, out)
    assert not out.exists()


@pytest.mark.nightly
def test_killed_at_twenty_moments_and_resumed_the_bytes_are_the_same(
    model: Path, written: Path, tmp_path: Path
) -> None:
    paths = [str(path) for path in sorted((written / "images").iterdir())] * 500
    (tmp_path / "list").write_text("\n".join(paths))
    chance = random.Random(0)

    def start(name: str, *more: str) -> subprocess.Popen[bytes]:
        with (tmp_path / "list").open() as listed:
            return subprocess.Popen(
                [sys.executable, "-m", "wbczoo", "predict", "-", "--model", str(model), "--device",
                 "cpu", "--out", str(tmp_path / name), *more],
                stdin=listed, stderr=subprocess.DEVNULL,
            )  # fmt: skip

    def rows(name: str) -> int:
        part = part_of(tmp_path / name)
        return part.read_bytes().count(b"\n") if part.exists() else 0

    assert start("whole").wait() == 0
    for number in (1, 2):
        name, shard = f"{number}.rows", ("--shard", f"{number}/2", "--resume")
        for _ in range(10):
            # Somewhere in a tenth of the way, so that ten kills fit into it.
            until = rows(name) + chance.randrange(len(paths) // 22)
            process = start(name, *shard)
            while rows(name) < until:
                assert process.poll() is None
                time.sleep(0.001)
            process.kill()
            process.wait()
        assert start(name, *shard).wait() == 0
    merge([tmp_path / "1.rows", tmp_path / "2.rows"], tmp_path / "merged")
    assert (tmp_path / "merged").read_bytes() == (tmp_path / "whole").read_bytes()

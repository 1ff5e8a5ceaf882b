"""Rows of a cluster are the bytes of one machine's, whichever of its workers dies."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import drawn_fields
import numpy as np
import psutil
import pytest
from commands import Completed
from tiny_archives import write_tar
from tiny_images import picture

from wbczoo.runtime.part_file import part_of

pytest.importorskip("ray")


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, one that is none, and a tar file, named by a list for stdin."""
    folder = tmp_path_factory.mktemp("cluster")
    for number in range(9):
        (folder / f"{number}.png").write_bytes(picture(number))
    (folder / "9.png").write_bytes(b"")
    write_tar(folder / "more.tar")
    paths = [str(folder / f"{n % 10}.png") for n in range(3000)]
    (folder / "list").write_text("\n".join(paths))
    return folder


def start(listed: Path, model: Path, out: Path, *more: str) -> subprocess.Popen[bytes]:
    with (listed / "list").open() as stdin:
        return subprocess.Popen(
            [sys.executable, "-m", "wbczoo", "predict", "-", str(listed / "more.tar"), "--model",
             str(model), "--device", "cpu", "--out", str(out), *more],
            stdin=stdin, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def rows(out: Path) -> int:
    part = part_of(out)
    return part.read_bytes().count(b"\n") if part.exists() else 0


def workers(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The processes in which a local cluster answers."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if "ray::_Worker" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:  # it has ended meanwhile
            continue
    return found


@pytest.mark.nightly
def test_workers_and_the_driver_killed_the_rows_are_those_of_one_machine(
    listed: Path, model: Path, tmp_path: Path
) -> None:
    assert start(listed, model, tmp_path / "whole").wait() == 3
    out, chance = tmp_path / "rows", random.Random(0)
    for kill_driver in (True, True, True, True, False):
        process = start(listed, model, out, "--ray", "--resume")
        until = rows(out)
        for _ in range(4):
            until += chance.randrange(40, 130)
            while rows(out) < until or not (alive := workers(process)):
                assert process.poll() is None
                time.sleep(0.005)
            os.kill(chance.choice(alive).pid, signal.SIGKILL)
        if kill_driver:
            process.kill()
            process.wait()
    assert process.wait() == 3
    assert out.read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.nightly
def test_cells_and_features_of_a_cluster_are_those_of_one_machine(
    listed: Path, model: Path, tmp_path: Path, wbczoo: Callable[..., Completed]
) -> None:
    images = (*sorted(drawn_fields.write_fields(tmp_path)), listed, listed / "more.tar")
    for layout in ("jsonl", "csv"):
        for name, more in (("here", ()), ("cluster", ("--ray",))):
            out = tmp_path / f"{name}.{layout}"
            wbczoo("locate", *images, "--format", layout, "--out", out, *more, expect=3)
        assert (tmp_path / f"cluster.{layout}").read_bytes() == out.with_stem("here").read_bytes()
    for name, more in (("here", ()), ("cluster", ("--ray",))):
        out = tmp_path / f"{name}.npz"
        asked = ("features", model, *images, "--layer", "fused", "--device", "cpu")
        wbczoo(*asked, "--out", out, *more, expect=3)
    with np.load(tmp_path / "here.npz") as here, np.load(tmp_path / "cluster.npz") as there:
        assert {*here} == {*there}
        for column in here:
            np.testing.assert_array_equal(here[column], there[column])


def test_a_cluster_is_for_rows_in_a_file(
    listed: Path, model: Path, tmp_path: Path, wbczoo: Callable[..., Completed]
) -> None:
    for more in ((), ("--out", tmp_path / "rows", "--draw", tmp_path / "drawn")):
        for verb in (("predict", "--model", model), ("locate",)):
            told = wbczoo(*verb, listed / "0.png", *more, "--ray", expect=2)
            assert "--ray computes rows for a file" in told.stderr

"""Processor time, memory and bytes of predict over ever more images, and the line that they lie on.

    python tools/measure_scale.py --model exports/b --counts 1000 10000 100000

draws small images, answers so many of them, fits `start + images / speed` to the two smaller
counts, and says how far the largest lies from it. With --ray it compares a local Ray cluster with
as many shards at the same time, in turn: images a second with the start and, by the difference of
two counts, without it, and the largest memory of each kind of process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import IO

import numpy as np
import psutil
from PIL import Image

DIFFERENT = 1000  # images; the others are further names of these


def say(line: str) -> None:
    """A figure, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def draw(folder: Path, count: int) -> None:
    """So many JPEG files of 96x96 pixels, a thousand in a folder."""
    chance = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number // DIFFERENT:04d}" / f"{number % DIFFERENT:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number < DIFFERENT:
            pixels = chance.integers(0, 255, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((96, 96), Image.Resampling.BICUBIC).save(path)
        else:
            os.link(folder / "0000" / path.name, path)


def start(
    images: Path | str, model: str, out: Path, *more: str, stdin: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    """A prediction, on its way."""
    return subprocess.Popen(
        [sys.executable, "-m", "wbczoo", "predict", str(images), "--model", model, "--device",
         "cpu", "--out", str(out), *more],
        stdin=stdin, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def finish(process: subprocess.Popen[bytes]) -> tuple[float, float]:
    """Its seconds of processor, and its largest memory in MB; SystemExit if it failed."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{process.args!r} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3


def measure(folder: Path, model: str, counts: list[int]) -> None:
    """A line for each count, and how well the last is foretold.

    What is foretold is the processor's time, which other work on the machine changes little.
    """
    points = []
    for count in counts:
        images = folder / f"{count}"
        draw(images, count)
        begun = time.perf_counter()
        seconds, memory = finish(start(images, model, folder / "rows"))
        took = time.perf_counter() - begun
        size = (folder / "rows").stat().st_size
        (folder / "rows").unlink()
        points.append((count, seconds, memory))
        say(
            f"{count} images: {seconds:.1f} s of processor in {took:.1f} s, "
            f"{memory:.0f} MB, {size / count:.0f} bytes a row"
        )
    (fewer, first, low), (more, second, high), *_ = points
    each, memory_each = (second - first) / (more - fewer), (high - low) / (more - fewer)
    say(f"{first - each * fewer:.2f} s to start and {1e3 * each:.2f} ms an image behind that")
    for count, seconds, memory in points[2:]:
        told, room = first + each * (count - fewer), low + memory_each * (count - fewer)
        say(
            f"{count} images: {told:.1f} s foretold, measured / foretold {seconds / told:.2f}; "
            f"{room:.0f} MB foretold, {memory:.0f} measured"
        )


def peak(pid: int) -> float:
    """The largest memory of a process so far in MB; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return max(
        (int(each.split()[1]) / 1e3 for each in lines if each.startswith("VmHWM")), default=0
    )


def workers_of(pid: int) -> list[int]:
    """The processes in which a local cluster of a run computes."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if "ray::_Worker" in " ".join(child.cmdline()):
                found.append(child.pid)
        except psutil.Error:  # it has ended meanwhile
            continue
    return found


def together(listed: Path, model: str, out: Path, ways: list[list[str]]) -> tuple[float, ...]:
    """The seconds that predictions of a list take at once, and the largest memory of one of them
    and of a worker of Ray.
    """
    begun = time.perf_counter()
    running = []
    for number, more in enumerate(ways):
        with listed.open("rb") as stdin:
            running.append(start("-", model, Path(f"{out}.{number}"), *more, stdin=stdin))
    own = of_workers = 0.0
    for process in running:
        while True:
            try:
                if process.wait(timeout=1):
                    raise SystemExit(f"{process.args!r} ended with {process.returncode}")
                break
            except subprocess.TimeoutExpired:
                own = max(own, *(peak(each.pid) for each in running))
                of_workers = max([of_workers, *map(peak, workers_of(process.pid))])
    return time.perf_counter() - begun, own, of_workers


def compare(folder: Path, model: str, counts: list[int], turns: int) -> None:
    """Images a second of a cluster over those of shards, in turn, and without the start."""
    cores = len(os.sched_getaffinity(0))
    shares = [["--shard", f"{n}/{cores}", "--workers", "1"] for n in range(1, cores + 1)]
    ways = {"shards": shares, "--ray": [["--ray"]]}
    draw(folder / "images", DIFFERENT)
    images = sorted((folder / "images").rglob("*.jpg"))
    ratios: list[list[float]] = []
    for turn in range(turns):
        took = {}
        for count in counts:
            listed = folder / f"{count}"
            listed.write_text("\n".join(str(images[n % DIFFERENT]) for n in range(count)))
            for way, options in ways.items():
                out = folder / f"{turn}{way}{count}"
                took[way, count], own, worker = together(listed, model, out, options)
                say(f"{count} images, {way}: {took[way, count]:.1f} s, {own:.0f} MB"
                    + (f", a worker {worker:.0f} MB" if worker else ""))  # fmt: skip
        whole = [took["shards", count] / took["--ray", count] for count in counts]
        behind = [
            (took["shards", more] - took["shards", few])
            / (took["--ray", more] - took["--ray", few])
            for few, more in pairwise(counts)
        ]
        ratios.append([*whole, *behind])
    found = np.median(ratios, axis=0)
    for count, ratio in zip(counts, found, strict=False):
        say(f"--ray / shards, images/s of {count}, starting and all: {ratio:.2f}")
    for (few, more), ratio in zip(pairwise(counts), found[len(counts) :], strict=True):
        say(f"--ray / shards, images/s from {few} to {more}: {ratio:.2f}")


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 10000, 100000])
    parser.add_argument("--ray", action="store_true", help="compare a cluster with shards")
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if given.ray:
            compare(Path(name), given.model, given.counts, given.turns)
        else:
            measure(Path(name), given.model, given.counts)


if __name__ == "__main__":
    main()

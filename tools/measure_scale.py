"""Processor time, memory and bytes of predict over ever more images, and the line that they lie on.

    python tools/measure_scale.py --model exports/b --counts 1000 10000 100000

draws small images, answers so many of them, fits `start + images / speed` to the two smaller
counts, and says how far the largest lies from it. With --ray it compares a local Ray cluster with
as many shards at the same time, in turn.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
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


def start(images: Path, model: str, out: Path, *more: str) -> subprocess.Popen[bytes]:
    """A prediction, on its way."""
    return subprocess.Popen(
        [sys.executable, "-m", "wbczoo", "predict", str(images), "--model", model, "--device",
         "cpu", "--out", str(out), *more],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


def finish(process: subprocess.Popen[bytes]) -> tuple[float, float]:
    """Its seconds of processor, and its largest memory in MB; SystemExit if it failed."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{process.args} ended with {process.returncode}")
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


def compare(folder: Path, model: str, count: int, turns: int) -> None:
    """The images a second of a cluster over those of shards, in turn; and without the start."""
    cores = len(os.sched_getaffinity(0))
    shares = [("--shard", f"{n}/{cores}", "--workers", "1") for n in range(1, cores + 1)]
    ways = {"shards": shares, "--ray": [("--ray",)]}
    few = count // 4
    for images in (few, count):
        draw(folder / f"{images}", images)
    for turn in range(turns):
        took = {}
        for way, options in ways.items():
            for images in (few, count):
                begun = time.perf_counter()
                place = folder / f"{turn}{way}{images}"
                parts = [
                    start(folder / f"{images}", model, Path(f"{place}.{n}"), *more)
                    for n, more in enumerate(options)
                ]
                for part in parts:
                    finish(part)
                took[way, images] = time.perf_counter() - begun
            say(f"{way}: {took[way, few]:.1f} s for {few}, {took[way, count]:.1f} s for {count}")
        behind = [took[way, count] - took[way, few] for way in ways]
        whole = took["shards", count] / took["--ray", count]
        say(f"--ray / shards, images/s: {whole:.2f}; behind the start {behind[0] / behind[1]:.2f}")


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 10000, 100000])
    parser.add_argument("--ray", type=int, metavar="IMAGES", help="compare with so many images")
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if given.ray:
            compare(Path(name), given.model, given.ray, given.turns)
        else:
            measure(Path(name), given.model, given.counts)


if __name__ == "__main__":
    main()

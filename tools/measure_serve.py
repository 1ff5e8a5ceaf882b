"""What `wbczoo serve` costs beside `predict` and beside a `Session` alone, each pair in turn.

    python tools/measure_serve.py smears/test --model report-2020

starts a server of its own and prints, for each turn, images a second and processor time an image of
32 callers and of `predict` on the same files, the latter without its start; then how much later
than by `Session` alone one caller is answered, image by image in turn. Ratios of one run mean
something on a busy machine too. With `--overload SECONDS` it sends so many callers that nine in
ten find no place, and prints their waits beside what the queue and one batch take, and the
server's memory.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from wbczoo.runtime import devices
from wbczoo.runtime.predict import load

PORT = 8377
PLACES = 32
BATCH = 8


def say(line: str) -> None:
    """A figure, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@contextmanager
def serving(model: str, *more: str) -> Iterator[psutil.Process]:
    """A server that listens, stopped at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "wbczoo", "serve", model, "--port", str(PORT), "--device", "cpu",
         *more],
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    while b"listening" not in process.stderr.readline():
        pass
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def callers(folder: Path, number: int, seconds: float) -> subprocess.Popen[str]:
    """So many callers, on their way."""
    load_tool = Path(__file__).with_name("serve_load.py")
    return subprocess.Popen(
        [sys.executable, str(load_tool), f"http://127.0.0.1:{PORT}", str(folder), "--callers",
         str(number), "--seconds", str(seconds)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def told(asking: subprocess.Popen[str]) -> Any:
    """What callers found."""
    return json.loads(asking.communicate()[0])


def predict(listed: list[Path], model: str) -> tuple[float, float]:
    """Images a second of `wbczoo predict` behind its start, and its seconds of processor."""
    with tempfile.TemporaryDirectory() as place:
        process = subprocess.Popen(
            [sys.executable, "-m", "wbczoo", "predict", "-", "--model", model, "--device", "cpu",
             "--out", f"{place}/rows"],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write("\n".join(map(str, listed)).encode())
        process.stdin.close()
        said = process.stderr.read().decode()
        _, _, used = os.wait4(process.pid, 0)
    return float(said.split("images/s")[0].split(",")[-1]), used.ru_utime + used.ru_stime


def compare(folder: Path, model: str, turns: int, seconds: float) -> None:
    """32 callers and `predict` on as many images, in turn; then one caller."""
    paths = sorted(folder.rglob("*.jpg"))
    with serving(model) as server:
        told(callers(folder, 32, 2))
        ratios = []
        for _ in range(turns):
            before = sum(server.cpu_times()[:2])
            found = told(callers(folder, 32, seconds))
            speed, images = found["images_per_second"], found["statuses"]["200"]
            cost = 1000 * (sum(server.cpu_times()[:2]) - before) / images
            listed = [paths[n % len(paths)] for n in range(images)]
            other, used = predict(listed, model)
            few = len(listed) // 5
            other_cost = 1000 * (used - predict(listed[:few], model)[1]) / (images - few)
            ratios.append((speed / other, other_cost / cost))
            say(f"32 callers: {speed:.1f} images/s, {cost:.1f} ms of processor an image, and "
                f"{found['caller_ms']} of the callers; predict: {other:.1f} images/s, "
                f"{other_cost:.1f} ms")  # fmt: skip
        speeds, costs = np.median(ratios, axis=0)
        say(f"serve / predict, median: {speeds:.2f} by the clock, {costs:.2f} by the processor")
        one_caller(folder, model, 120)


def one_caller(folder: Path, model: str, times: int) -> None:
    """How much later an answer comes than by a session in this process."""
    images = [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))]
    session = load(model, device="cpu", threads=1)
    connection = http.client.HTTPConnection("127.0.0.1", PORT)
    bare = socket.create_connection(("127.0.0.1", PORT))
    head = b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
    taken: dict[str, list[float]] = {"alone": [], "http.client": [], "a bare socket": []}
    for number in range(times):
        image = images[number % len(images)]
        for way, each in taken.items():
            begun = time.perf_counter()
            if way == "alone":
                session.predict([image])
            elif way == "http.client":
                connection.request("POST", "/v1/predict", image)
                connection.getresponse().read()
            else:
                bare.sendall(head % len(image) + image)
                answer = b""
                while not answer.endswith(b"}]}\n"):  # the end of a document with rows
                    answer += bare.recv(1 << 16)
            each.append(1000 * (time.perf_counter() - begun))
    alone = taken.pop("alone")
    for way, each in taken.items():
        later = [np.percentile(each, q) - np.percentile(alone, q) for q in (50, 95)]
        say(f"one caller by {way}, beyond Session alone: {later[0]:.1f} ms at the median, "
            f"{later[1]:.1f} ms at the 95th percentile ({np.median(alone):.1f} alone)")  # fmt: skip


def overload(folder: Path, model: str, seconds: float) -> None:
    """Ten callers for each place."""
    with serving(model, "--queue", str(PLACES), "--max-batch", str(BATCH)) as server:
        asking = callers(folder, 10 * PLACES, seconds)
        time.sleep(min(15, seconds / 2))
        early = server.memory_info().rss / 1e6
        found = told(asking)
        late = server.memory_info().rss / 1e6
    each = 1000 / found["images_per_second"]
    at_once = BATCH * devices.cores()  # each core computes a batch of its own, beside the others
    say(f"{found['statuses']}; memory {early:.1f} MB at first, {late:.1f} MB at the end")
    say(f"waits: median {found['median_ms']:.0f}, p95 {found['p95_ms']:.0f}, p99 "
        f"{found['p99_ms']:.0f} ms; a full queue takes {PLACES * each:.0f} ms, a batch "
        f"{at_once * each:.0f}")  # fmt: skip
    # Where other work changes the machine's speed meanwhile, all waits together say little.
    under = [p99 <= (PLACES + at_once) * 10_000 / count for count, p99 in found["windows"]]
    say(f"p99 under both in {sum(under)} of {len(under)} windows of ten seconds")


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--overload", type=float, metavar="SECONDS")
    given = parser.parse_args()
    if given.overload:
        overload(given.folder, given.model, given.overload)
    else:
        compare(given.folder, given.model, given.turns, given.seconds)


if __name__ == "__main__":
    main()

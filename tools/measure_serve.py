"""What `wbczoo serve` costs beside `predict` and beside a `Session` alone, each pair in turn.

    python tools/measure_serve.py smears/test --model report-2020

starts a server of its own and prints, for each turn, images a second and processor time an image of
32 callers and of `predict` on the same files; then how much later than by `Session` alone one
caller is answered, image by image in turn. Ratios of one run mean something on a busy machine too.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from wbczoo.runtime.predict import load

PORT = 8377


def say(line: str) -> None:
    """A figure, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def callers(
    server: psutil.Process, folder: Path, number: int, seconds: float
) -> tuple[float, float]:
    """Images a second of so many callers, and the server's milliseconds of processor an image."""
    before = sum(server.cpu_times()[:2])
    load_tool = Path(__file__).with_name("serve_load.py")
    told = subprocess.run(
        [sys.executable, str(load_tool), f"http://127.0.0.1:{PORT}", str(folder), "--callers",
         str(number), "--seconds", str(seconds)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    found = json.loads(told)
    used = sum(server.cpu_times()[:2]) - before
    return found["images_per_second"], 1000 * used / found["statuses"]["200"]


def predict(folder: Path, model: str, images: int) -> tuple[float, float]:
    """The same of `wbczoo predict`, starting and all."""
    paths = sorted(folder.rglob("*.jpg"))
    listed = "\n".join(str(paths[n % len(paths)]) for n in range(images)).encode()
    with tempfile.TemporaryDirectory() as place:
        process = subprocess.Popen(
            [sys.executable, "-m", "wbczoo", "predict", "-", "--model", model, "--device", "cpu",
             "--out", f"{place}/rows"],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(listed)
        process.stdin.close()
        told = process.stderr.read().decode()
        _, _, used = os.wait4(process.pid, 0)
    speed = float(told.split("images/s")[0].split(",")[-1])
    return speed, 1000 * (used.ru_utime + used.ru_stime) / images


def one_caller(folder: Path, model: str, times: int) -> None:
    """How much later an answer comes than by a session in this process."""
    images = [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))]
    session = load(model, device="cpu", threads=1)
    connection = http.client.HTTPConnection("127.0.0.1", PORT)
    alone, served = [], []
    for number in range(times):
        image = images[number % len(images)]
        begun = time.perf_counter()
        session.predict([image])
        between = time.perf_counter()
        connection.request("POST", "/v1/predict", image)
        connection.getresponse().read()
        alone.append(1000 * (between - begun))
        served.append(1000 * (time.perf_counter() - between))
    later = [np.percentile(served, q) - np.percentile(alone, q) for q in (50, 95)]
    say(f"one caller beyond Session alone: {later[0]:.1f} ms at the median, {later[1]:.1f} ms at "
        f"the 95th percentile ({np.median(alone):.1f} ms alone)")  # fmt: skip


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15)
    given = parser.parse_args()
    process = subprocess.Popen(
        [sys.executable, "-m", "wbczoo", "serve", given.model, "--port", str(PORT), "--device",
         "cpu"],
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    while b"listening" not in process.stderr.readline():
        pass
    server = psutil.Process(process.pid)
    try:
        callers(server, given.folder, 32, 2)
        ratios = []
        for _ in range(given.turns):
            speed, cost = callers(server, given.folder, 32, given.seconds)
            other, other_cost = predict(given.folder, given.model, int(speed * given.seconds))
            ratios.append((speed / other, cost / other_cost))
            say(f"32 callers: {speed:.1f} images/s, {cost:.1f} ms of processor an image; predict: "
                f"{other:.1f} images/s, {other_cost:.1f} ms")  # fmt: skip
        speeds, costs = np.median(ratios, axis=0)
        say(f"serve / predict, median: images/s {speeds:.2f}, processor an image {costs:.2f}")
        one_caller(given.folder, given.model, 120)
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()

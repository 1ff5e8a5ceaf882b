"""Callers of `wbczoo serve`, many at once: images a second, waits and refusals.

    python tools/serve_load.py http://127.0.0.1:8000 smears/test --callers 32 --seconds 10

Each caller sends one image file at a time, as a raw body, and asks again as soon as it is answered;
after a 503 it waits for as long as Retry-After says.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import threading
import time
from collections import Counter
from itertools import count
from pathlib import Path

import numpy as np


def main() -> None:
    """Print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--path", default="/v1/predict")
    given = parser.parse_args()
    images = [path.read_bytes() for path in sorted(given.folder.rglob("*.jpg"))]
    statuses: Counter[int | str] = Counter()
    waits: list[float] = []
    turn = count()
    begun = time.perf_counter()
    end = begun + given.seconds

    def call() -> None:
        connection = http.client.HTTPConnection(given.server.removeprefix("http://"), timeout=120)
        while (sent := time.perf_counter()) < end:
            body = images[next(turn) % len(images)]
            try:
                connection.request("POST", given.path, body)
                response = connection.getresponse()
                response.read()
            except OSError as error:
                statuses[type(error).__name__] += 1
                connection.close()
                continue
            statuses[response.status] += 1
            if response.status == 200:
                waits.append(time.perf_counter() - sent)
            else:
                time.sleep(float(response.headers.get("Retry-After", 0)))
        connection.close()

    callers = [threading.Thread(target=call) for _ in range(given.callers)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    took = time.perf_counter() - begun
    median, p95, p99 = np.percentile(waits or [np.nan], [50, 95, 99]) * 1000
    told = {
        "callers": given.callers, "images_per_second": round(len(waits) / took, 2),
        "median_ms": round(median, 2), "p95_ms": round(p95, 2), "p99_ms": round(p99, 2),
        "statuses": {str(status): number for status, number in statuses.items()},
    }  # fmt: skip
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()

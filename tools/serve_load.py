"""Callers of `wbczoo serve`, many at once: images a second, waits and refusals.

    python tools/serve_load.py http://127.0.0.1:8000 smears/test --callers 32 --seconds 10

Each caller sends one image file at a time, as a raw body, and asks again as soon as it is answered;
after a 503 it waits for as long as Retry-After says. All of them are one thread, so that they take
little of the processor that they share with the server: `caller_ms` of it for a request.
`windows` are of ten seconds each: images that were answered, and the 99th percentile of the wait.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import numpy as np

WINDOW = 10  # seconds


class Load:
    """What callers send until `end`, and how they are answered."""

    def __init__(self, host: str, port: int, requests: Iterator[bytes], end: float) -> None:
        self.statuses: Counter[str] = Counter()
        self.waits: list[tuple[float, float]] = []  # when one was answered, and after how long
        self._host, self._port, self._requests, self._end = host, port, requests, end

    async def call(self) -> None:
        """One caller, on one connection for as long as that holds."""
        while time.perf_counter() < self._end:
            try:
                reader, writer = await asyncio.open_connection(self._host, self._port)
                try:
                    while (sent := time.perf_counter()) < self._end:
                        writer.write(next(self._requests))
                        status, after = await _answer(reader)
                        self.statuses[status] += 1
                        if status == "200":
                            now = time.perf_counter()
                            self.waits.append((now, now - sent))
                        else:
                            await asyncio.sleep(after)
                finally:
                    writer.close()
            except (OSError, EOFError) as error:
                self.statuses[type(error).__name__] += 1


async def _answer(reader: asyncio.StreamReader) -> tuple[str, float]:
    """The status, and the seconds after which to ask again."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
    told = dict(line.split(": ", 1) for line in head[1:-2])
    await reader.readexactly(int(told["content-length"]))
    return head[0].split()[1], float(told.get("retry-after", 0))


async def run(given: argparse.Namespace) -> None:
    """Print one line of JSON."""
    host, port = given.server.removeprefix("http://").split(":")
    head = f"POST {given.path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: "
    bodies = [path.read_bytes() for path in sorted(given.folder.rglob("*.jpg"))]
    requests = [b"%s%d\r\n\r\n%s" % (head.encode(), len(body), body) for body in bodies]
    begun, used = time.perf_counter(), time.process_time()
    load = Load(host, int(port), cycle(requests), begun + given.seconds)
    await asyncio.gather(*(load.call() for _ in range(given.callers)))
    took, used = time.perf_counter() - begun, time.process_time() - used
    ended, waits = np.array(load.waits or [(begun, np.nan)]).T
    median, p95, p99 = np.percentile(waits, [50, 95, 99]) * 1000
    windows = [
        [len(some), round(np.percentile(some, 99) * 1000)]
        for n in range(int(given.seconds / WINDOW))
        if len(some := waits[(ended - begun) // WINDOW == n])
    ]
    told = {
        "callers": given.callers, "images_per_second": round(len(load.waits) / took, 2),
        "median_ms": round(median, 2), "p95_ms": round(p95, 2), "p99_ms": round(p99, 2),
        "caller_ms": round(1000 * used / load.statuses.total(), 2), "statuses": load.statuses,
        "windows": windows,
    }  # fmt: skip
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--path", default="/v1/predict")
    asyncio.run(run(parser.parse_args()))

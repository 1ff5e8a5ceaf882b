"""How fast an exported model is on this machine's processor, measured for the card."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from wbczoo import machine
from wbczoo.exporting.example import LARGE
from wbczoo.images import Pixels
from wbczoo.runtime.devices import cores, import_onnxruntime
from wbczoo.runtime.session import Session

BATCH = 32

Speed = Literal["full", "short", "none"]

_SECONDS = 0.8  # of each of the two, at least one round
_ROUNDS = 100  # at most


def measure_speed(session: Session, images: Pixels, how: Speed = "full") -> dict[str, Any] | None:
    """Images/s in batches of 32 and the median latency of one image, with all cores.

    Above a megapixel, and where little time is to be spent, images come one by one.

    Args:
        session: on the CPU, with all cores.
        images: as the model reads them; they are cycled to fill a batch.
        how: `short` is one round, and `none` nothing.

    Returns:
        the figures, and the processor, cores, threads and version that they belong to; None if
        they are not wanted.
    """
    if how == "none":
        return None
    rounds = 1 if how == "short" else _ROUNDS
    size = BATCH if how == "full" and images[0].size <= 3 * LARGE else 1
    told = f"medians of up to {_ROUNDS} rounds within {_SECONDS} s"
    latency = seconds = _median_seconds(lambda: session.run(images[:1]), rounds)
    if size > 1:
        batch = images[np.arange(size) % len(images)]
        seconds = _median_seconds(lambda: session.run(batch), rounds)
    return {
        "images_per_second": round(size / seconds, 1),
        "batch": size,
        "latency_ms": round(1000 * latency, 2),
        "device": "cpu",
        "processor": machine.processor(),
        "cores": cores(),
        "threads": cores(),
        "onnxruntime": import_onnxruntime().__version__,
        "images": list(images.shape[1:]),
        "how": (
            f"{'one round' if how == 'short' else told}, after one that does not count, of the "
            "network alone on drawn images that are in memory; no decoding"
        ),
    }


def _median_seconds(work: Callable[[], object], rounds: int) -> float:
    seconds: list[float] = []
    started = time.perf_counter()
    work()
    if time.perf_counter() - started > _SECONDS:  # a large model: what was measured has to do
        return time.perf_counter() - started
    started = time.perf_counter()
    while len(seconds) < rounds and time.perf_counter() - started < _SECONDS:
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds))

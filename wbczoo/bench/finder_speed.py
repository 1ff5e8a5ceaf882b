"""How long the finder takes for fields of several sizes, beside what its network alone takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wbczoo import images, machine
from wbczoo.bench.fields import Field
from wbczoo.cells import find, network
from wbczoo.cells.slide import levels
from wbczoo.images import Pixels
from wbczoo.images.tree import Tree
from wbczoo.process import JobProcess

SIZES = ((640, 480), (1280, 960), (2560, 1920), (4000, 3000))  # (W, H)
_FIRST = SIZES[0]
_LIMIT = 600.0  # seconds for one size
_ALIGN = 32  # pixels: the sides that the network reads are multiples


def measure_speed(field: Field, sizes: Sequence[tuple[int, int]] = SIZES) -> list[dict[str, Any]]:
    """Time the finder on one thread, on a field that is laid out again and again to each size.

    Each size has a process of its own, which decodes before anything is timed. The bound is what
    onnxruntime takes for the network alone on levels of the same sizes, in turn with the finder.
    Both compute in the thread that asks, whose processor time is taken.

    Returns:
        for each size `width`, `height`, `cells`, the means `milliseconds` and
        `bound_milliseconds`, `of_bound` and `peak_megabytes` of the whole process.
    """
    found = []
    for width, height in sizes:
        job = {
            "root": str(field.source.root), "path": field.path, "size": [width, height],
            "network": str(network.NETWORK), "rounds": 15 if width <= 1280 else 5,
        }  # fmt: skip
        with JobProcess(f"{__name__}:time_field", _LIMIT) as alone:
            found.append({"width": width, "height": height, **alone.ask(job)})
    return found


def time_field(job: dict[str, Any]) -> dict[str, Any]:
    """The job of a process: read the field, lay it out, and time both by turns."""
    network.NETWORK = Path(job["network"])
    image = _laid_out(images.decode(Tree(Path(job["root"])).read(job["path"])), *job["size"])
    cells = len(find(image))  # opens the network as well
    peak = machine.peak_memory()
    bare = network_alone(image)
    bare()
    turns: tuple[Callable[[], object], ...] = (lambda: find(image), bare)
    seconds: tuple[list[float], ...] = ([], [])
    for _ in range(job["rounds"]):
        for kept, act in zip(seconds, turns, strict=True):
            begun = time.thread_time()
            act()
            kept.append(time.thread_time() - begun)
    whole, bound = (statistics.mean(each) * 1e3 for each in seconds)
    return {
        "cells": cells,
        "milliseconds": whole,
        "bound_milliseconds": bound,
        "of_bound": bound / whole,
        "peak_megabytes": None if peak is None else peak / 1e6,
    }


def _laid_out(image: Pixels, width: int, height: int) -> Pixels:
    first = np.asarray(Image.fromarray(image).resize(_FIRST, Image.Resampling.BICUBIC))
    times = (-(-height // _FIRST[1]), -(-width // _FIRST[0]), 1)
    return np.ascontiguousarray(np.tile(first, times)[:height, :width])


def network_alone(image: Pixels, looks: int = 1) -> Callable[[], object]:
    """A call of onnxruntime for each level of an image, with pixels that are there.

    Args:
        looks: at each level but the first, which the finder looks at once.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        network.NETWORK, options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    sides = [
        [-(-side // _ALIGN) * _ALIGN for side in level.shape[:2]] for _, level in levels(image)
    ]
    inputs = [np.zeros((1, 3, *each), np.float32) for each in sides[:1] + looks * sides[1:]]
    return lambda: [session.run(None, {name: each}) for each in inputs]

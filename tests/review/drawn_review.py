"""A review of drawn cells that no model was asked about, and a server of it."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wbczoo import files
from wbczoo.review.cells import Box, Photograph, by_path, cells_of
from wbczoo.review.count import choose_keys
from wbczoo.review.crops import Crops, write_crops
from wbczoo.review.log import Log
from wbczoo.review.prepare import ANSWERS, Prepared
from wbczoo.review.session import Review
from wbczoo.runtime.session import Session
from wbczoo.tasks import Task

TASK = Task("cell", ("eosinophil", "lymphocyte", "monocyte", "neutrophil"))
SHA = "ab" * 32


def draw_photographs(folder: Path, count: int, cells: int) -> list[str]:
    """Files of 320x240 with discs where the cells of `draw_answers` are."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    paths = []
    for number in range(count):
        image = np.full((240, 320, 3), 225, np.uint8)
        for left, top, right, bottom in boxes(cells):
            image[top:bottom, left:right] = random.integers(60, 180, 3)
        path = folder / f"field-{number:04d}.png"
        Image.fromarray(image).save(path)
        paths.append(str(path))
    return paths


def boxes(cells: int) -> list[Box]:
    """So many boxes, side by side."""
    return [
        (20 + 30 * (n % 10), 20 + 30 * (n // 10), 44 + 30 * (n % 10), 44 + 30 * (n // 10))
        for n in range(cells)
    ]


def draw_answers(folder: Path, paths: Sequence[str], cells: int, flagged: int) -> None:
    """What a model might say of them; each so many-th cell is flagged."""
    random = np.random.default_rng(1)
    rows, number = [], 0
    for path in paths:
        for box in boxes(cells):
            shares = random.dirichlet(np.full(4, 0.3)).tolist()
            best = int(np.argmax(shares))
            rows.append({
                "path": path, "box": [*box], "flags": ["unsure"] if number % flagged == 0 else [],
                "tasks": {"cell": {"class": TASK.classes[best], "probability": shares[best],
                                   "probabilities": dict(zip(TASK.classes, shares, strict=True))}},
            })  # fmt: skip
            number += 1
    text = io.StringIO()
    text.writelines(json.dumps(row) + "\n" for row in rows)
    files.write_text(folder / ANSWERS, text.getvalue())


def open_drawn(folder: Path, *, photographs: int = 3, cells: int = 4, flagged: int = 4) -> Review:
    """A review of drawn photographs, begun or gone on with."""
    paths = draw_photographs(folder.with_name(f"{folder.name}-fields"), photographs, cells)
    log = Log(folder_of(folder))
    if not log.entries:
        draw_answers(folder, paths, cells, flagged)
        told = write_crops(folder, [(path, boxes(cells)) for path in paths], int)
        shown = [
            Photograph(path, each["sha256"], each["width"], each["height"])
            for path, each in zip(paths, told, strict=True)
        ]
        log.append([{
            "what": "begin", "model": {"name": "drawn", "sha256": SHA, "weights_sha256": SHA},
            "task": TASK.name, "classes": [*TASK.classes], "cells": "all",
            "answers_sha256": files.sha256_of(folder / ANSWERS),
            "photographs": [asdict(each) for each in shown],
            "intended_use": "Tests.", "not_for": "Anybody.",
        }])  # fmt: skip
    begun = log.entries[0]
    shown = [Photograph.of(each) for each in begun["photographs"]]
    rows = [json.loads(line) for line in (folder / ANSWERS).read_text().splitlines()]
    found = cells_of(rows, shown, TASK)
    prepared = Prepared(begun, TASK, tuple(shown), tuple(found), by_path(paths))
    return Review(folder, prepared, log, choose_keys(TASK.classes))


def folder_of(folder: Path) -> Path:
    """The folder, made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def decision(*cells: int, to: str, seen: int = 0, token: str = "") -> dict[str, Any]:
    """What a page sends to decide cells."""
    return {
        "do": "decide", "token": token or f"token-{time.perf_counter_ns()}", "cells": [*cells],
        "to": [to] * len(cells), "seen": [seen] * len(cells),
    }  # fmt: skip


@contextmanager
def serving(
    review: Review,
    reviewers: dict[str, str] | None = None,
    port: int = 0,
    open_session: Callable[[], Session] | None = None,
) -> Iterator[str]:
    """Serve a review in this process: its address, up to the secret.

    Args:
        open_session: opens the model whose maps are drawn.
    """
    import uvicorn

    from wbczoo.review.guard import Guard
    from wbczoo.review.serve import bind
    from wbczoo.review.server import Served, make_app

    served = Served()
    served.review, served.crops = review, Crops(review.folder)
    served.open_session = open_session
    listening = bind("127.0.0.1", None, port)
    host = f"127.0.0.1:{listening.getsockname()[1]}"
    app = Guard(make_app(served), [host], reviewers or {"secret": ""})
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off",
                                           timeout_graceful_shutdown=1))  # fmt: skip
    served.stopped = lambda: server.should_exit
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://{host}"
    finally:
        server.should_exit = True
        thread.join(5)
        listening.close()
        served.crops.close()

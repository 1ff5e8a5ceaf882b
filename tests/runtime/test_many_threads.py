"""One model is asked by many threads and processes at once, and each gets its own answers."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wbczoo.runtime import Session

THREADS = 8
TURNS = 60

# What a session is opened with.
WAYS: dict[str, dict[str, Any]] = {
    "onnxruntime": {},
    "fixed batch": {"fixed_batch": 4},
    "openvino": {"engine": "openvino"},
}


def pixels_of(thread: int, turn: int) -> NDArray[np.uint8]:
    """Preprocessed images that no other thread and turn has, 1 to 3 of them."""
    chance = np.random.default_rng([thread, turn])
    return chance.integers(0, 256, (1 + (thread + turn) % 3, 3, 64, 64), dtype=np.uint8)


def ask(session: Session, thread: int, turn: int) -> list[dict[str, list[float]]]:
    """Each image's probabilities of each task, asked for in one of the three ways."""
    pixels = pixels_of(thread, turn)
    way = (thread + turn) % 3
    if way == 0:
        found = session.run(pixels)
        return [
            {t.name: found[f"{t.name}_probabilities"][row].tolist() for t in session.tasks}
            for row in range(len(pixels))
        ]
    sources = list(pixels.transpose(0, 2, 3, 1))
    answers = (
        session.predict(sources, batch_size=2, workers=2)
        if way == 1
        else list(session.answers(sources, batch_size=len(sources), workers=1))
    )
    return [
        {name: [*task["probabilities"].values()] for name, task in answer["tasks"].items()}
        for answer in answers
    ]


def at_once(work: Callable[[int], None]) -> None:
    """Do the work in all threads, which begin together; the first failure is raised."""
    together = threading.Barrier(THREADS)

    def begin(thread: int) -> None:
        together.wait(60)
        work(thread)

    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(begin, thread) for thread in range(THREADS)]:
            done.result()


@pytest.mark.parametrize("way", WAYS)
def test_each_thread_gets_its_own_answers(way: str, small_export: Path) -> None:
    if way == "openvino" and importlib.util.find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed")
    session = Session(small_export, device="cpu", threads=1, **WAYS[way])
    expected = {
        (thread, turn): ask(session, thread, turn)
        for thread in range(THREADS)
        for turn in range(TURNS)
    }
    flat = {json.dumps(found) for found in expected.values()}
    assert len(flat) == len(expected)  # nobody's answers are another's

    def work(thread: int) -> None:
        for turn in range(TURNS):
            found = ask(session, thread, turn)
            assert len(found) == len(expected[thread, turn])
            for one, right in zip(found, expected[thread, turn], strict=True):
                assert [*one] == [*right]
                for name, values in one.items():
                    np.testing.assert_allclose(values, right[name], rtol=0, atol=1e-6)

    at_once(work)


def test_sessions_are_opened_and_closed_by_many_threads(small_export: Path) -> None:
    pixels = pixels_of(0, 0)
    expected = Session(small_export, device="cpu", threads=1).run(pixels)

    def work(thread: int) -> None:
        for _ in range(3):
            found = Session(small_export, device="cpu", threads=1).run(pixels)
            for name, values in found.items():
                np.testing.assert_allclose(values, expected[name], rtol=0, atol=1e-6)

    at_once(work)


PROCESS = """
import json, sys
import numpy as np
from wbczoo.runtime import Session
session = Session(sys.argv[1], device="cpu", threads=1)
print("open", flush=True)
sys.stdin.readline()
pixels = np.random.default_rng(5).integers(0, 256, (4, 3, 64, 64), dtype=np.uint8)
print(json.dumps({name: each.tolist() for name, each in session.run(pixels).items()}))
"""


def test_two_processes_share_a_model(small_export: Path) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(small_export)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in started:  # both have it open
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
    told = [process.communicate("go\n", timeout=60)[0] for process in started]
    assert told[0] == told[1]
    pixels = np.random.default_rng(5).integers(0, 256, (4, 3, 64, 64), dtype=np.uint8)
    expected = Session(small_export, device="cpu", threads=1).run(pixels)
    for name, values in json.loads(told[0]).items():
        np.testing.assert_allclose(values, expected[name], rtol=0, atol=1e-6)

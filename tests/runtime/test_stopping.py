"""A graph without an end is ended: by its time limit, and by whoever presses Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tiny_export
from hostile_models import changed, endless
from sentences import Ask, is_sentence
from tiny_images import picture

from wbczoo.errors import WbczooError
from wbczoo.runtime import Session
from wbczoo.runtime.stopping import limited

PIXELS = np.ones((2, 3, *tiny_export.SIZE), np.uint8)

# Whoever is told to stop has begun to compute: the process says so itself.
INTERRUPTED = """
import signal, sys
# A shell's background job ignores Ctrl-C, and so does what it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
from wbczoo.runtime import stopping
from wbczoo.cli import main

begin = stopping._Watch.begin

def told(self, options, end):
    begin(self, options, end)
    print("begun", file=sys.stderr, flush=True)

stopping._Watch.begin = told
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def endless_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tiny_export.write_model(tmp_path_factory.mktemp("endless") / "model.onnx")
    path.write_bytes(changed(path.read_bytes(), endless))
    return path


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "cell.png"
    path.write_bytes(picture(1))
    return path


def test_a_graph_without_an_end_is_stopped_after_the_time_limit(
    endless_model: Path, image: Path, ask: Ask
) -> None:
    code, _, told = ask(
        "predict", image, "--model", endless_model, "--device", "cpu", "--time-limit", "0.1"
    )
    assert code == 1
    assert is_sentence(told), told
    assert "took longer than 0.1 s" in told
    assert "--time-limit" in told


def test_others_are_answered_meanwhile_and_the_model_may_be_asked_again(
    endless_model: Path, model: Path
) -> None:
    other, stuck = Session(model, device="cpu"), Session(endless_model, time_limit=0.3)
    failures: list[str] = []

    def ask() -> None:
        with pytest.raises(WbczooError) as failure:
            stuck.run(PIXELS)
        failures.append(str(failure.value))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert len(other.run(PIXELS)["cell_logits"]) == 2
    assert len(failures) == 2
    assert all("took longer than 0.3 s" in failure for failure in failures)


def test_a_failure_within_the_time_keeps_its_own_reason() -> None:
    with pytest.raises(ValueError, match="of its own"), limited(60):
        raise ValueError("of its own")


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_signal_ends_a_graph_without_an_end(
    endless_model: Path, image: Path, sent: signal.Signals, workers: str
) -> None:
    command = ["predict", image, "--model", endless_model, "--device", "cpu", "--workers", workers]
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *command], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "begun\n"
    process.send_signal(sent)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Traceback" not in told

"""Two machines train as one job over a common folder, and go on after one of them died."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from commands import SMALL_TRAINING
from safetensors.torch import load_file

MACHINES = 2


def start(smears: Path, out: Path, *more: str) -> list[subprocess.Popen[bytes]]:
    """A torchrun for each machine, as somebody starts it there; gloo is what joins them."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    options = ["train", str(smears), "--dataset", "synthetic", *SMALL_TRAINING, "--epochs", "6",
               "--out", str(out), *more]  # fmt: skip
    return [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", "--nnodes", str(MACHINES),
             "--node-rank", str(rank), "--nproc-per-node", "1", "--master-addr", "127.0.0.1",
             "--master-port", str(port), "-m", "wbczoo", *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for rank in range(MACHINES)
    ]  # fmt: skip


def kill(process: subprocess.Popen[bytes]) -> None:
    """A machine loses its power: all of its processes end at once."""
    for each in [
        *psutil.Process(process.pid).children(recursive=True),
        psutil.Process(process.pid),
    ]:
        each.kill()
    process.wait()


@pytest.mark.nightly
@pytest.mark.parametrize("victim", range(MACHINES))
def test_a_training_goes_on_after_a_machine_died(smears: Path, tmp_path: Path, victim: int) -> None:
    for machine in start(smears, tmp_path / "whole"):
        assert machine.wait(300) == 0
    out = tmp_path / "killed"
    machines = start(smears, out)
    while not (out / "metrics.jsonl").exists() or not (out / "last.safetensors").exists():
        assert machines[victim].poll() is None
        time.sleep(0.01)
    kill(machines.pop(victim))
    assert all(machine.wait(120) for machine in machines)  # it hears that nobody is there
    assert not (out / "summary.json").exists()
    for machine in start(smears, out, "--resume"):
        assert machine.wait(300) == 0
    whole, resumed = (
        load_file(tmp_path / run / "model.safetensors") for run in ("whole", "killed")
    )
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 6

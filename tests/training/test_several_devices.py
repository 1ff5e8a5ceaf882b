"""Several devices train the same model as one does; two processes on the CPU stand for two GPUs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from commands import SMALL_TRAINING, call
from safetensors.torch import load_file


def test_two_processes_take_the_steps_that_one_takes(smears: Path, tmp_path: Path) -> None:
    options = ["train", str(smears), "--dataset", "synthetic", *SMALL_TRAINING,
               "--precision", "fp32", "--class-weights", "balanced", "--augment"]  # fmt: skip
    alone, together = tmp_path / "alone", tmp_path / "together"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
               "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0",
               "-m", "wbczoo", *options, "--out", str(together)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("best epoch") == 1  # one voice
    assert call([*options, "--out", alone]) == 0
    one, two = load_file(alone / "last.safetensors"), load_file(together / "last.safetensors")
    for name, tensor in one.items():
        if name.startswith("model."):
            assert torch.allclose(tensor, two[name], atol=1e-4, rtol=1e-3), name
    rows = [
        [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        for out in (alone, together)
    ]
    for mine, theirs in zip(*rows, strict=True):
        assert mine["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-3)
        assert mine["train_cell_accuracy"] == pytest.approx(theirs["train_cell_accuracy"], abs=0.06)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_the_road_on_a_gpu(smears: Path, tmp_path: Path) -> None:
    options = [word for word in SMALL_TRAINING if word != "cpu"]
    options[options.index("--device") + 1 :] = ["cuda"]
    run = tmp_path / "run"
    assert call(["train", smears, "--dataset", "synthetic", *options, "--out", run]) == 0
    assert call(["evaluate", run, smears, "--dataset", "synthetic", "--device", "cuda"]) == 0
    assert call(["export", run, "--out", tmp_path / "export"]) == 0
    assert call(["verify", tmp_path / "export"]) == 0

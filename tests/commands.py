"""How the tests run the command, and the small composition that they run it on."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# A composition that imports little and trains in a second: what is tested is the road.
SMALL = ("--seq", "gru", "--hidden", "8", "--image-size", "64", "--weights", "none")
SMALL_TRAINING = (
    *SMALL, "--epochs", "2", "--batch-size", "8", "--lr", "1e-2", "--device", "cpu",
    "--precision", "fp32",  # and not what the processor at hand is quickest in
)  # fmt: skip

Completed = subprocess.CompletedProcess[str]


def call(arguments: Sequence[object]) -> int:
    """Run the command in this process: its exit code."""
    from wbczoo.cli import main

    return main([str(argument) for argument in arguments])

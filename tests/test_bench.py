"""`bench train` prints both speeds and their ratio; no speed is asserted, only what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import SMALL, Completed


def test_bench_train_prints_both_speeds_and_their_ratio(
    wbczoo: Callable[..., Completed], smears: Path
) -> None:
    command = ("bench", "train", smears, "--dataset", "synthetic", *SMALL)
    done = wbczoo(*command, "--batch-size", "8", "--steps", "4", "--json")
    document = json.loads(done.stdout)
    epoch, resident = (document[f"{kind}_images_per_second"] for kind in ("epoch", "resident"))
    assert epoch > 0
    assert document["ratio"] == pytest.approx(epoch / resident)
    assert document["steps"] == 4
    few = wbczoo(*command, "--batch-size", "32", expect=2)
    assert "too few" in few.stderr

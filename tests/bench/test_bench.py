"""What `bench` prints of speeds; no speed is asserted, only what it says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import SMALL, Completed

from wbczoo.bench import prediction, turns
from wbczoo.bench.prediction import Contestant
from wbczoo.process import JobProcess


def test_bench_train_prints_each_speed_and_the_ratios(
    wbczoo: Callable[..., Completed], smears: Path
) -> None:
    command = ("bench", "train", smears, "--dataset", "synthetic", *SMALL)
    done = wbczoo(*command, "--batch-size", "8", "--steps", "4", "--json")
    document = json.loads(done.stdout)
    epoch, resident, plain = (
        document[f"{kind}_images_per_second"] for kind in ("epoch", "resident", "plain")
    )
    assert epoch > 0
    assert document["ratio"] == pytest.approx(epoch / resident)
    assert document["ratio_to_plain"] == pytest.approx(epoch / plain)
    assert document["steps"] == 4
    few = wbczoo(*command, "--batch-size", "32", expect=2)
    assert "too few" in few.stderr


def test_bench_predict_compares_each_in_its_own_process(
    wbczoo: Callable[..., Completed], smears: Path, small_run: Path, small_export: Path
) -> None:
    command = ("bench", "predict", smears, "--model", small_export, "--batch-size", "4")
    done = wbczoo(
        *command, "--run", small_run, "--no-compile", "--limit", "9", "--rounds", "1", "--json"
    )
    document = json.loads(done.stdout)
    rows = {row["name"]: row for row in document["rows"]}
    assert {"PyTorch", "PyTorch channels_last", "onnxruntime, a bare call"} < set(rows)
    assert document["images"] == 9
    ours = rows[f"wbczoo fp32 ({small_export.name})"]
    loop = rows["PyTorch"]
    for name, row in rows.items():
        if name.endswith("bf16") and row["error"]:  # the processor may have none
            assert "does not compute in bf16" in row["error"]
            assert row["images_per_second"] == row["latency_ms"] == {}
            continue
        assert row["error"] is None, row
        assert set(row["latency_ms"]) == {"1", "4"}
        assert row["latency_ms"]["1"]["median"] <= row["latency_ms"]["1"]["p95"]
        assert row["peak_megabytes"] > 10
        for found in row["agreement"].values():
            assert found["equal"] == 1 or "bf16" in row["name"]
    assert set(ours["images_per_second"]) == {"1", "4", "8"}  # the last is predict's own
    fastest = max(ours["images_per_second"].values())
    assert ours["ratio_to_pytorch"] == pytest.approx(
        fastest / max(loop["images_per_second"].values())
    )
    spent = ours["processor_ms"]["decoding"] + ours["processor_ms"]["network"]
    assert ours["bound_images_per_second"] == pytest.approx(document["cores"] * 1000 / spent)
    assert ours["of_bound"] == pytest.approx(fastest / ours["bound_images_per_second"])


@pytest.mark.nightly  # a minute of processes; the test below asks what each of them does
def test_bench_predict_keeps_the_row_of_what_cannot_be_measured(
    wbczoo: Callable[..., Completed], smears: Path, small_export: Path
) -> None:
    command = ("bench", "predict", smears, "--model", small_export, "--batch-size", "2")
    settings = ("--rounds", "1", "--limit", "2", "--no-compile")
    done = wbczoo(*command, *settings, "--run", smears)  # no run: PyTorch has nothing to open
    assert "config.json" in done.stdout
    assert "wbczoo fp32" in done.stdout


def test_what_cannot_be_measured_keeps_its_row_and_its_reason(smears: Path) -> None:
    one = Contestant("PyTorch", "pytorch", {"run": str(smears), "device": "cpu", "threads": None})
    with JobProcess("wbczoo.bench.contestants:do", 60) as process:
        for what in ("open", "latency"):  # nothing is asked of it once it could not be opened
            job = {"kind": one.kind, "options": one.options, "paths": [], "preprocessing": {}}
            assert turns.ask(one, {one.name: process}, what, **job) == {}
    row = prediction._row(one, [one], "cpu")
    assert "config.json" in row["error"]
    assert row["images_per_second"] == row["latency_ms"] == {}
    assert row["agreement"] is None


def test_bench_predict_wants_a_batch_of_images(
    wbczoo: Callable[..., Completed], smears: Path, small_export: Path
) -> None:
    command = ("bench", "predict", smears, "--model", small_export, "--batch-size", "200")
    assert wbczoo(*command, expect=2).stderr.count("a batch has 200") == 1


def test_bench_study_prints_its_speeds_and_their_ratios(
    wbczoo: Callable[..., Completed], smears: Path
) -> None:
    command = ("bench", "study", smears, "--dataset", "synthetic", "--backbone", "squeezenet1_1",
               "--weights", "none", "--seq", "gru", "--epochs", "1", "--batch-size", "4",
               "--device", "cpu")  # fmt: skip
    document = json.loads(wbczoo(*command, "--steps", "2", "--json").stdout)
    (trials,) = document["trials"]
    assert trials["trials"] == 5
    shown = 5 * trials["training_images"]  # one epoch of each
    assert trials["images_per_second"] == pytest.approx(shown / trials["seconds"])
    branch, images = document["branch"], document["images"]
    speeds = branch["images_per_second"], branch["bare_images_per_second"]
    assert branch["ratio"] == pytest.approx(speeds[0] / speeds[1])
    assert images["ratio"] == pytest.approx(
        trials["images_per_second"] / images["images_per_second"]
    )
    (opened,) = document["last_block"]
    speeds = opened["cached_images_per_second"], opened["images_per_second"]
    assert opened["ratio"] == pytest.approx(speeds[0] / speeds[1])
    few = wbczoo(*command, "--steps", "1000", expect=2)
    assert "too few for 1000 steps" in few.stderr

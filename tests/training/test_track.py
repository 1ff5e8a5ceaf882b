"""What a training says is read back from each tracker by its own client."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import ROOT, SMALL_TRAINING, Completed

from wbczoo.runtime.published import find_published

Run = Callable[..., Completed]

INTERVAL = ("low", "value", "high")


@pytest.fixture
def train(wbczoo: Run, smears: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Train the small composition with a tracker: what its folder and its stdout hold."""
    monkeypatch.chdir(tmp_path)

    def run(track: str, *further: object) -> tuple[list[dict[str, float]], dict[str, Any]]:
        done = wbczoo("train", smears, "--dataset", "synthetic", *SMALL_TRAINING, "--json",
                      "--track", track, *further, "--out", tmp_path / "run")  # fmt: skip
        summary = json.loads(done.stdout)  # what a tracker prints is no result
        lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines], summary

    return run


def test_tensorboard_reads_epochs_intervals_and_settings(train: Any, tmp_path: Path) -> None:
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    rows, _ = train("tensorboard")
    events = reading.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    losses = [(each.step, each.value) for each in events.Scalars("train_loss")]
    assert losses == [(row["epoch"], pytest.approx(row["train_loss"])) for row in rows]
    low, value, high = (
        events.Scalars(f"kept_validation_cell_accuracy_{end}")[0].value for end in INTERVAL
    )
    assert low <= value <= high
    (settings,) = (tmp_path / "run" / "tensorboard").glob("*/hparams.yml")
    assert "protocol: official" in settings.read_text()
    assert "train_photographs: " in settings.read_text()


@pytest.mark.nightly  # its database takes seconds to make
def test_mlflow_reads_them_from_one_run_that_goes_on(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports
        mlflow = pytest.importorskip("mlflow")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
        monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        mlflow.set_tracking_uri(None)
        train("mlflow")
        rows, summary = train("mlflow", "--resume", "--epochs", "3", "--schedule", "constant")
        client = mlflow.MlflowClient()
        experiment = client.get_experiment_by_name("wbczoo")
        (found,) = client.search_runs([experiment.experiment_id])
        history = client.get_metric_history(found.info.run_id, "validation_loss")
    assert [each.step for each in history] == [1, 2, 3]
    assert history[-1].value == pytest.approx(rows[-1]["validation_loss"])
    said = found.data.params
    assert (said["protocol"], said["unit"], said["leaky"]) == ("official", "photograph", "False")
    assert said["train_photographs"] == str(summary["data"]["train"]["photographs"])
    low, value, high = (
        found.data.metrics[f"kept_validation_cell_accuracy_{end}"] for end in INTERVAL
    )
    assert low <= value <= high
    assert found.info.status == "FINISHED"


@pytest.mark.nightly
def test_trackio_reads_them(train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
        stored = pytest.importorskip("trackio.sqlite_storage").SQLiteStorage
        rows, _ = train("trackio")
        assert stored.get_runs("wbczoo") == ["run"]
        *epochs, intervals = stored.get_logs("wbczoo", "run")
        settings = stored.get_run_config("wbczoo", "run")
    assert [each["train_loss"] for each in epochs] == [
        pytest.approx(row["train_loss"]) for row in rows
    ]
    low, value, high = (intervals[f"kept_validation_cell_accuracy_{end}"] for end in INTERVAL)
    assert low <= value <= high
    assert settings["protocol"] == "official"


@pytest.mark.nightly
def test_mlflow_keeps_an_export_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "interoperate.md").read_text(encoding="utf-8")
    (code,) = (c for c in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "mlflow" in c)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / "a").symlink_to(find_published("leukocyte-nano"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow = pytest.importorskip("mlflow")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
        monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        mlflow.set_tracking_uri(None)
        names: dict[str, Any] = {}
        exec(compile(code, "docs/interoperate.md", "exec"), names)
    told = {each.key: each.value for each in names["answers"].metadata_props}
    assert told["wbczoo.format"] == "1"


def test_a_tracker_that_is_not_there_is_said_before_the_data_are_read(
    wbczoo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wbczoo.training.track.find_spec", lambda name: None)
    smears = tmp_path / "smears"
    wbczoo("data", "prepare", smears, "--dataset", "synthetic", "--photographs", "8")
    done = wbczoo("train", smears, "--dataset", "synthetic", *SMALL_TRAINING,
                  "--track", "mlflow", "--out", tmp_path / "run", expect=2)  # fmt: skip
    assert "mlflow is not installed" in done.stderr
    assert not (tmp_path / "run").exists()

"""Flags: where they begin, what raises them, and that a model without limits answers as before."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Completed

from wbczoo.errors import UsageError
from wbczoo.images import pixels
from wbczoo.runtime import Session
from wbczoo.runtime.flags import Limits, contradicts

Run = Callable[..., Completed]

SURE = {
    "cell": {"class": "lymphocyte", "probability": 0.9},
    "nucleus": {"class": "mononuclear", "probability": 0.7},
}
DENIED = {**SURE, "nucleus": {"class": "polynuclear", "probability": 0.7}}


@pytest.mark.parametrize(
    ("limits", "tasks", "novelty", "expected"),
    [
        (Limits(), SURE, 9.0, []),
        (Limits(1.0), SURE, 1.0, []),  # the limit itself is known
        (Limits(1.0), SURE, 1.1, ["unknown"]),
        (Limits(1.0), SURE, None, []),
        (Limits(None, {"cell": 0.9, "nucleus": 0.7}), SURE, None, []),
        (Limits(None, {"cell": 0.91}), SURE, None, ["unsure"]),
        (Limits(None, {"nucleus": 0.71}), SURE, None, ["unsure"]),
        (Limits(None, {"elsewhere": 1.0}), SURE, None, []),
        (Limits(), DENIED, None, ["contradicted"]),
        (Limits(1.0, {"cell": 1.0}), DENIED, 2.0, ["unknown", "unsure", "contradicted"]),
    ],
)
def test_what_raises_a_flag(
    limits: Limits, tasks: dict[str, Any], novelty: float | None, expected: list[str]
) -> None:
    assert limits.flags(tasks, novelty) == expected


def test_only_a_class_that_implies_a_nucleus_is_denied() -> None:
    assert contradicts("neutrophil", SURE)
    assert not contradicts("neutrophil", DENIED)
    assert not contradicts("basophil", SURE)
    assert not contradicts("neutrophil", {"cell": SURE["cell"]})
    assert not contradicts("neutrophil", {"nucleus": {"class": "many"}})


def test_rows_tell_the_novelty_and_its_flag(small_export: Path, smears: Path, wbczoo: Run) -> None:
    command = ("predict", smears / "test", "--model", small_export, "--device", "cpu")
    rows = [json.loads(line) for line in wbczoo(*command).stdout.splitlines()]
    session = Session(small_export, device="cpu")
    limits = session.limits
    assert limits is not None
    for row in rows:
        assert [*row] == ["path", "tasks", "novelty", "flags"]
        assert ("unknown" in row["flags"]) == (row["novelty"] > 1)
        least = {n: each["probability"] for n, each in row["tasks"].items()}
        unsure = any(least[name] < limit for name, limit in limits.unsure_below.items())
        assert ("unsure" in row["flags"]) == unsure
    shown = pixels(rows[0]["path"], session.preprocessing).transpose(2, 0, 1)[None]
    assert np.float32(rows[0]["novelty"]) == pytest.approx(session.run(shown)["novelty"][0], 1e-5)
    none = ("--unknown-above", "1e9", "--unsure-below", "0")
    for line in wbczoo(*command, *none).stdout.splitlines():
        assert set(json.loads(line)["flags"]) <= {"contradicted"}
    every = ("--unknown-above", "-1e9", "--unsure-below", "1", "--format", "csv")
    table = list(csv.DictReader(wbczoo(*command, *every).stdout.splitlines()))
    assert [*table[0]][:5] == ["path", "error", "novelty", "flags", "cell"]
    assert all(row["flags"].split()[:2] == ["unknown", "unsure"] for row in table)
    assert [float(row["novelty"]) for row in table] == [row["novelty"] for row in rows]


def test_a_model_without_limits_answers_as_before(model: Path, smears: Path, wbczoo: Run) -> None:
    command = ("predict", smears / "test", "--model", model, "--device", "cpu")
    for line in wbczoo(*command).stdout.splitlines():
        assert [*json.loads(line)] == ["path", "tasks"]
    header = wbczoo(*command, "--format", "csv").stdout.splitlines()[0]
    assert header.startswith("path,error,cell,cell_probability,cell_eosinophil")
    asked = [
        json.loads(line) for line in wbczoo(*command, "--unsure-below", "1").stdout.splitlines()
    ]
    assert all([*row] == ["path", "tasks", "flags"] and "unsure" in row["flags"] for row in asked)
    refused = wbczoo(*command, "--unknown-above", "1", expect=2)
    assert "tells no novelty" in refused.stderr
    assert not refused.stdout
    with pytest.raises(UsageError, match="tells no novelty"):
        Session(model, device="cpu", unknown_above=1.0)
    with pytest.raises(UsageError, match="not nan"):
        Session(model, device="cpu", unknown_above=float("nan"))
    for strange in (float("nan"), 2, -1):
        with pytest.raises(UsageError, match="from 0 to 1"):
            Session(model, device="cpu", unsure_below=strange)


def test_rows_of_other_limits_are_not_gone_on_with(
    small_export: Path, smears: Path, tmp_path: Path, wbczoo: Run
) -> None:
    out = tmp_path / "rows.csv"
    command = ("predict", smears / "test", "--model", small_export, "--device", "cpu",
               "--format", "csv", "--batch-size", "4", "--out", out)  # fmt: skip
    wbczoo(*command)
    whole = out.read_bytes()
    assert not out.with_name("rows.csv.part").exists()
    wbczoo(*command, "--overwrite", "--unknown-above", "0.5")
    # As if it had been stopped within its second batch.
    part, state = (out.with_name(f"rows.csv.{end}") for end in ("part", "part.json"))
    part.write_bytes(b"".join(whole.splitlines(keepends=True)[:6]))
    told = {"format": 1, "model": json.loads((small_export / "card.json").read_text())["files"]
            ["model.onnx"], "row format": "csv", "batch size": 4,
            "device": "CPUExecutionProvider"}  # fmt: skip
    limits = Session(small_export, device="cpu").limits
    assert limits is not None
    state.write_text(json.dumps({**told, "limits of flags": limits.to_dict()}))
    out.unlink()
    refused = wbczoo(*command, "--resume", "--unknown-above", "0.5", expect=2)
    assert "another limits of flags" in refused.stderr
    wbczoo(*command, "--resume")
    assert out.read_bytes() == whole


def test_a_differential_puts_what_is_unknown_aside(
    small_export: Path, model: Path, smears: Path, tmp_path: Path, wbczoo: Run
) -> None:
    command = ("differential", smears / "test", "--device", "cpu", "--json", "--unsure-below", "0")
    rows = [
        json.loads(line)
        for line in wbczoo(
            "predict", smears / "test", "--model", small_export, "--device", "cpu"
        ).stdout.splitlines()
    ]
    limit = float(np.median([row["novelty"] for row in rows]))
    page = tmp_path / "page.html"
    document = json.loads(wbczoo(*command, "--model", small_export, "--unknown-above", limit,
                                 "--html", page).stdout)  # fmt: skip
    (group,) = document["groups"]
    unknown = {row["path"] for row in rows if row["novelty"] > limit}
    assert set(group["put_aside"]["unknown"]) == unknown
    assert group["unknown"] == len(unknown) > 0
    assert group["counted"] + group["contradicted"] + group["unknown"] == len(rows)
    assert document["most_novelty"] == limit
    assert f"{len(unknown)} unknown" in page.read_text()
    told = wbczoo(*command[:-3], "--model", small_export, "--unknown-above", limit).stdout
    assert f"{len(unknown)} unknown" in told
    (old,) = json.loads(wbczoo(*command, "--model", model).stdout)["groups"]
    assert "unknown" not in old

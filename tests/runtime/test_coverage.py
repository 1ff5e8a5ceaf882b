"""`--coverage`: the classes that an answer leaves open, from the training to each row."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import Completed

from wbczoo.errors import UsageError
from wbczoo.evaluation.evaluate import evaluate
from wbczoo.runtime import Session
from wbczoo.runtime.sets import COVERAGES

Run = Callable[..., Completed]


def test_rows_name_the_classes_that_reach_the_floor(
    small_export: Path, smears: Path, wbczoo: Run
) -> None:
    command = ("predict", smears / "test", "--model", small_export, "--device", "cpu")
    done = wbczoo(*command, "--coverage", "0.8")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    session = Session(small_export, device="cpu", coverage=0.8)
    sets = session.file.sets
    assert rows
    assert sets is not None
    for row in rows:
        for task, told in row["tasks"].items():
            floors = sets.floors[task]["0.8"]
            likely = told["probabilities"]
            wanted = {name for name in floors if likely[name] >= floors[name]} | {told["class"]}
            assert set(told["set"]) == wanted
            assert [*told["set"]] == sorted(told["set"], key=lambda name: -likely[name])
    # The smears' validation has two or three photographs of a class, and four are needed.
    few = [n for groups in sets.groups.values() for n in groups.values() if n < 4]
    assert few
    assert "cannot be promised of" in done.stderr
    table = wbczoo(*command, "--coverage", "0.8", "--format", "csv").stdout
    lines = [*csv.DictReader(table.splitlines())]
    assert [line["cell_set"].split() for line in lines] == [r["tasks"]["cell"]["set"] for r in rows]


def test_without_coverage_rows_stay_as_they_were(small_export: Path, smears: Path) -> None:
    image = min(path for path in (smears / "test").rglob("*") if path.is_file())
    [plain] = Session(small_export, device="cpu").predict(image)
    [wide] = Session(small_export, device="cpu", coverage=0.95).predict(image)
    for told in wide["tasks"].values():
        assert told.pop("set")
    assert plain == wide


def test_a_resumed_prediction_keeps_to_its_coverage(
    small_export: Path, smears: Path, tmp_path: Path, wbczoo: Run
) -> None:
    out = tmp_path / "rows.csv"
    command = ("predict", smears / "test", "--model", small_export, "--device", "cpu", "--out", out)
    wbczoo(*command, "--format", "csv", "--coverage", "0.9")
    with out.open(newline="") as stream:
        assert {"cell_set", "nucleus_set"} <= set(next(csv.reader(stream)))


def test_what_promises_nothing_is_refused(small_export: Path, model: Path, wbczoo: Run) -> None:
    with pytest.raises(UsageError, match="promises no coverage"):
        Session(model, device="cpu", coverage=0.9)
    with pytest.raises(UsageError, match=r"one of 0.8, 0.9, 0.95, 0.99, not 0.85"):
        Session(small_export, device="cpu", coverage=0.85)


def test_evaluate_and_the_card_say_what_was_kept(small_run: Path, smears: Path) -> None:
    found = evaluate(small_run, smears, resamples=50)
    document = found.to_dict()["sets"]
    assert set(document) == {"cell", "nucleus"}
    for told in document.values():
        assert [*told] == [*COVERAGES]
        covered = [told[each]["covered"]["value"] for each in COVERAGES]
        sizes = [told[each]["size"]["value"] for each in COVERAGES]
        assert covered == sorted(covered)
        assert sizes == sorted(sizes)
    assert "hold the truth" in str(found)


def test_a_damaged_promise_is_a_sentence(small_run: Path, tmp_path: Path, wbczoo: Run) -> None:
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    summary = json.loads((run / "summary.json").read_text())
    summary["sets"]["floors"]["cell"] = 3
    (run / "summary.json").write_text(json.dumps(summary))
    done = wbczoo("export", run, "--out", tmp_path / "out", expect=1)
    assert "summary.json says of its sets" in done.stderr


def test_the_card_tells_groups_and_floors(small_export: Path) -> None:
    page = (small_export / "card.md").read_text()
    told = json.loads((small_export / "card.json").read_text())["sets"]
    assert "## What it promises" in page
    assert "in every set" in page
    counts = [*told["groups"]["cell"].values()]
    assert np.all(np.array(counts) >= 0)
    assert "| lymphocyte" in page

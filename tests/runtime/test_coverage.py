"""`--coverage`: the classes that an answer leaves open, from the training to each row."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Completed
from msgspec import ValidationError

from wbczoo.errors import UsageError
from wbczoo.evaluation.evaluate import evaluate
from wbczoo.runtime import Session
from wbczoo.runtime.sets import Sets, choose_floors
from wbczoo.tasks import NUCLEUS

Run = Callable[..., Completed]

KILLER = Path(__file__).with_name("killed_prediction.py")


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
    command = ["predict", smears / "test", "--model", small_export, "--device", "cpu", "--out", out,
               "--format", "csv", "--batch-size", "4", "--resume", "--coverage"]  # fmt: skip
    killed = [sys.executable, KILLER, "half-row", "9", *command, "0.9"]
    assert subprocess.run([*map(str, killed)], check=False).returncode == -signal.SIGKILL
    refused = wbczoo(*command, "0.95", expect=2)
    assert "another coverage of sets" in refused.stderr
    wbczoo(*command, "0.9")
    with out.open(newline="") as stream:
        rows = [*csv.DictReader(stream)]
    assert all(row["cell_set"] and row["nucleus_set"] for row in rows)
    assert len(rows) == sum(path.is_file() for path in (smears / "test").rglob("*"))


def test_what_promises_nothing_is_refused(small_export: Path, model: Path, wbczoo: Run) -> None:
    with pytest.raises(UsageError, match="promises no coverage"):
        Session(model, device="cpu", coverage=0.9)
    with pytest.raises(UsageError, match=r"one of 0.8, 0.9, 0.95, 0.99, not 0.85"):
        Session(small_export, device="cpu", coverage=0.85)


def test_evaluate_tells_what_was_kept_where_it_was_promised(
    small_run: Path, smears: Path, tmp_path: Path
) -> None:
    # Two or three groups of a class have validated: nothing is promised, so nothing was kept.
    assert evaluate(small_run, smears, resamples=50).to_dict()["sets"]["cell"] == {}
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    summary = json.loads((run / "summary.json").read_text())
    for groups in summary["sets"]["groups"].values():
        groups |= dict.fromkeys(groups, 20)
    (run / "summary.json").write_text(json.dumps(summary))
    found = evaluate(run, smears, resamples=50)
    for told in found.to_dict()["sets"].values():
        assert [*told] == ["0.8", "0.9", "0.95"]  # .99 wants 99 groups
        # With the floors as they were every set holds each class.
        assert {each["covered"]["value"] for each in told.values()} == {1.0}
        assert all(each["size"]["value"] >= 2 for each in told.values())
        assert all(each["files"] == each["asked"] for each in told.values())
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
    assert "the laboratories that trained the model" in page
    for groups in told["groups"].values():
        for name, count in groups.items():
            [line] = [each for each in page.splitlines() if each.startswith(f"| {name} ")]
            assert [each.strip() for each in line.split("|")[2:4]] == [
                str(count), "in every set" if 0 < count < 4 else "no promise"
            ]  # fmt: skip


def test_sets_that_do_not_fit_their_groups_are_damaged() -> None:
    with pytest.raises(ValidationError, match="the sets of cell do not fit"):
        Sets.read('{"floors": {"cell": {"0.9": {"a": 0.5}}}, "groups": {}}')


def test_what_nothing_was_fitted_of_is_said() -> None:
    sets = Sets({}, {})
    said = [*sets.not_promised([NUCLEUS], "0.9")]
    assert said == ["nucleus: nothing is promised, and no set is named"]
    with pytest.raises(UsageError, match="no coverage of any task"):
        choose_floors(sets, [NUCLEUS], 0.9, "a.onnx")

"""A differential counts each image once, tells what it put aside, and has limits everywhere."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import Completed, call

from wbczoo.errors import UsageError
from wbczoo.runtime.differential.count import count, group_by
from wbczoo.tasks import CELL, INTENDED, NUCLEUS, PBC8

Run = Callable[..., Completed]


@pytest.fixture(scope="module")
def measured(small_run: Path, smears: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run, evaluated and then exported, so that its card knows its errors."""
    out = tmp_path_factory.mktemp("measured")
    shutil.copytree(small_run, out / "run")
    assert call(["evaluate", out / "run", smears, "--dataset", "synthetic"]) == 0
    assert call(["export", out / "run", "--out", out / "export"]) == 0
    return out / "export"


def answer(path: str, cell: str, probability: float, nucleus: str) -> dict[str, Any]:
    """A row as `predict_paths` gives it."""
    return {
        "path": path,
        "tasks": {
            "cell": {"class": cell, "probability": probability},
            "nucleus": {"class": nucleus, "probability": 0.9},
        },
    }


ROWS = [
    answer("a/1.jpg", "lymphocyte", 0.9, "mononuclear"),
    answer("a/2.jpg", "lymphocyte", 0.4, "mononuclear"),
    answer("b/3.jpg", "neutrophil", 0.8, "mononuclear"),
    answer("b/4.jpg", "neutrophil", 0.8, "polynuclear"),
    {"path": "b/5.jpg", "error": "The file is empty."},
]


def test_each_image_counts_once_or_is_put_aside() -> None:
    tallies = count(ROWS, CELL, (CELL, NUCLEUS), group_by("folder", ["a", "b"]), 0.5)
    assert list(tallies) == ["a", "b"]
    assert dict(tallies["a"].classes) == {"lymphocyte": 1}
    assert tallies["a"].unsure == ["a/2.jpg"]
    assert dict(tallies["b"].classes) == {"neutrophil": 1}
    assert tallies["b"].contradicted == ["b/3.jpg"]
    assert tallies["b"].refused == ["b/5.jpg"]
    assert dict(tallies["b"].answered) == {"neutrophil": 2}


def test_without_a_second_task_nothing_is_contradicted() -> None:
    rows = [{"path": "1", "tasks": {"pbc8": {"class": "platelet", "probability": 1.0}}}]
    (tally,) = count(rows, PBC8, (PBC8,), group_by(None, []), 0.0).values()
    assert dict(tally.classes) == {"platelet": 1}
    (tally,) = count(ROWS, NUCLEUS, (CELL, NUCLEUS), group_by(None, []), 0.0).values()
    assert (sum(tally.classes.values()), tally.contradicted) == (4, [])


def test_groups_come_from_a_table(tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    table.write_text("file,group\nx/1.jpg,patient 7\nother/2.jpg,patient 8\n")
    told = group_by(str(table), ["smears", "other/2.jpg"])
    assert told("smears/x/1.jpg") == "patient 7"
    assert told("other/2.jpg") == "patient 8"
    with pytest.raises(UsageError, match=r"says nothing about smears/9\.jpg"):
        told("smears/9.jpg")
    table.write_text("file,patient\n")
    with pytest.raises(UsageError, match="columns file and group"):
        group_by(str(table), [])
    with pytest.raises(UsageError, match="is not there"):
        group_by(str(tmp_path / "absent.csv"), [])


def test_the_command_counts_what_predict_answers(
    measured: Path, smears: Path, wbczoo: Run, tmp_path: Path
) -> None:
    shutil.copytree(smears / "test", tmp_path / "mixed")
    (tmp_path / "mixed" / "empty.jpg").touch()
    page = tmp_path / "page.html"
    done = wbczoo("differential", tmp_path / "mixed", "--model", measured, "--json", "--html", page,
                  expect=3)  # fmt: skip
    document = json.loads(done.stdout)
    (group,) = document["groups"]
    table = wbczoo("predict", tmp_path / "mixed", "--model", measured, "--format", "csv", expect=3)
    answers = list(csv.DictReader(table.stdout.splitlines()))
    assert group["images"] == len(answers)
    assert (group["refused"], group["unsure"]) == (1, 0)
    kept = set(group["put_aside"]["contradicted"])
    for name, found in group["classes"].items():
        own = [row for row in answers if row["cell"] == name and row["path"] not in kept]
        assert found["count"] == len(own)
        assert found["low"] <= found["percent"] <= found["high"]
        assert found["corrected"]["low"] <= found["corrected"]["percent"]
    assert group["counted"] + len(kept) + 1 == len(answers)
    assert sum(c["corrected"]["percent"] for c in group["classes"].values()) == pytest.approx(100)
    assert "official" in document["correction"]
    assert "24 files of 8 photographs" in document["correction"]
    assert "fewer than 100" in group["warnings"][0]
    assert document["intended_use"] == INTENDED
    shown = page.read_text(encoding="utf-8")
    assert shown.startswith("<!doctype html>")
    assert INTENDED in shown
    assert "src=" not in shown
    assert "http" not in shown


def test_names_of_files_are_no_html(measured: Path, smears: Path, tmp_path: Path) -> None:
    odd = tmp_path / "<script>alert(1)</script>"
    odd.mkdir(parents=True)
    (odd / "a&b.jpg").touch()
    good = next((smears / "test").rglob("*.jpg"), None) or next((smears / "test").rglob("*.jpeg"))
    shutil.copy(good, odd / "good.jpg")
    page = tmp_path / "page.html"
    code = call(["differential", odd, "--model", measured, "--by", "folder", "--html", page])
    assert code == 3
    shown = page.read_text(encoding="utf-8")
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "a&amp;b.jpg" in shown


def test_a_lone_model_has_no_errors_to_correct_by(
    measured: Path, smears: Path, wbczoo: Run, tmp_path: Path
) -> None:
    shutil.copy(measured / "model.onnx", tmp_path / "model.onnx")
    done = wbczoo("differential", smears / "test", "--model", tmp_path, "--json")
    document = json.loads(done.stdout)
    assert document["correction"] is None
    assert "no card beside it" in document["why_no_correction"]
    # A card of another model says nothing about this one.
    card = json.loads((measured / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps({**card, "weights_sha256": "0" * 64}))
    done = wbczoo("differential", smears / "test", "--model", tmp_path, "--json")
    assert json.loads(done.stdout)["correction"] is None
    table = wbczoo("differential", smears / "test", "--model", measured, "--by", "folder").stdout
    assert table.count("of 6 images counted") == 4
    assert "Corrected from all answered images" in table
    assert "Not for: Diagnosis" in table


def test_the_card_of_a_triton_repository_corrects_too(
    measured: Path, smears: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(measured, tmp_path / "gru"))
    (folder / "1").mkdir()
    (folder / "model.onnx").rename(folder / "1" / "model.onnx")
    (folder / "config.pbtxt").touch()
    capsys.readouterr()
    assert call(["differential", smears / "test", "--model", folder, "--json"]) == 0
    assert "official" in json.loads(capsys.readouterr().out)["correction"]


def test_a_leaky_evaluation_corrects_nothing(measured: Path, smears: Path, tmp_path: Path) -> None:
    from wbczoo.runtime.differential.count import _confusion_of

    card = json.loads((measured / "card.json").read_text())
    found, _ = _confusion_of(card, CELL)
    assert found is not None
    for evaluation in card["evaluations"]:
        evaluation["leaky"] = True
    found, why = _confusion_of(card, CELL)
    assert found is None
    assert why is not None
    assert "without leak" in why


def test_strange_requests_are_told(measured: Path, smears: Path, wbczoo: Run) -> None:
    for arguments, word in (
        (("--task", "colour"), "no task 'colour'; it has cell, nucleus"),
        (("--by", "nowhere.csv"), "nowhere.csv is not there"),
        (("--min-probability", "2"), "min-probability"),
    ):
        done = wbczoo("differential", smears / "test", "--model", measured, *arguments, expect=2)
        assert word in done.stderr

"""An evaluation leaves each image's answer, drawings, and a page of what went wrong."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import SMALL_TRAINING, Completed

from wbczoo.evaluation.drawings import explain_no_matplotlib

Run = Callable[..., Completed]


@pytest.fixture(scope="module")
def own_run(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the small run: evaluations are kept in a run's folder, which others export."""
    return Path(shutil.copytree(small_run, tmp_path_factory.mktemp("evaluated") / "run"))


@pytest.fixture(scope="module")
def results(
    wbczoo: Run, own_run: Path, smears: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("results") / "new"
    wbczoo("evaluate", own_run, smears, "--dataset", "synthetic", "--resamples", 50, "--out", out)
    return out


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_each_test_image_has_a_row_that_the_figures_are_made_of(
    results: Path, own_run: Path
) -> None:
    rows = read(results / "predictions.csv")
    document = json.loads((results / "evaluation.json").read_text())
    assert len(rows) == document["files"] == 24
    tested = {row["path"] for row in read(own_run / "split.csv") if row["role"] == "test"}
    assert {row["path"] for row in rows} == tested
    for task, found in document["tasks"].items():
        right = sum(row[task] == row[f"{task}_truth"] for row in rows)
        assert right / 24 == pytest.approx(found["accuracy"]["value"])
        for row in rows:
            likely = {name: float(row[f"{task}_{name}"]) for name in found["classes"]}
            assert max(likely, key=likely.__getitem__) == row[task]
            assert float(row[f"{task}_probability"]) == likely[row[task]]
    assert {row["label"] for row in rows} >= {"eosinophil", "lymphocyte"}
    assert all(row["photograph"] and row["group"] and row["novelty"] for row in rows)
    flags = {flag for row in rows for flag in row["flags"].split()}
    assert flags <= {"unknown", "unsure", "contradicted"}


def test_the_drawings_are_there_in_both_kinds(results: Path) -> None:
    for name in ("confusion", "reliability", "coverage"):
        assert (results / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "8 photographs" in (results / f"{name}.svg").read_text(encoding="utf-8")


def test_the_page_shows_the_worst_errors_first_and_asks_nobody(results: Path) -> None:
    page = (results / "errors.html").read_text(encoding="utf-8")
    rows = read(results / "predictions.csv")
    assert not re.search(r"""(src|href)=["'](?!data:)|<script|url\(""", page)
    for task in ("cell", "nucleus"):
        wrong = [row for row in rows if row[task] != row[f"{task}_truth"]]
        assert f"{len(wrong)} of 24 files are answered otherwise" in page
        section = page.split(f"<h2>{task}</h2>")[1].split("<h2>")[0]
        wrong.sort(key=lambda row, task=task: float(row[f"{task}_{row[f'{task}_truth']}"]))
        shown = re.findall(r"<code>([^<]+)\.jpg</code>", section)
        assert shown == [row["path"].removesuffix(".jpg") for row in wrong]
        assert section.count("data:image/jpeg;base64,") == len(wrong)


def test_an_export_and_other_data_leave_the_same_and_names_are_escaped(
    wbczoo: Run, small_export: Path, smears: Path, tmp_path: Path
) -> None:
    for number, path in enumerate(sorted((smears / "test").rglob("*.jpg"))):
        # Each is labelled as another class, so that most are errors.
        name = ("eosinophil", "lymphocyte", "monocyte")[number % 3]
        (tmp_path / "cells" / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "cells" / name / f"a&{number}'.jpg")
    command = ("evaluate", small_export, tmp_path / "cells", "--dataset", "folder",
               "--protocol", "external", "--resamples", 50, "--out")  # fmt: skip
    wbczoo(*command, tmp_path / "out")
    page = (tmp_path / "out" / "errors.html").read_text(encoding="utf-8")
    assert "a&amp;" in page
    assert "a&0" not in page
    assert read(tmp_path / "out" / "predictions.csv")[0]["path"] == "eosinophil/a&0'.jpg"
    assert "is not empty" in wbczoo(*command, tmp_path / "out", expect=2).stderr
    inside = wbczoo(*command, tmp_path / "cells" / "out", expect=2).stderr
    assert "lies among the images" in inside
    assert not (tmp_path / "cells" / "out").exists()
    wbczoo(*command, tmp_path / "out", "--overwrite")


def test_of_folds_each_has_its_row_and_the_card_has_them_pooled(
    wbczoo: Run, smears: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "folds"
    wbczoo("train", smears, "--dataset", "synthetic", *SMALL_TRAINING, "--epochs", 1,
           "--task", "cell", "--protocol", "grouped", "--fold", "all", "--out", runs)  # fmt: skip
    wbczoo(
        "evaluate",
        runs,
        smears,
        "--dataset",
        "synthetic",
        "--resamples",
        50,
        "--out",
        tmp_path / "results",
    )
    rows = read(tmp_path / "results" / "predictions.csv")
    assert {row["fold"] for row in rows} == set("01234")
    document = json.loads((tmp_path / "results" / "evaluation.json").read_text())
    assert len({row["path"] for row in rows}) == len(rows) == document["files"]
    assert "fold 1</span>" in (tmp_path / "results" / "errors.html").read_text(encoding="utf-8")
    out = tmp_path / "export"
    told = wbczoo("predict", smears, "--model", runs, expect=2).stderr
    assert f"wbczoo export {runs} --fold 0 --out exports/folds" in told
    assert "--out exports/fold-1" in wbczoo("predict", smears, "--model", runs / "fold-1",
                                            expect=2).stderr  # fmt: skip
    # A run's folder holds images too, its curves, which are no smears.
    for run in (runs, runs / "fold-1"):
        told = wbczoo("predict", run, expect=2).stderr
        assert f"wbczoo export {run}" in told
        assert "as --model, and name images to answer" in told
    assert "--fold 0" in wbczoo("export", runs, "--out", out, expect=2).stderr
    assert "of: 0, 1, 2, 3, 4" in wbczoo("export", runs, "--fold", 7, "--out", out, expect=2).stderr
    wbczoo("export", runs, "--fold", 1, "--out", out)
    card = json.loads((out / "card.json").read_text())
    assert [found["fold"] for found in card["evaluations"]] == ["all"]
    assert card["training"]["fold"] == 1
    assert "grouped, all folds pooled" in (out / "card.md").read_text()


def test_without_matplotlib_the_rest_is_written_and_what_is_left_out_is_said(
    wbczoo: Run, small_export: Path, smears: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = wbczoo("evaluate", small_export, smears, "--dataset", "synthetic",
                  "--resamples", 20, "--out", tmp_path / "out")  # fmt: skip
    assert f"no drawings, only tables and the page: {explain_no_matplotlib()}" in done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "evaluation.json", "predictions.csv", "errors.html",
    }  # fmt: skip

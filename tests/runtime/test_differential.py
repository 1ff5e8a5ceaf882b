"""A differential counts each image once, tells what it put aside, and has limits everywhere."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import ROOT, Completed, call
from PIL import Image
from tiny_archives import write_tar, write_zip

from wbczoo.errors import UsageError, WbczooError
from wbczoo.runtime import Session
from wbczoo.runtime.differential.confusion import (
    Confusion,
    choose_errors,
    measured_errors,
    read_card,
)
from wbczoo.runtime.differential.count import Tally, count, describe, group_by
from wbczoo.tasks import CELL, INTENDED, NUCLEUS, PBC8

Run = Callable[..., Completed]


@pytest.fixture(scope="module")
def measured(small_run: Path, smears: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run, evaluated and then exported, so that its card knows its errors.

    It has no limits, for with its own all that so small a training answers is unsure.
    """
    out = tmp_path_factory.mktemp("measured")
    # Without what other tests measured of the shared run.
    shutil.copytree(small_run, out / "run", ignore=shutil.ignore_patterns("evaluation*"))
    summary = json.loads((out / "run" / "summary.json").read_text())
    summary["limits"] |= {"unknown_above": None, "unsure_below": {}}
    (out / "run" / "summary.json").write_text(json.dumps(summary))
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
    table.write_text("file; group\nx\\1.jpg;patient 7 \n./x/1.jpg;patient 7\n")
    assert group_by(str(table), ["smears"])("smears/x/1.jpg") == "patient 7"
    table.write_text("file,group\nx/1.jpg,patient 7\nx/1.jpg,patient 8\n")
    with pytest.raises(UsageError, match="group patient 7, and in line 3 group patient 8"):
        group_by(str(table), [])
    for head, group in (("slide", "v0"), ("slide,patient", "v1"), ("patient,group", "v1")):
        cells = [f"v{number}" for number in range(len(head.split(",")))]
        table.write_text(f"file,{head}\n1.jpg,{','.join(cells)}\n")
        assert group_by(str(table), [])("1.jpg") == group
    table.write_text("file,day\n")
    with pytest.raises(UsageError, match="columns file and group or patient or slide"):
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
                  "--errors", "official", expect=3)  # fmt: skip
    document = json.loads(done.stdout)
    assert f"written: {page}\n" in done.stderr
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


def test_an_image_that_was_named_twice_counts_once(
    measured: Path, smears: Path, wbczoo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "cells"
    folder.mkdir()
    for number, path in enumerate(sorted((smears / "test").rglob("*.jp*g"))[:3]):
        shutil.copy(path, folder / f"{number}.jpg")
    (folder / "empty.jpg").touch()
    names = {f"cells/{path.name}": path.read_bytes() for path in sorted(folder.iterdir())}
    archives = [write_zip(tmp_path / "cells.zip", names), write_tar(tmp_path / "c.tar.gz", names)]
    once = wbczoo("differential", "cells", "--model", measured, "--json", cwd=tmp_path, expect=3)
    again = wbczoo("differential", "cells", "cells/0.jpg", *archives, "--model", measured, "--json",
                   cwd=tmp_path, expect=3)  # fmt: skip
    (group,) = json.loads(again.stdout)["groups"]
    assert group["counted"] + group["contradicted"] == 3
    assert group["classes"] == json.loads(once.stdout)["groups"][0]["classes"]
    assert "7 images came twice and count once: cells/0.jpg = cells/0.jpg, " in (
        " ".join(group["warnings"])
    )
    # Nobody knows which of two groups is right, so both have it, and it is said.
    done = wbczoo("differential", "cells", archives[0], "--by", "folder", "--model", measured,
                  "--json", cwd=tmp_path, expect=3)  # fmt: skip
    assert [one["images"] for one in json.loads(done.stdout)["groups"]] == [4, 4]
    assert "3 images count in two groups" in done.stderr
    answered = call(["predict", "cells", "cells/0.jpg", "--model", measured])
    assert answered == 3  # what was asked, each


@pytest.mark.skipif(sys.platform == "win32", reason="such names cannot be there")
def test_no_name_writes_to_the_terminal(model: Path, wbczoo: Run, tmp_path: Path) -> None:
    group = tmp_path / "red\x1b[31m"
    group.mkdir()
    for name in ("a.png", "a\x1b[2J\nError: all is lost.png"):
        Image.new("RGB", (32, 32)).save(group / name)
    (group / "notes.\x1b[32m").touch()
    done = wbczoo("differential", tmp_path, "--by", "folder", "--model", model, "--device", "cpu")
    assert "\x1b" not in done.stdout + done.stderr
    assert "red\\u001b[31m: 0 of 1 images" in done.stdout
    assert "red\\u001b[31m/a\\u001b[2J\\u000aError: all is lost.png" in done.stdout
    assert "1 .\\u001b[32m" in done.stderr


def test_a_page_never_takes_the_place_of_an_image_or_of_anything_unasked(
    measured: Path, smears: Path, wbczoo: Run, tmp_path: Path
) -> None:
    image = shutil.copy(next((smears / "test").rglob("*.jp*g")), tmp_path / "scan.jpg")
    other = shutil.copy(image, tmp_path / "scan")
    (tmp_path / "notes.html").write_text("mine")
    for page, options, why in (
        (image, ["--overwrite"], "an image"),
        (other, ["--overwrite"], "which is to be read"),
        (tmp_path / "notes.html", [], "is there already. Give --overwrite"),
        (tmp_path, ["--overwrite"], "no ordinary file"),
    ):
        done = wbczoo("differential", image, other, "--model", measured, "--html", page, *options,
                      expect=2)  # fmt: skip
        assert why in done.stderr
    assert Path(image).read_bytes() == Path(other).read_bytes() != b""
    assert (tmp_path / "notes.html").read_text() == "mine"
    wbczoo("differential", image, "--model", measured, "--html", tmp_path / "notes.html",
           "--overwrite")  # fmt: skip
    assert (tmp_path / "notes.html").read_text().startswith("<!doctype html>")


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


def ask_json(*arguments: object, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What `wbczoo differential --json` prints."""
    capsys.readouterr()
    assert call(["differential", *arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_nothing_is_corrected_by_errors_that_nobody_named(
    measured: Path, smears: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = ask_json(smears / "test", "--model", measured, capsys=capsys)
    assert document["correction"] is None
    assert "--errors official:synthetic" in document["why_no_correction"]
    (group,) = document["groups"]
    assert {found["corrected"] for found in group["classes"].values()} == {None}


def test_a_lone_model_has_no_errors_to_correct_by(
    measured: Path, smears: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(measured / "model.onnx", tmp_path / "model.onnx")
    asked = ["differential", smears / "test", "--model", tmp_path, "--errors", "official"]
    assert call(asked) == 2
    assert "no card of it lies beside the model" in capsys.readouterr().err
    # A card of another model says nothing about this one.
    card = json.loads((measured / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps({**card, "weights_sha256": "0" * 64}))
    assert call(asked) == 2
    assert call([*asked[:3], measured, "--errors", "official", "--by", "folder"]) == 0
    table = capsys.readouterr().out
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
    document = ask_json(
        smears / "test", "--model", folder, "--errors", "official:synthetic", capsys=capsys
    )
    assert "official" in document["correction"]


def test_reviewed_cells_correct_as_a_folder_and_as_a_table(
    measured: Path, smears: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The two forms hold the same errors where the table has what the model answers."""
    reviewed = Path(shutil.copytree(smears / "train", tmp_path / "reviewed"))
    (reviewed / "smudge").mkdir()
    some = next(path for path in reviewed.rglob("*.*") if path.is_file())
    shutil.copy(some, reviewed / "smudge" / some.name)
    asked = (smears / "test", "--model", measured, "--errors")
    folder = ask_json(*asked, reviewed, capsys=capsys)
    assert "reviewed cells in reviewed, each taken as a photograph" in folder["correction"]
    assert "1 more were left out" in folder["correction"]
    assert str(tmp_path) not in json.dumps(folder["correction"])
    capsys.readouterr()
    assert call(["predict", reviewed, "--model", measured, "--format", "csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    table = tmp_path / "reviewed.csv"
    lines = [f"{Path(row['path']).parent.name},{row['cell']}\n" for row in rows]
    table.write_text("".join(["truth,answer\n", *lines]))
    found = ask_json(*asked, table, capsys=capsys)
    assert [g["classes"] for g in found["groups"]] == [g["classes"] for g in folder["groups"]]


def test_cells_of_one_photograph_weigh_as_one(tmp_path: Path) -> None:
    table = tmp_path / "reviewed.csv"
    rows = ["Neutrophils,neutrophil,7"] * 3 + ["neutrophil,eosinophil,7", "EOS,eosinophil,8"]
    table.write_text("\n".join(["truth,answer,photograph", *rows]))
    found = choose_errors(str(table), None, CELL, list)  # type: ignore[arg-type]
    assert found.counts.tolist() == [[1, 0, 0, 0], [0] * 4, [0] * 4, [0.25, 0, 0, 0.75]]
    assert "5 reviewed cells in reviewed.csv of 2 photographs" in found.description
    assert "no cell of lymphocyte and monocyte, whose errors are open" in found.description
    table.write_text("truth,answer\nneutrophil,platelet\n")
    with pytest.raises(UsageError, match="the answer 'platelet' in line 2"):
        choose_errors(str(table), None, CELL, list)  # type: ignore[arg-type]
    table.write_text("truth,answer\nplatelet,neutrophil\n")
    with pytest.raises(WbczooError, match="no reviewed cell"):
        choose_errors(str(table), None, CELL, list)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def published() -> Session:
    """The published model, whose card has evaluations of two laboratories, another's first."""
    return Session(ROOT / "exports" / "mobilenetv2-white-cell", device="cpu")


def draw_answers(session: Session) -> dict[str, Tally]:
    """What the published model answers for 367 photographs of BCCD, a quarter eosinophils."""
    errors = choose_errors("official:bccd", session, CELL, list).counts
    shares = [0.25, 0.09, 0.06, 0.6]
    chances = shares @ (errors / errors.sum(1, keepdims=True))
    answers = dict(
        zip(CELL.classes, np.random.default_rng(0).multinomial(367, chances), strict=True)
    )
    counts = Counter({name: int(number) for name, number in answers.items()})
    return {"all": Tally(classes=counts, answered=counts)}


def test_errors_of_another_laboratory_correct_nothing_to_none(published: Session) -> None:
    tallies = draw_answers(published)
    unnamed = describe(tallies, CELL, published, 0.0)
    assert unnamed["correction"] is None
    assert "external:pbc or official:bccd" in unnamed["why_no_correction"]
    own = choose_errors("official:bccd", published, CELL, list)
    assert "official:bccd, simple: 71 files of 69 photographs" in own.description
    (group,) = describe(tallies, CELL, published, 0.0, own)["groups"]
    found = group["classes"]["eosinophil"]["corrected"]
    assert found["low"] <= 25 <= found["high"]
    # Whoever names the other laboratory's is told, and gets no 0.0 (0.0 to 0.0).
    other = choose_errors("external", published, CELL, list)
    (group,) = describe(tallies, CELL, published, 0.0, other)["groups"]
    assert group["classes"]["eosinophil"]["corrected"] is None
    assert "Not corrected: a model with these errors does not give such answers" in " ".join(
        group["warnings"]
    )


def test_classes_that_the_errors_confuse_are_named(published: Session) -> None:
    counts = Counter(eosinophil=50, neutrophil=50, lymphocyte=40)
    blind = np.diag([0.0, 50, 50, 0])
    blind[[0, 0, 3, 3], [0, 3, 0, 3]] = 25
    errors = Confusion(blind, "drawn cells", "drawn")
    tallies = {"all": Tally(classes=counts, answered=counts)}
    (group,) = describe(tallies, CELL, published, 0.0, errors)["groups"]
    assert "cannot tell eosinophil and neutrophil from one another" in " ".join(group["warnings"])


def test_a_leaky_evaluation_corrects_nothing(measured: Path, published: Session) -> None:
    card = read_card(published)
    assert {each.name for each in measured_errors(card, CELL)} == {"external:pbc", "official:bccd"}
    for evaluation in card["evaluations"]:
        evaluation["leaky"] = True
    assert measured_errors(card, CELL) == []
    assert read_card(Session(measured, device="cpu"))["evaluations"]


def test_strange_requests_are_told(measured: Path, smears: Path, wbczoo: Run) -> None:
    for arguments, word in (
        (("--task", "colour"), "no task 'colour'; it has cell, nucleus"),
        (("--by", "nowhere.csv"), "nowhere.csv is not there"),
        (("--min-probability", "2"), "min-probability"),
        (("--errors", "grouped"), "no evaluation grouped without leak for the task cell"),
        (("--errors", "official:elsewhere"), "it has official:synthetic"),
        (("--errors", "nowhere"), "nowhere is none of them"),
        (("--errors", "nowhere.csv"), "nowhere.csv is not there"),
    ):
        done = wbczoo("differential", smears / "test", "--model", measured, *arguments, expect=2)
        assert word in done.stderr

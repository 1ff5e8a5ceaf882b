"""Decisions: made, undone, disputed, counted, signed, and replayed from the log after a stop."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import SMALL_TRAINING, Completed
from drawn_review import decision, open_drawn

from wbczoo.errors import UsageError
from wbczoo.files import sha256_of
from wbczoo.review.agreement import compare
from wbczoo.review.check import check_folder
from wbczoo.review.count import choose_keys, read_ranges
from wbczoo.review.exchange import COCO, LABEL_STUDIO, take_labels
from wbczoo.review.serve import begin_second
from wbczoo.review.session import Action, Review
from wbczoo.review.sign import SIGNED, Unseen, reopen, sign, write_signed


@pytest.fixture
def review(tmp_path: Path) -> Review:
    return open_drawn(tmp_path / "review")


def act(review: Review, by: str, *actions: dict[str, Any]) -> dict[str, Any]:
    found = [Action.model_validate(each) for each in actions]
    return review.act(by, found)


def said(review: Review, by: str = "Ada") -> dict[int, str]:
    return {cell: each.to for cell, each in review.view(by)[0].decided.items()}


def undo(number: int = 0, do: str = "undo") -> dict[str, Any]:
    return {"do": do, "token": f"{do}-token-{number}"}


def decide_flagged(review: Review, by: str, to: str = "monocyte") -> None:
    cells = review.view(by)[1].unseen()
    act(review, by, decision(*cells, to=to, token=f"flagged-{by}"))


def test_what_was_decided_is_there_again_after_a_stop(review: Review, tmp_path: Path) -> None:
    act(review, "Ada", decision(0, to="monocyte"), decision(1, 2, to="not_a_cell"))
    act(review, "Ada", undo(), {"do": "note", "token": "note-token", "text": "pale"})
    act(review, "Bea", decision(5, to="skipped"))
    before = review.changes("Ada", 0)
    again = open_drawn(tmp_path / "review").changes("Ada", 0)
    assert again == before
    assert said(review) == {0: "monocyte", 5: "skipped"}
    assert again["notes"] == {"comment": "pale"}


def test_undo_and_redo_have_no_end_and_take_whole_steps(review: Review) -> None:
    act(review, "Ada", decision(0, to="monocyte"), decision(0, to="lymphocyte", seen=2))
    act(review, "Ada", decision(*range(12), to="neutrophil"))
    states = [said(review)]
    for number in range(3):
        act(review, "Ada", undo(number))
        states.append(said(review))
    assert states[1:] == [{0: "lymphocyte"}, {0: "monocyte"}, {}]
    assert act(review, "Ada", undo(9))["results"][0]["refused"] == "There is nothing to undo."
    for number in range(3):
        act(review, "Ada", undo(number, "redo"))
        assert said(review) == states[2 - number]
    act(review, "Ada", undo(10), decision(0, to="eosinophil", seen=99))
    assert "refused" in act(review, "Ada", undo(11, "redo"))["results"][0]


def test_undo_leaves_what_somebody_else_said_since(review: Review) -> None:
    act(review, "Ada", decision(0, 1, to="monocyte"))
    act(review, "Bea", decision(0, to="lymphocyte", seen=3))
    act(review, "Ada", undo())
    assert said(review) == {0: "lymphocyte"}
    assert review.changes("Ada", 0)["undo"] == 0


def test_a_decision_meets_what_the_page_had_not_shown(review: Review) -> None:
    act(review, "Ada", decision(0, to="monocyte"))
    answer = act(review, "Bea", decision(0, to="lymphocyte"))
    assert answer["results"][0]["conflict"] == [[0, "monocyte", "Ada", 2]]
    assert said(review) == {0: "monocyte"}
    act(review, "Bea", decision(0, to="lymphocyte", seen=2))
    assert said(review) == {0: "lymphocyte"}
    assert [entry.get("by") for entry in review.log.entries[1:]] == ["Ada", "Bea"]


def test_what_is_sent_twice_is_done_once(review: Review, tmp_path: Path) -> None:
    sent = decision(0, to="monocyte", token="sent-once")
    act(review, "Ada", sent)
    act(review, "Ada", decision(0, to="lymphocyte", seen=2), sent)
    act(open_drawn(tmp_path / "review"), "Ada", sent)
    assert said(review) == {0: "lymphocyte"}
    assert len(review.log.entries) == 3


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"to": ["cat"]}, "no class 'cat'"),
        ({"cells": [12]}, "no such cell"),
        ({"cells": [-1]}, "no such cell"),
        ({"cells": [0, 0], "to": ["monocyte"] * 2, "seen": [0, 0]}, "twice"),
        ({"seen": []}, "names cells"),
        ({"cells": [], "to": [], "seen": []}, "names cells"),
    ],
)
def test_odd_decisions_are_refused(review: Review, change: dict[str, Any], sentence: str) -> None:
    answer = act(review, "Ada", {**decision(0, to="monocyte"), **change})
    assert sentence in answer["results"][0]["refused"]
    assert review.version == 1


def test_the_count_parts_what_was_looked_at_from_what_is_proposed(review: Review) -> None:
    table = review.changes("Ada", 0)["table"]
    assert (table["cells"], table["flagged"], table["unseen"]) == (12, 3, 3)
    assert table["counted"] == 9  # what is flagged counts for nothing before somebody looked
    flagged = review.view("Ada")[1].unseen()
    act(review, "Ada", decision(*flagged, to="monocyte"), decision(1, to="not_a_cell"))
    table = review.changes("Ada", 0)["table"]
    assert (table["counted"], table["reviewed"], table["accepted"]) == (11, 4, 8)
    assert table["classes"]["not_a_cell"]["count"] == 1
    assert "percent" not in table["classes"]["not_a_cell"]
    assert sum(row["count"] for row in table["classes"].values()) == 12
    assert "fewer than 100" in table["warnings"][0]


def test_nothing_is_signed_while_a_flagged_cell_is_unseen(review: Review, tmp_path: Path) -> None:
    with pytest.raises(Unseen) as refused:
        sign(review, "Ada")
    assert refused.value.cells == [0, 4, 8]
    decide_flagged(review, "Ada")
    sign(review, "Ada")
    document = json.loads((tmp_path / "review" / "differential.json").read_text())
    assert document["signed"]["by"] == "Ada"
    assert document["counted"] == 12
    assert [len(each["sha256"]) for each in document["photographs"]] == [64] * 3
    assert b"monocyte," in (tmp_path / "review" / "differential.csv").read_bytes()
    assert "Ada" in (tmp_path / "review" / "differential.html").read_text()
    answer = act(review, "Ada", decision(1, to="monocyte"))["results"][0]
    assert "signed" in answer["refused"]
    assert check_folder(tmp_path / "review").faults == []


def test_what_was_signed_is_written_again_to_the_byte_after_a_kill(
    review: Review, tmp_path: Path
) -> None:
    decide_flagged(review, "Ada")
    sign(review, "Ada")
    path = tmp_path / "review" / "differential.json"
    before = path.read_bytes()
    path.unlink()
    write_signed(open_drawn(tmp_path / "review"))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "name", ["cells.csv", "cells.coco.json", "cells.label-studio.json", "cells.geojson"]
)
def test_each_file_that_a_kill_kept_from_a_signature_is_written_later(
    review: Review, tmp_path: Path, name: str
) -> None:
    decide_flagged(review, "Ada")
    sign(review, "Ada")
    path = tmp_path / "review" / name
    before = sorted(each.name for each in path.iterdir()) if path.is_dir() else path.read_bytes()
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_signed(open_drawn(tmp_path / "review"))
    after = sorted(each.name for each in path.iterdir()) if path.is_dir() else path.read_bytes()
    assert after == before


def test_a_kill_while_it_is_signed_anew_leaves_no_labels_of_before(
    review: Review, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide_flagged(review, "Ada")
    sign(review, "Ada")
    reopen(review, "Ada", "cell 3 looked at again")
    act(review, "Ada", decision(3, to="eosinophil"))

    def die(_: Review) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("wbczoo.review.sign.write_labels", die)
    with pytest.raises(KeyboardInterrupt):
        sign(review, "Ada")
    monkeypatch.undo()
    write_signed(open_drawn(tmp_path / "review"))
    boxes = json.loads((tmp_path / "review" / "cells.coco.json").read_text())["annotations"]
    assert len(boxes) == 4


def test_reopening_is_in_the_log_with_its_reason(review: Review) -> None:
    decide_flagged(review, "Ada")
    sign(review, "Ada")
    with pytest.raises(UsageError, match="Say why"):
        reopen(review, "Bea", " ")
    reopen(review, "Bea", "cell 3 looked at again")
    assert review.log.entries[-1]["why"] == "cell 3 looked at again"
    act(review, "Bea", decision(3, to="eosinophil"))
    sign(review, "Bea")
    assert said(review)[3] == "eosinophil"
    page = (review.folder / "differential.html").read_text()
    assert "reopened by Bea" in page
    assert "cell 3 looked at again" in page


def test_what_is_signed_no_longer_does_not_stay(review: Review) -> None:
    decide_flagged(review, "Ada")
    sign(review, "Ada")
    paths = [review.folder / name for name in SIGNED]
    kept = [path.read_bytes() for path in paths]
    reopen(review, "Ada", "too quick")
    assert not any(path.exists() for path in paths)
    assert check_folder(review.folder).faults == []
    for path, content in zip(paths, kept, strict=True):  # killed before they were taken away
        path.write_bytes(content)
    assert len(check_folder(review.folder).faults) == 3
    write_signed(open_drawn(review.folder))
    assert not any(path.exists() for path in paths)


def test_check_says_what_an_older_log_does_not_bind(review: Review) -> None:
    decide_flagged(review, "Ada")
    sign(review, "Ada")
    older = open_drawn(review.folder.with_name("older"))
    decide_flagged(older, "Ada")
    older.write({"what": "sign", "by": "Ada", "differential_sha256": "0" * 64})
    write_signed(older)
    unchecked = check_folder(older.folder).unchecked
    assert [each.split()[0] for each in unchecked] == ["differential.html", "differential.csv"]
    assert check_folder(review.folder).unchecked == []


def test_check_misses_answers_photographs_and_signed_files(review: Review, tmp_path: Path) -> None:
    decide_flagged(review, "Ada")
    sign(review, "Ada")
    folder = tmp_path / "review"
    paths = [each.path for each in review.prepared.photographs]
    assert check_folder(folder, paths).faults == []
    for name in ("answers.jsonl", *SIGNED):
        kept = (folder / name).read_bytes()
        (folder / name).write_bytes(kept + b" ")
        assert name in check_folder(folder).faults[0]
        (folder / name).write_bytes(kept)
    Path(paths[1]).write_bytes(Path(paths[0]).read_bytes())
    assert paths[1] in check_folder(folder, paths).faults[0]
    assert "not named" in check_folder(folder, paths[:1]).faults[0]
    with pytest.raises(UsageError, match="holds no"):
        check_folder(tmp_path)


def test_two_reviewers_are_blind_until_both_signed(review: Review, tmp_path: Path) -> None:
    act(review, "Ada", decision(*range(12), to="monocyte"))
    begin_second(review, None, "Bea")
    assert said(review, "Bea") == {}
    act(review, "Bea", decision(*range(11), to="monocyte"), decision(11, to="lymphocyte"))
    assert review.changes("Ada", 0)["changes"] == [
        [cell, "monocyte", "Ada", cell + 2] for cell in range(12)
    ]
    assert review.changes("Ada", 14)["changes"] == []
    sign(review, "Bea")
    assert not review.decisions.revealed
    assert not (tmp_path / "review" / "agreement.json").exists()
    sign(review, "Ada")
    found = json.loads((tmp_path / "review" / "agreement.json").read_text())
    assert [each["cell"] for each in found["differences"]] == [11]
    assert found["agreement"]["value"] == pytest.approx(11 / 12)
    assert sha256_of(tmp_path / "review" / "differential.json") != sha256_of(
        tmp_path / "review" / "second" / "differential.json"
    )
    assert check_folder(tmp_path / "review").faults == []
    with pytest.raises(UsageError, match="takes no part"):
        act(review, "Eve", decision(0, to="monocyte"))
    with pytest.raises(UsageError, match="folder of their own"):
        begin_second(review, None, "Eve")
    again = open_drawn(tmp_path / "review")
    assert again.decisions.revealed


def test_a_second_needs_one_first(review: Review) -> None:
    with pytest.raises(UsageError, match="--reviewer"):
        begin_second(review, None, "Bea")
    act(review, "Ada", decision(0, to="monocyte"))
    act(review, "Eve", decision(1, to="monocyte"))
    with pytest.raises(UsageError, match="Ada, Eve"):
        begin_second(review, "Ada", "Bea")


def test_kappa_is_what_a_table_by_hand_gives() -> None:
    # Two raters, 50 cells: 20 and 15 agreed, 5 and 10 not; Cohen's kappa is .4.
    first = ["a"] * 25 + ["b"] * 25
    second = ["a"] * 20 + ["b"] * 5 + ["a"] * 10 + ["b"] * 15
    found = compare(first, second, [str(n) for n in range(50)])
    assert found["agreement"]["value"] == pytest.approx(0.7)
    assert found["kappa"]["value"] == pytest.approx(0.4)
    assert found["kappa"]["low"] < 0.2 < 0.6 < found["kappa"]["high"]
    perfect = compare(first, first, [str(n) for n in range(50)])["kappa"]
    assert perfect["value"] == 1
    assert perfect["low"] < 0.9
    assert compare(["a"], ["a"], ["x"])["kappa"]["value"] is None
    assert compare([], [], [])["agreement"]["value"] is None


def test_reviewed_cells_are_a_data_set(review: Review, tmp_path: Path) -> None:
    from wbczoo_datasets.folder import FOLDER

    act(review, "Ada", decision(0, 1, 2, to="monocyte"), decision(4, 5, to="neutrophil"),
        decision(8, to="skipped"), decision(9, to="not_a_cell"))  # fmt: skip
    sign(review, "Ada")
    folder = tmp_path / "review"
    errors = [*csv.DictReader((folder / "errors.csv").read_text().splitlines())]
    assert [row["truth"] for row in errors].count("monocyte") == 3
    assert all(row["answer"] in review.prepared.task.classes for row in errors)
    for root in (folder, folder / "cells"):
        found = FOLDER.samples(root, photograph_from=str(folder / "cells.csv"))
        assert sorted(each.label for each in found) == (
            ["monocyte"] * 3 + ["neutrophil"] * 2 + ["not_a_cell"]
        )
        assert {each.photograph for each in found} == {
            each.path for each in review.prepared.photographs
        }


@pytest.mark.nightly
def test_reviewed_cells_train_a_model(tmp_path: Path, wbczoo: Callable[..., Completed]) -> None:
    review = open_drawn(tmp_path / "review", photographs=12, cells=4, flagged=5)
    for place, label in enumerate(("monocyte", "neutrophil", "lymphocyte", "eosinophil")):
        act(review, "Ada", decision(*range(place, 48, 4), to=label))
    sign(review, "Ada")
    cells, run = tmp_path / "review" / "cells", tmp_path / "run"
    named = (
        "--protocol",
        "grouped",
        "--photograph-from",
        cells.with_name("cells.csv"),
        "--task",
        "cell",
    )
    wbczoo("train", cells, *named, "--fold", 0, *SMALL_TRAINING, "--out", run)
    told = wbczoo("evaluate", run, cells, *named[2:4], "--device", "cpu").stdout
    assert "cell" in told
    split = [*csv.DictReader(next(run.rglob("split.csv")).read_text().splitlines())]
    assert len(split) == 48
    roles: dict[str, set[str]] = {}
    for row in split:
        roles.setdefault(row["photograph"], set()).add(row["role"])
    assert len(roles) == 12
    assert all(len(found) == 1 for found in roles.values())  # no photograph on both sides


def test_keys_are_digits_then_what_is_given() -> None:
    classes = ["basophil", "monocyte", "not_a_cell"]
    found = choose_keys(classes, ["o=monocyte", "smudge_cell"])
    assert [(each.name, each.key) for each in found] == [
        ("basophil", "1"), ("monocyte", "o"), ("smudge_cell", "2"), ("not_a_cell", "n"),
    ]  # fmt: skip
    for given in (["u=monocyte"], ["oo=monocyte"], ["o=monocyte", "o=basophil"], ["m=basophil"]):
        with pytest.raises(UsageError, match="a key is"):
            choose_keys(classes, given)


def test_ranges_are_a_laboratory_s_table(tmp_path: Path, review: Review) -> None:
    path = tmp_path / "ranges.csv"
    path.write_text("class;low;high\nmonocyte;2;8\n")
    review.ranges = read_ranges(path, ["monocyte"])
    act(review, "Ada", decision(*range(12), to="monocyte"))
    row = review.changes("Ada", 0)["table"]["classes"]["monocyte"]
    assert (row["range"], row["outside"]) == ([2.0, 8.0], True)
    for text in ("monocyte,8,2", "monocyte,x,2", "cat,1,2"):
        path.write_text(f"class,low,high\n{text}\n")
        with pytest.raises(UsageError, match="Line 2"):
            read_ranges(path, ["monocyte"])


@pytest.mark.parametrize("name", [COCO, LABEL_STUDIO])
def test_labels_leave_and_come_back(review: Review, tmp_path: Path, name: str) -> None:
    act(review, "Ada", decision(0, 4, to="monocyte"), decision(5, 8, to="eosinophil"))
    sign(review, "Ada")
    again = open_drawn(tmp_path / "again")
    act(again, "Bea", decision(4, to="neutrophil"))
    for _ in range(2):  # the same file is taken once
        take_labels(again, "Ada", review.folder / name)
    assert said(again) == {0: "monocyte", 4: "neutrophil", 5: "eosinophil", 8: "eosinophil"}
    assert len(again.log.entries) == 5
    assert check_folder(tmp_path / "again").faults == []


def test_labels_made_elsewhere_are_of_the_cell_that_they_cover(
    review: Review, tmp_path: Path
) -> None:
    def task(image: str, x: float, label: str) -> dict[str, Any]:
        value = {"x": x, "y": 100 * 22 / 240, "width": 7.5, "height": 10, "rotation": 0,
                 "rectanglelabels": [label]}  # fmt: skip
        result = {"original_width": 320, "original_height": 240, "value": value}
        return {"data": {"image": image}, "annotations": [{"result": [result]}]}

    path = tmp_path / "labels.json"
    uploaded = "/data/upload/1/0a1b2c3d-field-0001.png"
    tasks = [task(uploaded, 100 * 22 / 320, "Monocytes"), task(uploaded, 90, "monocyte"),
             task("elsewhere.png", 6, "monocyte")]  # fmt: skip
    path.write_text(json.dumps(tasks))
    with pytest.raises(UsageError, match="--classes"):
        take_labels(review, "Ada", path)
    tasks[0] = task(uploaded, 100 * 22 / 320, "Monocyte")
    path.write_text(json.dumps(tasks))
    take_labels(review, "Ada", path)
    assert said(review) == {4: "monocyte"}
    for text in ("[{}]", "{}", "[", "3", '{"images": [], "categories": [], "annotations": [1]}'):
        path.write_text(text)
        with pytest.raises(UsageError, match="cannot be read"):
            take_labels(review, "Ada", path)
    path.write_text("[]")
    with pytest.raises(UsageError, match="None of the 0"):
        take_labels(review, "Ada", path)

"""A cell that the finder missed is drawn, decided, counted, undone, kept, and handed on."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from drawn_review import decision, open_drawn

from wbczoo.review.check import check_folder
from wbczoo.review.exchange import take_labels
from wbczoo.review.serve import begin_second
from wbczoo.review.session import Action, Review
from wbczoo.review.sign import sign, write_signed

BOX = [200, 150, 230, 184]  # where no cell was found
NEW = 12  # its place behind the cells of three photographs


def add(to: str = "monocyte", token: str = "add-token", **given: Any) -> dict[str, Any]:
    return {"do": "add", "token": token, "photograph": 1, "box": BOX, "to": [to], **given}


def act(review: Review, by: str, *actions: dict[str, Any]) -> dict[str, Any]:
    return review.act(by, [Action.model_validate(each) for each in actions])


@pytest.fixture
def review(tmp_path: Path) -> Review:
    return open_drawn(tmp_path / "review")


def test_a_cell_that_was_drawn_counts_and_is_there_again_after_a_stop(
    review: Review, tmp_path: Path
) -> None:
    before = review.changes("Ada", 0)["table"]
    told = act(review, "Ada", add())
    assert told["changes"] == [[NEW, "monocyte", "Ada", 2]]
    assert told["added"] == [[NEW, 1, *BOX]]
    table = told["table"]
    assert table["cells"] == before["cells"] + 1
    assert table["classes"]["monocyte"]["count"] == before["classes"]["monocyte"]["count"] + 1
    assert review.log.entries[-1]["added"]
    assert review.log.entries[-1]["box"] == BOX
    act(review, "Bea", decision(NEW, to="lymphocyte", seen=2))
    assert open_drawn(tmp_path / "review").changes("Ada", 0) == review.changes("Ada", 0)
    assert not check_folder(tmp_path / "review").faults


def test_what_was_added_is_gone_when_it_is_undone_and_back_when_redone(review: Review) -> None:
    act(review, "Ada", add())
    told = act(review, "Ada", {"do": "undo", "token": "undo-token"})
    assert told["changes"][0][:2] == [NEW, None]
    assert told["table"]["cells"] == NEW
    assert review.changes("Ada", 0)["added"] == []
    act(review, "Ada", {"do": "redo", "token": "redo-token"})
    assert review.changes("Ada", 0)["added"] == [[NEW, 1, *BOX]]
    act(review, "Ada", {"do": "undo", "token": "undo-again"})
    act(review, "Bea", add("neutrophil", "add-again"))  # the same box is the same cell
    assert review.changes("Ada", 0)["changes"][0][:3] == [NEW, "neutrophil", "Bea"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"photograph": 9}, "no such photograph"),
        ({"box": [1, 2, 3]}, "four sides"),
        ({"box": [200, 150, 330, 184]}, "lies in its photograph"),
        ({"box": [200, 150, 202, 184]}, "lies in its photograph"),
        ({"box": [230, 150, 200, 184]}, "lies in its photograph"),
        ({"box": [21, 21, 45, 45]}, "there already"),
        ({"to": "not_a_cell"}, "of one class"),
        ({"to": "basophil"}, "of one class"),
    ],
)
def test_no_cell_is_added_where_none_can_be(
    review: Review, given: dict[str, Any], why: str
) -> None:
    told = act(review, "Ada", add(**given))
    assert why in told["results"][0]["refused"]
    assert review.version == 1


def test_a_box_that_is_no_cell_makes_room_for_one_that_is_drawn_better(review: Review) -> None:
    act(review, "Ada", decision(4, to="not_a_cell"))
    told = act(review, "Ada", add(box=[21, 21, 45, 45]))
    assert [each[0] for each in told["added"]] == [NEW]


def test_what_was_added_is_signed_and_flows_back(review: Review, tmp_path: Path) -> None:
    folder = tmp_path / "review"
    act(review, "Ada", decision(*review.view("Ada")[1].unseen(), to="monocyte"), add("neutrophil"))
    sign(review, "Ada")
    document = json.loads((folder / "differential.json").read_text())
    assert [(each["box"], each["class"]) for each in document["added"]] == [(BOX, "neutrophil")]
    assert [each["cells"] for each in document["photographs"]] == [4, 5, 4]
    assert "One was missed by the finder and drawn" in (folder / "differential.html").read_text()
    boxes = json.loads((folder / "cells.coco.json").read_text())["annotations"]
    assert [200, 150, 30, 34] in [each["bbox"] for each in boxes]
    (shown,) = [each for each in (folder / "cells.geojson").iterdir() if "0001" in each.name]
    last = json.loads(shown.read_text())["features"][-1]
    assert last["geometry"]["coordinates"][0][0] == BOX[:2]
    assert last["properties"]["classification"]["name"] == "neutrophil"
    with (folder / "cells.csv").open() as stream:
        rows = [*csv.DictReader(stream)]
    assert "neutrophil" in [each["label"] for each in rows]
    assert all((folder / each["file"]).exists() for each in rows)
    with (folder / "errors.csv").open() as stream:  # the model answered nothing of it
        assert len([*csv.DictReader(stream)]) == len(rows) - 1
    (folder / "differential.json").unlink()
    write_signed(open_drawn(folder))  # as it was signed
    assert not check_folder(folder).faults


def test_a_blind_second_reviewer_hears_of_no_cell_that_the_first_drew(review: Review) -> None:
    act(review, "Ada", add())
    begin_second(review, "Ada", "Bea")
    told = review.changes("Bea", 0)
    assert told["added"] == []
    assert told["table"]["cells"] == NEW
    act(review, "Bea", add("lymphocyte", "of-bea-too"))
    assert review.changes("Bea", 0)["changes"][0][:2] == [NEW, "lymphocyte"]
    assert review.changes("Ada", 0)["changes"][0][:2] == [NEW, "monocyte"]


def test_a_box_that_begins_where_a_found_one_does_keeps_its_own_picture(
    review: Review, tmp_path: Path
) -> None:
    act(review, "Ada", decision(*review.view("Ada")[1].unseen(), to="monocyte"),
        add(box=[20, 20, 70, 70]))  # fmt: skip
    sign(review, "Ada")
    with (tmp_path / "review" / "cells.csv").open() as stream:
        named = [row["file"] for row in csv.DictReader(stream)]
    assert len(named) == len({*named}) == 4
    assert len([*(tmp_path / "review" / "cells").rglob("*.png")]) == 4


def test_two_who_drew_one_cell_a_little_apart_agree_on_it(review: Review, tmp_path: Path) -> None:
    flagged = review.view("Ada")[1].unseen()
    begin_second(review, "Ada", "Bea")
    act(review, "Ada", decision(*flagged, to="monocyte"), add(),
        add(token="only-ada", box=[100, 150, 130, 184]),
        add(token="by-mistake", box=[50, 150, 80, 184]), decision(NEW + 2, to="not_a_cell"),
        add("neutrophil", "of-both-2", photograph=2))  # fmt: skip
    act(review, "Bea", decision(*flagged, to="monocyte"),
        add(token="of-bea-1", box=[202, 148, 231, 184]),
        add("lymphocyte", "of-bea-2", box=[201, 151, 230, 184], photograph=2),
        add(token="only-bea", box=[200, 100, 230, 134]))  # fmt: skip
    sign(review, "Ada")
    sign(review, "Bea")
    folder = tmp_path / "review"
    boxes = json.loads((folder / "cells.coco.json").read_text())["annotations"]
    assert [each["bbox"] for each in boxes if each["bbox"][1] > 90] == [[200, 150, 30, 34]]
    told = json.loads((folder / "agreement.json").read_text())
    assert told["cells"] == 5
    assert [(each["first"], each["second"]) for each in told["differences"]] == [
        ("monocyte", None), ("neutrophil", "lymphocyte"), (None, "monocyte")
    ]  # fmt: skip


def test_a_cell_that_was_drawn_and_called_none_is_not_signed_as_missed(
    review: Review, tmp_path: Path
) -> None:
    act(review, "Ada", decision(*review.view("Ada")[1].unseen(), to="monocyte"), add(),
        add(token="another-1", photograph=2), decision(NEW, to="not_a_cell", seen=5),
        decision(NEW + 1, to="skipped", seen=6))  # fmt: skip
    sign(review, "Ada")
    assert "missed by the finder" not in (tmp_path / "review" / "differential.html").read_text()


def test_labels_from_elsewhere_reach_no_cell_that_a_blind_other_drew(
    review: Review, tmp_path: Path
) -> None:
    begin_second(review, "Ada", "Bea")
    act(review, "Ada", add())
    path = tmp_path / "labels.json"
    names = [each.path for each in review.prepared.photographs]
    path.write_text(json.dumps({
        "images": [{"id": place, "file_name": name} for place, name in enumerate(names)],
        "categories": [{"id": 1, "name": "monocyte"}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "bbox": box}
            for box in ([200, 150, 30, 34], [20, 20, 24, 24])
        ],
    }))  # fmt: skip
    take_labels(review, "Bea", path)
    assert review.changes("Bea", 0)["changes"] == [[4, "monocyte", "Bea", 4]]


def test_no_cell_is_there_twice_by_undoing_redoing_or_deciding(review: Review) -> None:
    def refused(by: str, action: dict[str, Any]) -> str:
        return str(act(review, by, action)["results"][0].get("refused"))

    act(review, "Ada", add(), {"do": "undo", "token": "ada-undo-1"})
    act(review, "Bea", add(token="of-bea-1", box=[202, 148, 231, 184]))
    assert "there already" in refused("Ada", {"do": "redo", "token": "ada-redo-1"})
    assert "there already" in refused("Ada", decision(NEW, to="monocyte"))
    act(review, "Ada", decision(4, to="not_a_cell"))
    act(review, "Bea", add(token="of-bea-2", box=[21, 21, 45, 45]))
    assert "there already" in refused("Bea", decision(4, to="monocyte", seen=99))
    assert refused("Bea", decision(4, to="skipped", seen=99)) == "None"
    act(review, "Bea", {"do": "undo", "token": "bea-undo-1"})
    before = review.changes("Ada", 0)
    act(review, "Ada", {"do": "undo", "token": "ada-undo-2"})  # it leaves the box that was redrawn
    after = review.changes("Ada", 0)
    assert after["changes"] == before["changes"]
    assert after["undo"] == before["undo"] - 1
    assert refused("Bea", decision(NEW + 2, to="not_a_cell", seen=99)) == "None"
    assert refused("Bea", decision(4, to="monocyte", seen=99)) == "None"

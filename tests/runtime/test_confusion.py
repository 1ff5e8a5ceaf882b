"""Which measured errors correct a differential, by hand: of a card, a folder or a table."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny_export import write_model

from wbczoo.errors import UsageError, WbczooError
from wbczoo.runtime import Session
from wbczoo.runtime.differential.confusion import (
    choose_errors,
    explain_none,
    measured_errors,
    read_card,
)
from wbczoo.tasks import CELL

# By truth and answer; no monocyte was tested.
MATRIX = [[8, 0, 0, 2], [1, 3, 0, 0], [0, 0, 0, 0], [0, 0, 5, 15]]
OFFICIAL: dict[str, Any] = {
    "protocol": "official", "dataset": "bccd", "laboratory": None, "part": "simple",
    "leaky": False, "files": 34, "photographs": 17,
    "tasks": {
        "cell": {
            "classes": list(CELL.classes),
            "confusion": MATRIX,
            "per_class": {
                name: {"groups": groups}
                for name, groups in zip(CELL.classes, (5, 2, 0, 10), strict=True)
            },
        }
    },
}  # fmt: skip
COUNTS = [[4, 0, 0, 1], [0.5, 1.5, 0, 0], [0, 0, 0, 0], [0, 0, 2.5, 7.5]]


def evaluation(**changed: object) -> dict[str, Any]:
    return {**copy.deepcopy(OFFICIAL), **changed}


def cell_of(**changed: object) -> dict[str, Any]:
    """The official evaluation with something else about its cells."""
    return evaluation(tasks={"cell": {**OFFICIAL["tasks"]["cell"], **changed}})


def groups_of(*groups: int) -> dict[str, Any]:
    return {name: {"groups": each} for name, each in zip(CELL.classes, groups, strict=True)}


def session_of(folder: Path, *evaluations: dict[str, Any], weights: str = "ab" * 32) -> Session:
    document = {"format": 1, "weights_sha256": weights, "evaluations": evaluations}
    (folder / "card.json").write_text(json.dumps(document))
    return Session(write_model(folder / "model.onnx"), device="cpu")


def nothing(paths: Sequence[str]) -> Iterator[Any]:
    raise AssertionError(paths)


def test_a_row_of_errors_adds_up_to_its_photographs() -> None:
    (found,) = measured_errors({"evaluations": [OFFICIAL]}, CELL)
    assert found.counts.tolist() == COUNTS
    assert found.name == "official:bccd"
    assert found.description == (
        "official:bccd, simple: 34 files of 17 photographs; no cell of monocyte, whose errors are "
        "open"
    )


def test_a_laboratory_has_its_own_name_and_photographs_may_be_unknown() -> None:
    other = evaluation(laboratory="B", photographs=None)
    (found,) = measured_errors({"evaluations": [other]}, CELL)
    assert found.name == "official:B"
    assert found.description.startswith(
        "official:B, simple: 34 files of an unknown number of photographs; no cell"
    )


def test_a_laboratory_of_a_joined_evaluation_is_named_alone(tmp_path: Path) -> None:
    half = [[each // 2 for each in row] for row in MATRIX]
    own = cell_of(confusion=half, per_class=groups_of(4, 1, 0, 5))
    of_each = {name: {"files": 17, "photographs": 9, "groups": 9, "tasks": own["tasks"]}
               for name in ("here", "there")}  # fmt: skip
    session = session_of(tmp_path, evaluation(dataset="here+there", laboratories=of_each))
    found = choose_errors("official:there", session, CELL, nothing)
    assert found.description.startswith("official:there, simple: 17 files of 9 photographs; no")
    assert found.counts[0].tolist() == [3.2, 0, 0, 0.8]
    # The protocol alone means all of them together, as it did.
    assert choose_errors("official", session, CELL, nothing).counts.tolist() == COUNTS
    with pytest.raises(UsageError, match="official:here, official:there") as caught:
        choose_errors("official:bccd", session, CELL, nothing)
    assert "has no evaluation official:bccd" in str(caught.value)


def test_what_evaluate_leaves_is_a_table_of_errors_as_it_is(tmp_path: Path) -> None:
    lines = [
        "path,label,photograph,flags,cell_truth,cell,cell_probability,nucleus_truth,nucleus",
        "1.png,EOS,a,,eosinophil,neutrophil,.9,polynuclear,polynuclear",
        "2.png,EOS,a,,eosinophil,eosinophil,.9,polynuclear,polynuclear",
        "3.png,BAS,b,,,eosinophil,.9,,polynuclear",  # of no class of the task
        "4.png,LYT,c,,lymphocyte,,,mononuclear,",  # without an answer
    ]
    (tmp_path / "predictions.csv").write_text("\n".join(lines))
    found = choose_errors(str(tmp_path / "predictions.csv"), session_of(tmp_path), CELL, nothing)
    assert found.counts[0].tolist() == [0.5, 0, 0, 0.5]
    assert found.counts.sum() == 1
    assert "2 more were left out" in found.description


def test_a_full_matrix_leaves_no_errors_open() -> None:
    full = cell_of(confusion=[[1] * 4] * 4, per_class=groups_of(4, 4, 4, 4))
    (found,) = measured_errors({"evaluations": [full]}, CELL)
    assert found.description == "official:bccd, simple: 34 files of 17 photographs"
    assert found.counts.tolist() == [[1] * 4] * 4


def test_leaky_evaluations_and_other_classes_are_passed_over() -> None:
    others = [
        evaluation(leaky=True),
        evaluation(tasks={}),
        cell_of(classes=["a", "b", "c", "d"]),
        evaluation(protocol="external"),
    ]
    assert [each.name for each in measured_errors({"evaluations": others}, CELL)] == [
        "external:bccd"
    ]
    assert measured_errors({}, CELL) == []


def test_photographs_come_before_views_and_then_the_most_photographs() -> None:
    views = evaluation(part="augmented", files=500)
    fewer = evaluation(part="fewer", files=16)
    fewer["tasks"]["cell"]["per_class"] = groups_of(2, 2, 0, 4)  # 8 photographs, 2 files of each
    for cards in ([views, OFFICIAL, fewer], [fewer, views, OFFICIAL], [OFFICIAL, fewer, views]):
        (found,) = measured_errors({"evaluations": cards}, CELL)
        assert "simple" in found.description
    none = cell_of(confusion=[[0] * 4] * 4, per_class=groups_of(0, 0, 0, 0))
    (found,) = measured_errors({"evaluations": [none]}, CELL)
    assert not found.counts.any()


@pytest.mark.parametrize(
    "damaged",
    [
        {},
        "no evaluation",
        evaluation(tasks=None),
        evaluation(files=10**400),
        cell_of(confusion=[[1, 0], [0, 1]]),
        cell_of(confusion=[[-1, 0, 0, 0], *MATRIX[1:]]),
        cell_of(confusion=[["a"] * 4] * 4),
        cell_of(per_class={}),
        cell_of(per_class=groups_of(5, 2, 0, -1)),
    ],
)
def test_a_damaged_card_is_told(damaged: Any) -> None:
    with pytest.raises(WbczooError, match="evaluations are damaged"):
        measured_errors({"evaluations": [damaged]}, CELL)


def test_a_card_counts_for_its_own_model_alone(tmp_path: Path) -> None:
    assert read_card(session_of(tmp_path, OFFICIAL))["evaluations"]
    session = session_of(tmp_path, OFFICIAL, weights="cd" * 32)
    assert read_card(session) == {}
    with pytest.raises(UsageError, match="no card of it lies beside the model"):
        choose_errors("official", session, CELL, nothing)
    (tmp_path / "card.json").unlink()
    assert read_card(session) == {}


def test_an_evaluation_is_named_by_protocol_and_laboratory(tmp_path: Path) -> None:
    session = session_of(
        tmp_path, OFFICIAL, evaluation(laboratory="B"), evaluation(protocol="external")
    )
    for choice, name in (
        ("external", "external:bccd"),
        ("external:bccd", "external:bccd"),
        ("official:bccd", "official:bccd"),
        ("official:B", "official:B"),
    ):
        assert choose_errors(choice, session, CELL, nothing).name == name
    with pytest.raises(
        UsageError, match=r"official fits several .* one of official:bccd, official:B\.$"
    ):
        choose_errors("official", session, CELL, nothing)
    for choice in ("grouped", "official:C"):
        said = rf"no evaluation {choice} .* it has official:bccd, official:B, external:bccd\.$"
        with pytest.raises(UsageError, match=said):
            choose_errors(choice, session, CELL, nothing)
    names = "official:bccd or official:B or external:bccd"
    with pytest.raises(UsageError, match=rf"card \({names}\), a folder .*; odd is none of them"):
        choose_errors("odd", session, CELL, nothing)
    assert f"--errors {names}. Otherwise" in explain_none(session, CELL)


def test_a_card_without_evaluations_has_none(tmp_path: Path) -> None:
    session = session_of(tmp_path)
    with pytest.raises(UsageError, match=r"it has none\.$"):
        choose_errors("official", session, CELL, nothing)
    with pytest.raises(UsageError, match=r"card \(it has none\), a folder"):
        choose_errors("odd", session, CELL, nothing)
    assert " no evaluation without leak to name. Review some " in explain_none(session, CELL)


def test_reviewed_cells_of_a_folder_are_answered(tmp_path: Path) -> None:
    root = tmp_path / "reviewed"
    for name in (
        "Neutrophils/1.png",
        "Neutrophils/2.png",
        "EOS/1.png",
        "platelet/1.png",
        "EOS/2.png",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    asked: list[str] = []

    def predict(paths: Sequence[str]) -> Iterator[Any]:
        for path in paths:
            asked.append(path)
            answer = "monocyte" if path.endswith("Neutrophils/2.png") else "neutrophil"
            row = {"path": path, "tasks": {"cell": {"class": answer}}}
            yield {"path": path, "error": "x"} if path.endswith("EOS/2.png") else row

    found = choose_errors(str(root), session_of(tmp_path), CELL, predict)
    assert sorted(asked) == sorted(
        str(root / name)
        for name in ("Neutrophils/1.png", "Neutrophils/2.png", "EOS/1.png", "EOS/2.png")
    )
    assert found.counts.tolist() == [[0, 0, 0, 1], [0] * 4, [0] * 4, [0, 0, 1, 1]]
    assert found.name == "reviewed"
    assert found.description == (
        "3 reviewed cells in reviewed, each taken as a photograph of its own; 2 more were left "
        "out, refused or of no class of cell; no cell of lymphocyte and monocyte, whose errors "
        "are open"
    )


def test_a_reviewed_cell_counts_once_however_often_it_lies_there(tmp_path: Path) -> None:
    root = tmp_path / "reviewed"
    cells = {"EOS/1.png": b"1", "EOS/copy.png": b"1", "EOS/2.png": b"2", "Neutrophil/3.png": b"3"}
    for name, content in cells.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)

    def predict(paths: Sequence[str]) -> Iterator[Any]:
        return ({"path": path, "tasks": {"cell": {"class": "eosinophil"}}} for path in paths)

    found = choose_errors(str(root), session_of(tmp_path), CELL, predict)
    assert found.counts.tolist() == [[2, 0, 0, 0], [0] * 4, [0] * 4, [1, 0, 0, 0]]
    assert found.description.startswith("3 reviewed cells in reviewed, each")
    (root / "Neutrophil" / "1.png").write_bytes(b"1")
    with pytest.raises(UsageError, match=r"EOS/1\.png \(eosinophil\) = Neutrophil/1\.png"):
        choose_errors(str(root), session_of(tmp_path), CELL, predict)


def test_reviewed_cells_of_a_table_weigh_by_photograph(tmp_path: Path) -> None:
    table = tmp_path / "cells.CSV"
    session = session_of(tmp_path)
    # The second names the same photograph, with a sign that nobody sees.
    lines = ["EOS,eosinophil,7", "EOS,neutrophil,\u200b7", "EOS,eosinophil,", "platelet,monocyte,7"]
    table.write_text("\n".join(["truth,answer,photograph", *lines]))
    found = choose_errors(str(table), session, CELL, nothing)
    assert found.counts.tolist() == [[1.5, 0, 0, 0.5], [0] * 4, [0] * 4, [0] * 4]
    assert found.name == "cells.CSV"
    assert found.description.startswith(
        "3 reviewed cells in cells.CSV of 2 photographs; 1 more were left out"
    )
    table.write_text("truth,answer\nEOS,eosinophil\nEOS,neutrophil\n")
    found = choose_errors(str(table), session, CELL, nothing)
    assert found.counts[0].tolist() == [1, 0, 0, 1]
    assert found.description.startswith(
        "2 reviewed cells in cells.CSV, each taken as a photograph of its own; no cell of"
    )

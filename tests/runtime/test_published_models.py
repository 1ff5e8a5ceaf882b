"""The models that can be opened are listed with what their cards say, whatever the cards are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from wbczoo.runtime.published import TrainedModel, list_models, published, published_name


def evaluation(protocol: str, part: str, value: float, **more: Any) -> dict[str, Any]:
    score = {"value": value, "low": value - 0.1, "high": value + 0.1}
    tasks = {"cell": {"macro_f1": score}}
    return {
        "protocol": protocol, "part": part, "leaky": False, "dataset": "mine", "files": 9,
        "photographs": 7, "tasks": tasks, **more,
    }  # fmt: skip


def card(**changed: Any) -> dict[str, Any]:
    return {
        "format": 1,
        "tasks": {"cell": ["a", "b"]},
        "data": {"dataset": "mine", "part": "photographs"},
        "protocol": "grouped",
        "evaluations": [],
        **changed,
    }


@pytest.fixture
def exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an empty `exports/`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exports").mkdir()
    return tmp_path / "exports"


def listed(exports: Path, document: object, graph: str = "model.onnx") -> TrainedModel:
    """What is listed of one export with such a card."""
    folder = exports / "a"
    (folder / graph).parent.mkdir(parents=True)
    (folder / graph).write_bytes(b"12345")
    if document is not None:
        (folder / "card.json").write_text(json.dumps(document))
    (found,) = [model for model in list_models() if not model.published]
    assert (found.name, found.bytes) == ("exports/a", 5)
    return found


def test_the_published_models_come_first_from_anywhere(exports: Path) -> None:
    first, *others, last = list_models()
    assert (first.name, *(one.name for one in others), last.name) == published().names
    assert all(one.published for one in (first, *others, last))
    assert first.tasks["nucleus"] == ["mononuclear", "polynuclear"]
    assert first.laboratories == ["bccd", "pbc", "raabin"]
    assert first.headline is not None
    assert (first.headline.protocol, first.headline.part) == ("official", "photographs")
    assert "[0.67, 0.91], official on 71 photographs of bccd, augmented" in str(last.headline)


def test_an_export_is_listed_by_the_folder_that_opens_it(exports: Path) -> None:
    found = listed(exports, card())
    assert not found.published
    assert found.tasks == {"cell": ["a", "b"]}
    assert (found.laboratories, found.headline, found.reason) == (["mine"], None, "")


def test_a_model_of_a_triton_repository_is_listed_once(exports: Path) -> None:
    assert listed(exports, card(), "1/model.onnx").laboratories == ["mine"]


def test_the_headline_is_of_the_model_s_own_protocol_and_never_leaks_in_silence(
    exports: Path,
) -> None:
    own = evaluation("grouped", "photographs", 0.5, photographs=None)
    other = evaluation("external", "photographs", 0.9)
    leaky = evaluation("report", "augmented", 0.99, leaky=True)
    found = listed(exports, card(evaluations=[leaky, other, own]))
    assert str(found.headline) == (
        "macro-F1 of cell 0.500 [0.40, 0.60], grouped on 9 files of mine, photographs"
    )
    slides = card(evaluations=[evaluation("grouped", "photographs", 0.5, unit="slide", groups=3)])
    (exports / "a" / "card.json").write_text(json.dumps(slides))
    assert "grouped on 3 slides of mine" in str(list_models()[-1].headline)
    document = card(evaluations=[leaky, other])
    (exports / "a" / "card.json").write_text(json.dumps(document))
    assert "external" in str(list_models()[-1].headline)
    (exports / "a" / "card.json").write_text(json.dumps(card(evaluations=[leaky])))
    assert str(list_models()[-1].headline).startswith("LEAKY macro-F1")


def test_an_adapted_model_is_listed_by_what_it_was_adapted_to(exports: Path) -> None:
    def measured(files: int, value: float) -> dict[str, Any]:
        score = {"value": value, "low": value - 0.1, "high": value + 0.1}
        tasks = {"cell": {"before": {}, "after": {"macro_f1": score}}}
        return {"files": files, "groups": files, "tasks": tasks}

    adaptation = {"dataset": "theirs", "files": 100, "unit": "photograph",
                  "crossed": measured(100, 0.8), "rest": None}  # fmt: skip
    found = listed(exports, card(adaptation=adaptation))
    assert (found.laboratories, found.adapted_to) == (["mine"], "100 files of theirs")
    assert str(found.headline) == (
        "macro-F1 of cell 0.800 [0.70, 0.90], after adapting, on 100 files of theirs, in folds"
    )
    adaptation["rest"] = measured(260, 0.7)
    (exports / "a" / "card.json").write_text(json.dumps(card(adaptation=adaptation)))
    assert "0.700 [0.60, 0.80], after adapting, on 260 files of theirs, which it has not seen" in (
        str(list_models()[-1].headline)
    )


def test_a_published_model_s_file_is_known_by_its_place(exports: Path) -> None:
    known = published()
    assert published_name(known.default / "model.onnx") == known.names[0]
    assert published_name(exports / known.names[0] / "model.onnx") is None


def test_laboratories_are_those_of_the_card(exports: Path) -> None:
    data = {"dataset": "folder", "part": "x", "laboratories": ["Bern", "Kyoto"]}
    assert listed(exports, card(data=data)).laboratories == ["Bern", "Kyoto"]


def test_a_way_to_read_files_is_no_laboratory(exports: Path) -> None:
    assert listed(exports, card(data={"dataset": "folder", "part": "x"})).laboratories == []


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (None, "is not there"),
        ([1], "has format None"),
        ({"format": 2}, "has format 2"),
        ({"format": 1}, "KeyError"),
        (card(tasks=3), "TypeError"),
        (card(data="x"), "AttributeError"),
        (card(evaluations=[{"leaky": False}]), "KeyError"),
        (card(evaluations=[evaluation("grouped", "x", 0.5, tasks={})]), "no task"),
        (card(tasks={"\x1b[2J": ["a", "b"]}), ""),
    ],
)
def test_a_damaged_card_is_a_row_with_its_reason(exports: Path, document: Any, why: str) -> None:
    found = listed(exports, document)
    assert why in found.reason
    assert json.dumps(found.row())
    assert all(name.isprintable() for name in found.tasks)

"""A differential's numbers by hand: counts, per cents, limits, and what is warned of."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_export import write_model

from wbczoo.errors import UsageError
from wbczoo.runtime import Session
from wbczoo.runtime.differential.confusion import Confusion
from wbczoo.runtime.differential.correction import correct
from wbczoo.runtime.differential.count import Tally, count, describe, group_by
from wbczoo.runtime.differential.shares import multinomial_intervals
from wbczoo.tasks import CELL, INTENDED, NOT_INTENDED, NUCLEUS

GOOD = Confusion(np.diag([90.0, 90, 90, 90]) + 2, "drawn cells", "drawn")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("count")
    document = {
        "format": 1,
        "weights_sha256": "ab" * 32,
        "intended_use": "a\x1b[1m",
        "not_for": "b",
    }
    (folder / "card.json").write_text(json.dumps(document))
    return Session(write_model(folder / "model.onnx"), device="cpu")


def tally_of(*numbers: int, more: tuple[int, ...] = (0, 0, 0, 0), **aside: list[str]) -> Tally:
    """Counts of the four classes; `more` were answered and put aside."""
    named = dict(zip(CELL.classes, numbers, strict=True))
    answered = {name: n + m for (name, n), m in zip(named.items(), more, strict=True)}
    return Tally(Counter(named), Counter(answered), **aside)


def group_of(session: Session, tally: Tally, errors: Confusion | None = None) -> dict[str, Any]:
    (group,) = describe({"A": tally}, CELL, session, 0.25, errors)["groups"]
    return group


def test_a_document_says_what_it_rests_on(session: Session, tmp_path: Path) -> None:
    found = describe({"A": tally_of(1, 0, 0, 0), "B": tally_of(0, 1, 0, 0)}, CELL, session, 0.25)
    groups, why = found.pop("groups"), found.pop("why_no_correction")
    assert [group["name"] for group in groups] == ["A", "B"]
    assert why.startswith("no errors were named")
    assert "Goodman 1965" in found.pop("interval")
    assert found == {
        "model": session.config.model.name,
        "weights_sha256": "ab" * 32,
        "task": "cell",
        "classes": list(CELL.classes),
        "least_probability": 0.25,
        "correction": None,
        "intended_use": "a\\u001b[1m",
        "not_for": "b",
    }
    alone = Session(write_model(tmp_path / "model.onnx"), device="cpu")
    found = describe({}, CELL, alone, 0.25, GOOD)
    assert (found["intended_use"], found["not_for"]) == (INTENDED, NOT_INTENDED)
    assert found["why_no_correction"] is None
    assert found["correction"].startswith(
        "from all answered images, by the model's errors on drawn cells. "
    )


def test_a_group_has_counts_per_cents_and_limits(session: Session) -> None:
    aside = {"refused": ["r"], "unsure": ["u", "v"], "contradicted": ["c"]}
    group = group_of(session, tally_of(10, 30, 0, 60, **aside))
    limits = 100 * multinomial_intervals(np.array([10, 30, 0, 60]))
    classes = group.pop("classes")
    for place, (name, number) in enumerate(zip(CELL.classes, (10, 30, 0, 60), strict=True)):
        assert classes[name] == {
            "count": number,
            "percent": number,
            "low": pytest.approx(limits[place, 0]),
            "high": pytest.approx(limits[place, 1]),
            "corrected": None,
        }
    assert group == {
        "name": "A", "images": 104, "counted": 100, "refused": 1, "unsure": 2, "contradicted": 1,
        "put_aside": aside, "warnings": [],
    }  # fmt: skip


def test_few_cells_and_many_put_aside_are_warned_of(session: Session) -> None:
    few = "99 cells were counted; a differential of fewer than 100 says little."
    many = "More images were put aside than counted; the rest may be no fair sample."
    assert group_of(session, tally_of(99, 0, 0, 0))["warnings"] == [few]
    aside = [str(number) for number in range(100)]
    assert group_of(session, tally_of(100, 0, 0, 0, unsure=aside))["warnings"] == []
    assert group_of(session, tally_of(99, 0, 0, 0, unsure=aside))["warnings"] == [few, many]
    nothing = group_of(session, tally_of(0, 0, 0, 0))
    assert nothing["classes"]["monocyte"] == {
        "count": 0, "percent": None, "low": 0, "high": 100, "corrected": None,
    }  # fmt: skip


def test_all_answers_are_corrected_by_the_named_errors(session: Session) -> None:
    group = group_of(session, tally_of(20, 40, 0, 60, more=(0, 30, 0, 0)), GOOD)
    expected = correct(np.array([20, 70, 0, 60]), GOOD.counts)
    for place, name in enumerate(CELL.classes):
        found = group["classes"][name]["corrected"]
        low, high = expected.limits[place]
        assert found == {
            "percent": pytest.approx(100 * expected.shares[place]),
            "low": pytest.approx(100 * low),
            "high": pytest.approx(100 * high),
        }
    assert group["warnings"] == []
    empty = group_of(session, Tally(), GOOD)
    assert empty["classes"]["neutrophil"]["corrected"] is None


def test_errors_that_do_not_fit_or_do_not_tell_classes_apart_are_warned_of(
    session: Session,
) -> None:
    never = Confusion(np.tile([0.0, 0, 500, 0], (4, 1)), "drawn cells", "drawn")
    group = group_of(session, tally_of(100, 100, 0, 0), never)
    (warning,) = group["warnings"]
    assert warning.startswith("Not corrected: ")
    assert group["classes"]["eosinophil"]["corrected"] is None
    blind = Confusion(np.full((4, 4), 25.0), "drawn cells", "drawn")
    blind.counts[1] = blind.counts[:, 1] = 0
    blind.counts[1, 1] = 75
    group = group_of(session, tally_of(40, 50, 40, 40), blind)
    assert group["warnings"] == [
        "By these errors the answers cannot tell eosinophil, monocyte and neutrophil from one "
        "another: nearly any division of cells between them is possible."
    ]
    assert group["classes"]["eosinophil"]["corrected"] is not None


def answer(path: str, cell: str, probability: float, nucleus: str) -> dict[str, Any]:
    return {
        "path": path,
        "tasks": {
            "cell": {"class": cell, "probability": probability},
            "nucleus": {"class": nucleus, "probability": 0.9},
        },
    }


def test_the_least_probability_itself_counts_and_unsure_comes_before_contradicted() -> None:
    rows = [
        answer("1", "neutrophil", 0.5, "polynuclear"),
        answer("2", "neutrophil", 0.49, "mononuclear"),
        answer("3", "eosinophil", 0.5, "mononuclear"),
        answer("4", "something", 0.5, "mononuclear"),
    ]
    (tally,) = count(rows, CELL, (NUCLEUS, CELL), group_by(None, []), 0.5).values()
    assert dict(tally.classes) == {"neutrophil": 1, "something": 1}
    assert (tally.unsure, tally.contradicted, tally.refused) == (["2"], ["3"], [])
    assert dict(tally.answered) == {"neutrophil": 2, "eosinophil": 1, "something": 1}
    (tally,) = count(rows, CELL, (CELL,), group_by(None, []), 0.5).values()
    assert tally.contradicted == []


def cell(path: str, left: int, *flags: str, nucleus: str = "polynuclear") -> dict[str, Any]:
    box = [left, 10, left + 5, 15]
    return {"box": box, "flags": [*flags], **answer(path, "neutrophil", 0.5, nucleus)}


CELLS = [
    cell("a/1.png", 1),
    cell("a/1.png", 2, "at-edge"),
    cell("a/1.png", 3, nucleus="mononuclear"),
    {"path": "a/2.png", "flags": ["no-cell"]},
    {"path": "a/3.png", "error": "The file is empty."},
    cell("a/4.png", 1),
    cell("a/4.png", 1),  # named twice
]


def test_each_cell_of_a_field_counts_or_is_put_aside(session: Session) -> None:
    (tally,) = count(CELLS, CELL, (NUCLEUS, CELL), group_by(None, []), 0.5, each_cell=True).values()
    document = describe({"A": tally}, CELL, session, 0.5, None, "all")
    (group,) = document["groups"]
    assert document["cells"] == "all"
    assert ", by cell: it" in document["interval"]
    assert dict(tally.answered) == {"neutrophil": 4}  # the one at the edge is not whole
    assert group.pop("classes")["neutrophil"]["count"] == 3
    assert group.pop("warnings")[0].startswith("3 cells were counted")
    assert group == {
        "name": "A", "images": 5, "cells": 5, "counted": 3,
        "refused": 1, "unsure": 0, "contradicted": 1, "no_cell": 1, "at_edge": 1,
        "put_aside": {
            "refused": ["a/3.png"], "unsure": [],
            "contradicted": [{"path": "a/1.png", "box": [3, 10, 8, 15]}],
            "no_cell": ["a/2.png"], "at_edge": [{"path": "a/1.png", "box": [2, 10, 7, 15]}],
        },
    }  # fmt: skip


def test_of_the_best_cells_those_at_the_edge_count_and_no_cell_is_put_aside(
    session: Session,
) -> None:
    (tally,) = count(CELLS[1:5], CELL, (CELL,), group_by(None, []), 0.5).values()
    (group,) = describe({"A": tally}, CELL, session, 0.5, None, "one")["groups"]
    assert (group["images"], group["counted"], group["no_cell"]) == (4, 2, 1)
    assert group["put_aside"]["no_cell"] == ["a/2.png"]
    assert not {"cells", "at_edge"} & group.keys()


def test_fields_without_a_cell_leave_no_cell_out(session: Session) -> None:
    few = tally_of(100, 0, 0, 0, no_cell=["n"] * 200)
    (group,) = describe({"A": few}, CELL, session, 0.5, None, "all")["groups"]
    assert group["warnings"] == []
    edges = tally_of(100, 0, 0, 0, at_edge=["e"] * 101)
    (group,) = describe({"A": edges}, CELL, session, 0.5, None, "all")["groups"]
    assert group["warnings"] == [
        "More cells were put aside than counted; the rest may be no fair sample."
    ]


def test_groups_are_told_by_folder_or_table_or_not_at_all(tmp_path: Path) -> None:
    assert group_by(None, [])("a/b/1.jpg") == "all"
    assert group_by("folder", [])("a/b/1.jpg") == "a/b"
    table = tmp_path / "g.csv"
    table.write_text("file,group\nb/1.jpg,one\n2.jpg,two\n")
    told = group_by(str(table), ["other", "a", "a/b"])
    assert (told("a/b/1.jpg"), told("a/b/2.jpg"), told("2.jpg")) == ("one", "two", "two")
    with pytest.raises(UsageError, match=r"says nothing about c/1\.jpg"):
        told("c/1.jpg")

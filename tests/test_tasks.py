"""Tasks are named and ordered as their owner says, and raw labels find their class or none."""

from __future__ import annotations

import pytest

from wbczoo.errors import UsageError
from wbczoo.tasks import (
    CELL,
    CELL5,
    LEUKOCYTE,
    NUCLEUS,
    NUCLEUS_OF,
    PBC8,
    SHIPPED,
    Task,
    class_of,
    parse,
)


def test_the_shipped_tasks_have_these_classes_in_this_order() -> None:
    assert list(SHIPPED) == ["cell", "nucleus", "cell5", "pbc8", "leukocyte"]
    assert CELL.classes == ("eosinophil", "lymphocyte", "monocyte", "neutrophil")
    assert NUCLEUS.classes == ("mononuclear", "polynuclear")
    assert CELL5.classes == ("basophil", *CELL.classes)
    assert len(PBC8.classes) == 8
    assert set(CELL5.classes) < set(PBC8.classes)
    assert LEUKOCYTE.classes[:5] == CELL5.classes
    assert set(LEUKOCYTE.classes) - set(PBC8.classes) == {"blast", "not_a_cell"}
    assert {cell: NUCLEUS_OF[cell] for cell in CELL.classes} == {
        "eosinophil": "polynuclear",
        "lymphocyte": "mononuclear",
        "monocyte": "mononuclear",
        "neutrophil": "polynuclear",
    }


def test_no_task_means_the_reports_two() -> None:
    assert parse(()) == (CELL, NUCLEUS)


def test_tasks_are_shipped_ones_or_the_users_own_in_the_order_given() -> None:
    assert parse(("pbc8", "cell")) == (PBC8, CELL)
    assert parse(("mine = zebra, ant ,yak_2", "nucleus")) == (
        Task("mine", ("zebra", "ant", "yak_2")),
        NUCLEUS,
    )
    assert parse(("CELL", "own=EOS, Band Cells,a__b,3")) == (
        CELL,
        Task("own", ("eos", "band_cell", "a__b", "class_3")),
    )
    assert parse(("cell=monocyte,other",)) == (Task("cell", ("monocyte", "other")),)


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (["cel"], r"no task 'cel'.*cell, nucleus, cell5, pbc8.*NAME=CLASS,CLASS"),
        ([""], "no task ''"),
        (["cell", "cell"], "given twice: cell, cell"),
        (["cell", "cell=a,b"], "given twice: cell, cell"),
        (["mine=a"], "'mine' needs at least two different classes, but it has a"),
        (["mine=a,b,a"], "two different classes, but it has a, b, a"),
        (["mine="], "'mine' has the name ''"),
        (["mine=a,,b"], "'mine' has the name ''"),
        (["mine=a,白"], "'mine' has the name '白'; names are lower-case"),
        (["my-task=a,b"], "has the name 'my-task'"),
        (["2nd=a,b"], "start with a letter"),
        (["a.b=a,b"], "has the name 'a.b'"),
        (["=a,b"], "has the name ''"),
        (["naïve=a,b"], "has the name 'naïve'"),
    ],
)
def test_what_is_no_task_is_wrong_usage(texts: list[str], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        parse(texts)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "classes", [(), ("one",), ("a", "a"), ("a", "b\n")], ids=["none", "one", "twice", "newline"]
)
def test_a_task_cannot_be_made_without_classes(classes: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="'mine'"):
        Task("mine", classes)


def test_a_list_of_classes_becomes_a_tuple() -> None:
    task = Task("mine", ["a", "b"])  # type: ignore[arg-type]
    assert task == Task("mine", ("a", "b"))
    assert hash(task) == hash(Task("mine", ("a", "b")))


def test_the_data_sets_table_decides_before_the_name() -> None:
    table = {"cell": {"M": "monocyte", "eosinophil": "neutrophil"}}
    assert class_of(CELL, "M", table) == "monocyte"
    assert class_of(CELL, "eosinophil", table) == "neutrophil"
    assert class_of(CELL, "LymphoCyte", table) == "lymphocyte"
    assert class_of(CELL, "m", table) is None
    assert class_of(CELL5, "M", table) is None
    assert class_of(NUCLEUS, "monocyte", {}) is None


def test_a_class_that_a_users_task_lacks_is_left_out() -> None:
    mine = Task("cell", ("monocyte", "other"))
    table = {"cell": {"MONO": "monocyte", "NEUT": "neutrophil"}}
    assert class_of(mine, "MONO", table) == "monocyte"
    assert class_of(mine, "NEUT", table) is None
    assert class_of(mine, "Other", table) == "other"


@pytest.mark.parametrize(
    ("name", "classes"),
    [("path", ("a", "b")), ("error", ("a", "b")), ("mine", ("a", "probability"))],
)
def test_names_that_predict_s_table_has_already_are_refused(
    name: str, classes: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError, match="table"):
        Task(name, classes)

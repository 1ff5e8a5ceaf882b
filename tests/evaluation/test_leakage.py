"""What a model has seen is held against what it would be tested on, with exact counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from wbczoo.config import ModelConfig, train_config
from wbczoo.data.plan import Plan, digest_of, write_split
from wbczoo.data.samples import Rows
from wbczoo.data.splits import plan_split
from wbczoo.errors import WbczooError
from wbczoo.evaluation.leakage import Seen, draw_again, refuse_seen
from wbczoo.images.tree import Tree
from wbczoo.specs import Sample


def rows_of(root: Path, *files: tuple[str, str, str]) -> Rows:
    """Rows of (content hash, photograph, group)."""
    return Rows(
        dataset="made",
        unit="photograph",
        source=Tree(root),
        labels=({},) * len(files),
        laboratories=("made",) * len(files),
        samples=tuple(Sample(f"{n}.png", "monocyte", p, g) for n, (_, p, g) in enumerate(files)),
        hashes=tuple(content for content, _, _ in files),
        groups=tuple(group for _, _, group in files),
    )


def plan_of(
    protocol: str,
    test: tuple[int, ...],
    train: tuple[int, ...] = (),
    validation: tuple[int, ...] = (),
) -> Plan:
    return Plan(protocol, "photographs", None, train, validation, test)


@pytest.fixture
def trained(tmp_path: Path) -> Rows:
    """Two files that trained, two that validated, and two that tested, each of its own group."""
    return rows_of(
        tmp_path,
        ("t1", "p1", "g1"), ("t2", "p2", "g2"),
        ("v1", "p3", "g3"), ("v2", "p4", "g4"),
        ("x1", "p5", "g5"), ("x2", "p6", "g6"),
    )  # fmt: skip


SPLIT = plan_of("official", test=(4, 5), train=(0, 1), validation=(2, 3))


@pytest.fixture(params=["planned", "read"])
def seen(request: pytest.FixtureRequest, trained: Rows, tmp_path: Path) -> Seen:
    """What such a model has seen, drawn again or from its run's `split.csv`."""
    if request.param == "planned":
        return Seen.planned(trained, SPLIT)
    write_split(tmp_path / "split.csv", trained, SPLIT)
    return Seen.read(tmp_path / "split.csv", digest_of(trained, SPLIT))


def refused(rows: Rows, plan: Plan, seen: Seen) -> str:
    with pytest.raises(WbczooError, match="was trained or chosen on") as error:
        refuse_seen(rows, plan, seen)
    return str(error.value).partition(" trained or chosen on ")[2].partition(" that the ")[0]


def test_training_and_validation_rows_are_seen_and_test_rows_are_not(seen: Seen) -> None:
    assert seen.hashes == {"t1", "t2", "v1", "v2"}
    assert seen.groups == {"g1", "g2", "g3", "g4"}


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ((3,), "1 files of 1 photograph of the 1 files"),
        ((2, 3, 4), "2 files of 2 photographs of the 3 files"),
        ((0, 5), "1 files of 1 photograph of the 2 files"),
        ((0, 1, 2, 3, 4, 5), "4 files of 4 photographs of the 6 files"),
    ],
)
@pytest.mark.parametrize("protocol", ["official", "grouped", "external"])
def test_what_was_trained_or_validated_on_is_refused_and_counted(
    trained: Rows, seen: Seen, protocol: str, test: tuple[int, ...], said: str
) -> None:
    assert refused(trained, plan_of(protocol, test), seen) == said


def test_its_own_test_rows_may_be_asked(trained: Rows, seen: Seen) -> None:
    for protocol in ("official", "grouped", "external"):
        refuse_seen(trained, plan_of(protocol, (4, 5)), seen)


@pytest.mark.parametrize("group", ["g1", "g3"])
@pytest.mark.parametrize("protocol", ["official", "external"])
def test_other_files_of_a_seen_group_are_refused_where_some_bytes_are_the_same(
    tmp_path: Path, seen: Seen, protocol: str, group: str
) -> None:
    """Two new views of one photograph, beside the very data: by their group alone they are met."""
    rows = rows_of(
        tmp_path,
        ("t2", "p2", "g2"), ("n1", "q", group), ("n2", "q", group), ("n3", "r", "g9"),
    )  # fmt: skip
    assert refused(rows, plan_of(protocol, (1, 2, 3)), seen) == (
        "2 files of 1 photograph of the 3 files"
    )


def test_group_names_of_another_data_set_mean_nothing(tmp_path: Path, seen: Seen) -> None:
    rows = rows_of(tmp_path, ("n1", "p1", "g1"), ("n2", "p3", "g3"))
    refuse_seen(rows, plan_of("external", (0, 1)), seen)
    assert refused(rows, plan_of("official", (0, 1)), seen) == (
        "2 files of 2 photographs of the 2 files"
    )


def test_nothing_was_seen_by_a_model_that_was_never_trained(trained: Rows) -> None:
    refuse_seen(trained, plan_of("official", (0, 1, 2, 3, 4, 5)), Seen.nothing())


@pytest.mark.parametrize("damage", ["none", "byte"])
def test_a_split_that_the_config_does_not_know_is_refused(
    trained: Rows, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "split.csv"
    if damage == "byte":
        write_split(path, trained, SPLIT)
        path.write_bytes(path.read_bytes().replace(b"train", b"test "))
    with pytest.raises(WbczooError, match=r"split\.csv is missing or damaged"):
        Seen.read(path, digest_of(trained, SPLIT))


def test_where_photographs_are_unknown_files_alone_are_counted(tmp_path: Path) -> None:
    rows = replace(rows_of(tmp_path, ("t1", "", "g1"), ("x1", "", "g2")), unit="unknown")
    with pytest.raises(
        WbczooError, match="chosen on 1 files of the 2 files that the protocol 'official"
    ):
        refuse_seen(rows, plan_of("official", (0, 1)), Seen(frozenset({"t1"}), frozenset()))


def test_a_lone_exports_split_is_drawn_again_and_known_by_its_hash(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, *((f"h{n}", f"p{n}", f"g{n}") for n in range(12)))
    model, trained = ModelConfig(), train_config(protocol="grouped", fold=1, folds=3)
    plan = plan_split(rows, model.tasks, trained)
    seen = draw_again(rows, model, trained, digest_of(rows, plan))
    assert seen is not None
    assert len(seen.hashes) == len(seen.groups) == 8
    assert not {rows.hashes[row] for row in plan.test} & seen.hashes
    assert draw_again(rows, model, trained, "ab" * 32) is None
    assert draw_again(rows, model, None, "") == Seen.nothing()
    # These rows have no published halves, so they are not what was trained on.
    assert draw_again(rows, model, train_config(protocol="official"), "ab" * 32) is None

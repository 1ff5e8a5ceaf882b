"""Each protocol trains, validates and tests on what the design says; no photograph straddles."""

from __future__ import annotations

import csv
import itertools
import math
import random
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from three_parts import ARCHIVE, DRAWN, Facts, draw_rows

from wbczoo import registry
from wbczoo.config import TrainConfig, train_config
from wbczoo.data.external import external_plan, shared_classes
from wbczoo.data.plan import Plan, digest_of, read_split, write_split
from wbczoo.data.samples import Rows, read_rows
from wbczoo.data.splits import plan_split
from wbczoo.errors import UsageError, WbczooError
from wbczoo.specs import DatasetSpec, Option, Sample
from wbczoo.tasks import CELL, CELL5, DEFAULT, PBC8

FOLDER = registry.datasets.spec("folder")
ROLES = ("train", "validation", "test")


def split(rows: Rows, protocol: str = "official", **settings: object) -> Plan:
    return plan_split(rows, DEFAULT, train_config(protocol=protocol, **settings))


def photographs(rows: Rows, chosen: Iterable[int]) -> set[str]:
    return {rows.samples[row].photograph or rows.groups[row] for row in chosen}


def groups(rows: Rows, chosen: Iterable[int]) -> set[str]:
    return {rows.groups[row] for row in chosen}


def parts(rows: Rows, chosen: Iterable[int]) -> set[str]:
    return {rows.samples[row].part for row in chosen}


def roles(rows: Rows, plan: Plan) -> dict[str, str]:
    """Path -> role, whatever the order of rows."""
    return {rows.samples[row].path: role for role in ROLES for row in plan.rows(role)}  # type: ignore[arg-type]


def assert_honest(rows: Rows, plan: Plan) -> None:
    """No group, no photograph and no bytes in two roles; rows ascending and used once."""
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        mine, theirs = plan.rows(one), plan.rows(other)  # type: ignore[arg-type]
        assert not groups(rows, mine) & groups(rows, theirs)
        assert not photographs(rows, mine) & photographs(rows, theirs)
        assert not {rows.hashes[row] for row in mine} & {rows.hashes[row] for row in theirs}
    for role in ROLES:
        chosen = plan.rows(role)  # type: ignore[arg-type]
        assert list(chosen) == sorted(set(chosen))
    assert (plan.leaked, plan.leaky) == (0, False)


# --- official ------------------------------------------------------------------------------------


@pytest.fixture(
    scope="module", params=["drawn", pytest.param("archive", marks=pytest.mark.archive)]
)
def facts(request: pytest.FixtureRequest) -> Facts:
    """What is known of the data set at hand: a small one like BCCD, and BCCD's archive."""
    return {"drawn": DRAWN, "archive": ARCHIVE}[request.param]


@pytest.fixture(scope="module")
def rows(
    facts: Facts, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Rows:
    """The rows of the data set at hand."""
    if facts is ARCHIVE:
        return request.getfixturevalue("bccd_rows")  # type: ignore[no-any-return]
    return draw_rows(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def official(rows: Rows) -> Plan:
    return split(rows)


def test_official_tests_the_published_test_half(rows: Rows, facts: Facts, official: Plan) -> None:
    assert (official.protocol, official.part, official.fold) == ("official", "augmented", None)
    assert (len(official.test), len(photographs(rows, official.test))) == facts.test
    for row in official.test:
        sample = rows.samples[row]
        assert (sample.part, sample.split) == ("augmented", "test")


def test_official_takes_out_training_photographs_that_show_a_test_field(
    rows: Rows, facts: Facts, official: Plan
) -> None:
    assert official.counts == {
        "training_files_in_test_groups": facts.shared[0],
        "training_photographs_in_test_groups": facts.shared[1],
        "left_out": facts.left_out,
    }
    used = (*official.train, *official.validation)
    assert not groups(rows, used) & facts.tied
    assert len(used) == facts.train[0] - facts.shared[0]
    assert len(photographs(rows, used)) == facts.train[1] - facts.shared[1]
    for row in used:
        sample = rows.samples[row]
        assert (sample.part, sample.split) == ("augmented", "train")


def test_official_keeps_groups_whole(rows: Rows, official: Plan) -> None:
    assert_honest(rows, official)


def test_official_validates_on_15_percent_of_the_groups_of_each_class(
    rows: Rows, facts: Facts, official: Plan
) -> None:
    of_label = {
        role: Counter(
            label
            for label, _ in {
                (rows.samples[row].label, rows.groups[row])
                for row in official.rows(role)  # type: ignore[arg-type]
            }
        )
        for role in ("train", "validation")
    }
    assert set(of_label["validation"]) == {label.upper() for label in CELL.classes}
    for label, held in of_label["validation"].items():
        share = held / (held + of_label["train"][label])
        assert share == pytest.approx(0.15, abs=0.03), label
    assert len(groups(rows, official.validation)) == facts.held


def test_the_simple_part_tests_fewer_files_and_moves_no_other_role(
    rows: Rows, facts: Facts, official: Plan
) -> None:
    plan = split(rows, part="simple")
    assert plan.part == "simple"
    assert (len(plan.test), len(photographs(rows, plan.test))) == facts.simple
    assert parts(rows, plan.test) == {"simple"}
    assert (plan.train, plan.validation) == (official.train, official.validation)
    assert_honest(rows, plan)


def test_official_may_test_the_photographs_themselves(
    rows: Rows, facts: Facts, official: Plan
) -> None:
    plan = split(rows, part="photographs")
    assert len(plan.test) == facts.test[1]
    assert photographs(rows, plan.test) == photographs(rows, official.test)
    assert plan.train == official.train


# --- report --------------------------------------------------------------------------------------


def test_report_pools_the_augmented_files_and_is_leaky(rows: Rows, facts: Facts) -> None:
    plan = split(rows, "report")
    used = (*plan.train, *plan.validation, *plan.test)
    assert len(used) == len(set(used)) == facts.train[0] + facts.test[0]
    tenth = math.ceil(len(used) / 10)
    assert len(plan.test) == len(plan.validation) == tenth
    assert parts(rows, used) == {"augmented"}
    assert {rows.samples[row].split for row in plan.test} == {"train", "test"}
    assert plan.leaky
    seen = groups(rows, (*plan.train, *plan.validation))
    assert plan.leaked == sum(rows.groups[row] in seen for row in plan.test)
    assert plan.leaked > 0.95 * tenth  # all but a few: that is what the word is for


def test_report_is_leaky_even_where_no_file_leaks(tmp_path: Path) -> None:
    root = draw_folder(tmp_path, {"monocyte": 20, "neutrophil": 20})
    plan = split(read_rows(FOLDER, root, {"each_file_a_photograph": True}), "report")
    assert (plan.leaked, plan.leaky) == (0, True)
    assert (len(plan.train), len(plan.validation), len(plan.test)) == (32, 4, 4)


def test_report_knows_files_by_content_not_by_where_they_lie(tmp_path: Path) -> None:
    root = draw_folder(tmp_path / "data", {"monocyte": 20, "neutrophil": 20})
    packed = tmp_path / "data.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(root.rglob("*.jpg")):
            archive.writestr(f"around/{path.relative_to(root).as_posix()}", path.read_bytes())
    folder, zipped = read_rows(FOLDER, root), read_rows(FOLDER, packed)
    mine, theirs = split(folder, "report"), split(zipped, "report")
    assert [folder.hashes[row] for row in mine.test] == [zipped.hashes[row] for row in theirs.test]
    assert digest_of(folder, mine) == digest_of(zipped, theirs)


# --- grouped -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folds(rows: Rows) -> list[Plan]:
    return [split(rows, "grouped", fold=fold) for fold in range(5)]


def test_five_folds_score_each_photograph_once(rows: Rows, facts: Facts, folds: list[Plan]) -> None:
    scored = [row for plan in folds for row in plan.test]
    whole = facts.train[1] + facts.test[1]
    assert len(scored) == len(set(scored)) == whole
    assert parts(rows, scored) == {"photographs"}
    assert len(photographs(rows, scored)) == whole
    for fold, plan in enumerate(folds):
        assert (plan.fold, plan.part, plan.protocol) == (fold, "photographs", "grouped")
        assert len(plan.train) + len(plan.validation) + len(plan.test) == whole


def test_folds_keep_groups_whole(rows: Rows, folds: list[Plan]) -> None:
    for plan in folds:
        assert_honest(rows, plan)
    for one, other in itertools.combinations(folds, 2):
        assert not groups(rows, one.test) & groups(rows, other.test)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_folds_differ_by_one_photograph_of_a_class_at_most(rows: Rows, seed: int) -> None:
    counts = [
        Counter(
            rows.samples[row].label for row in split(rows, "grouped", fold=fold, seed=seed).test
        )
        for fold in range(5)
    ]
    for label in (label.upper() for label in CELL.classes):
        of_label = [count[label] for count in counts]
        assert max(of_label) - min(of_label) <= 1, (label, of_label)
    sizes = [count.total() for count in counts]
    assert max(sizes) - min(sizes) <= 2


def test_each_fold_validates_on_every_class_of_its_training_groups(
    rows: Rows, folds: list[Plan]
) -> None:
    for plan in folds:
        for role in ("train", "validation"):
            labels = {rows.samples[row].label for row in plan.rows(role)}  # type: ignore[arg-type]
            assert labels == {label.upper() for label in CELL.classes}
        held = len(groups(rows, plan.validation))
        assert held / (held + len(groups(rows, plan.train))) == pytest.approx(0.15, abs=0.015)


def test_augmented_training_uses_only_views_of_the_training_folds_photographs(
    rows: Rows, facts: Facts, folds: list[Plan]
) -> None:
    for plain in folds[:2]:
        plan = split(rows, "grouped", fold=plain.fold, train_part="augmented")
        assert (plan.test, plan.validation) == (plain.test, plain.validation)
        assert parts(rows, plan.train) == {"augmented"}
        assert photographs(rows, plan.train) == photographs(rows, plain.train)
        assert len(plan.train) > facts.views * len(plain.train)
        assert {rows.samples[row].split for row in plan.train} == {"train", "test"}
        assert_honest(rows, plan)


@pytest.mark.parametrize("protocol", ["official", "external"])
def test_training_on_photographs_moves_neither_validation_nor_test(
    rows: Rows, protocol: str
) -> None:
    plain = split(rows, protocol)
    plan = split(rows, protocol, train_part="photographs")
    assert (plan.test, plan.validation, plan.counts) == (plain.test, plain.validation, plain.counts)
    assert parts(rows, plan.train) == {"photographs"}
    assert photographs(rows, plan.train) == photographs(rows, plain.train)
    assert len(plan.train) == len(photographs(rows, plain.train))
    assert_honest(rows, plan)


def test_folds_of_mixed_groups_stay_whole_and_even(tmp_path: Path) -> None:
    """Fields with up to five cells of any class, as a laboratory's own data may have them."""
    dice = random.Random(11)
    samples = [
        Sample(f"{field}_{cell}.jpg", dice.choice(CELL.classes), f"p{field}_{cell}", f"g{field}")
        for field in range(120)
        for cell in range(dice.choice((1, 1, 1, 2, 5)))
    ]
    rows = read_rows(declare(samples), write_all(tmp_path, samples))
    plans = [split(rows, "grouped", fold=fold, folds=4) for fold in range(4)]
    assert sorted(row for plan in plans for row in plan.test) == list(range(len(rows)))
    for plan in plans:
        assert_honest(rows, plan)
        share = Counter(rows.samples[row].label for row in plan.test)
        for label in CELL.classes:
            whole = sum(sample.label == label for sample in samples)
            assert share[label] == pytest.approx(whole / 4, abs=3)


def test_as_many_folds_as_groups_leave_one_out(tmp_path: Path) -> None:
    root = draw_folder(tmp_path, {"eosinophil": 4, "monocyte": 1})
    rows = read_rows(FOLDER, root, {"each_file_a_photograph": True})
    tests = [split(rows, "grouped", fold=fold, folds=5).test for fold in range(5)]
    assert sorted(tests) == [(0,), (1,), (2,), (3,), (4,)]


# --- limits, seeds and order ---------------------------------------------------------------------


def test_a_limit_is_on_training_photographs_alone(rows: Rows, facts: Facts, official: Plan) -> None:
    plan = split(rows, limit_photographs=12)
    assert (plan.test, plan.validation) == (official.test, official.validation)
    assert set(plan.train) < set(official.train)
    kept = photographs(rows, plan.train)
    assert len(kept) == 12
    whole = [row for row in official.train if photographs(rows, [row]) <= kept]
    assert list(plan.train) == whole  # all views of each
    labels = Counter(
        label
        for label, _ in {(rows.samples[row].label, rows.samples[row].photograph) for row in whole}
    )
    assert sorted(labels.values()) == [3, 3, 3, 3]
    assert plan.counts["training_photographs_in_test_groups"] == facts.shared[1]


def test_a_limit_above_all_photographs_changes_nothing(rows: Rows, official: Plan) -> None:
    assert split(rows, limit_photographs=10_000) == official


def test_a_limit_grows_by_adding(rows: Rows) -> None:
    few, more = (split(rows, limit_photographs=count).train for count in (5, 30))
    assert set(few) < set(more)


def test_a_limit_holds_under_the_other_protocols_too(rows: Rows, folds: list[Plan]) -> None:
    grouped = split(rows, "grouped", fold=0, limit_photographs=8)
    assert len(grouped.train) == 8
    assert (grouped.validation, grouped.test) == (folds[0].validation, folds[0].test)
    views = split(rows, "grouped", fold=0, limit_photographs=8, train_part="augmented")
    assert photographs(rows, views.train) == photographs(rows, grouped.train)
    assert views.test == folds[0].test
    report, whole = split(rows, "report", limit_photographs=8), split(rows, "report")
    assert len(photographs(rows, report.train)) == 8
    assert (report.validation, report.test) == (whole.validation, whole.test)


@pytest.mark.parametrize(
    ("protocol", "settings"),
    [("official", {}), ("report", {}), ("grouped", {"fold": 1}), ("external", {})],
)
def test_a_split_is_a_function_of_data_and_seed(
    protocol: str, settings: dict[str, object], rows: Rows
) -> None:
    first = split(rows, protocol, seed=5, **settings)
    assert split(rows, protocol, seed=5, **settings) == first
    other = split(rows, protocol, seed=6, **settings)
    assert other.validation != first.validation
    assert (other.test == first.test) == (protocol in ("official", "external"))
    order = list(range(len(rows)))
    random.Random(2).shuffle(order)
    shuffled = replace(
        rows,
        samples=tuple(rows.samples[row] for row in order),
        hashes=tuple(rows.hashes[row] for row in order),
        groups=tuple(rows.groups[row] for row in order),
    )
    again = split(shuffled, protocol, seed=5, **settings)
    assert roles(shuffled, again) == roles(rows, first)
    assert again.counts == first.counts


# --- external and a user's own folders -----------------------------------------------------------


def draw_folder(root: Path, contents: dict[str, int]) -> Path:
    """Class folders with so many files of bytes that no other file has."""
    for name, count in contents.items():
        for number in range(count):
            path = root / name / f"{number:03}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{name} {number}".encode())
    return root


def declare(samples: list[Sample]) -> DatasetSpec:
    return DatasetSpec(name="theirs", samples=lambda root: samples, unit="photograph")


def write_all(root: Path, samples: list[Sample]) -> Path:
    for sample in samples:
        (root / sample.path).write_bytes(sample.path.encode())
    return root


def test_external_trains_on_every_group_and_tests_none(rows: Rows, facts: Facts) -> None:
    plan = split(rows, "external")
    assert plan.test == ()
    assert len(plan.train) + len(plan.validation) == facts.train[0] + facts.test[0]
    assert {rows.samples[row].split for row in plan.train} == {"train", "test"}
    assert_honest(rows, plan)
    whole = len(groups(rows, (*plan.train, *plan.validation)))
    held = len(groups(rows, plan.validation))
    assert held / whole == pytest.approx(0.15, abs=0.02)


def test_external_tests_the_photographs_of_the_shared_classes(tmp_path: Path) -> None:
    """Of a data set that has views and photographs, each photograph once."""
    samples = [
        Sample(f"{label} {number}.jpg", label, part=part)
        for part in ("augmented", "photographs", "simple")
        for label in ("monocyte", "eosinophil", "basophil", "artefact")
        for number in range({"augmented": 5, "photographs": 2, "simple": 1}[part])
    ]
    samples = [replace(s, path=f"{s.part} {s.path}") for s in samples]
    rows = read_rows(declare(samples), write_all(tmp_path, samples))
    plan = external_plan(rows, DEFAULT)
    assert (plan.protocol, plan.part, plan.train, plan.validation) == (
        "external", "photographs", (), (),
    )  # fmt: skip
    assert [rows.samples[row].label for row in plan.test] == ["monocyte"] * 2 + ["eosinophil"] * 2
    assert shared_classes(CELL, rows) == ("eosinophil", "monocyte")
    some = [row for row, sample in enumerate(rows.samples) if sample.label == "monocyte"]
    assert shared_classes(CELL, rows, some) == ("monocyte",)
    assert shared_classes(CELL5, rows) == ("basophil", "eosinophil", "monocyte")
    assert len(external_plan(rows, (CELL5,)).test) == 6


def test_external_may_find_no_photograph_to_test(tmp_path: Path) -> None:
    """The classes that are shared stand in the views alone."""
    labels = {"augmented": ("monocyte", "eosinophil"), "photographs": ("artefact",)}
    samples = [
        Sample(f"{part} {label}.jpg", label, part=part)
        for part, names in labels.items()
        for label in names
    ]
    plan = external_plan(read_rows(declare(samples), write_all(tmp_path, samples)), DEFAULT)
    assert (plan.part, plan.test) == ("photographs", ())


def test_external_wants_two_shared_classes(tmp_path: Path) -> None:
    root = draw_folder(tmp_path, {"monocyte": 3, "artefact": 3})
    with pytest.raises(UsageError, match=r"fewer than two classes.*cell: monocyte; pbc8: monocyte"):
        external_plan(read_rows(FOLDER, root), (CELL, PBC8))


def test_a_published_validation_half_is_used_and_what_it_shares_is_taken_out(
    tmp_path: Path,
) -> None:
    halves = {"train": 20, "val": 6, "test": 8}
    root = draw_folder(
        tmp_path,
        {f"{half}/{cell}": count for half, count in halves.items() for cell in CELL.classes},
    )
    for source, copy in (
        ("train/monocyte/000", "test/monocyte/900"),  # a training file that is tested too
        ("train/monocyte/001", "val/monocyte/901"),  # one that validates too
        ("val/eosinophil/000", "test/eosinophil/902"),  # a validation file that is tested too
    ):
        (root / f"{copy}.jpg").write_bytes((root / f"{source}.jpg").read_bytes())
    rows = read_rows(FOLDER, root)
    plan = split(rows)
    assert_honest(rows, plan)
    assert (len(plan.train), len(plan.validation), len(plan.test)) == (78, 24, 34)
    assert plan.counts == {
        "training_files_in_validation_groups": 1,
        "training_photographs_in_validation_groups": 1,
        "validation_files_in_test_groups": 1,
        "validation_photographs_in_test_groups": 1,
        "training_files_in_test_groups": 1,
        "training_photographs_in_test_groups": 1,
        "left_out": 0,
    }
    taken = roles(rows, plan)
    for path in ("train/monocyte/000.jpg", "train/monocyte/001.jpg", "val/eosinophil/000.jpg"):
        assert path not in taken


def test_what_no_task_uses_serves_nobody_and_is_counted(tmp_path: Path) -> None:
    contents = {f"{half}/{cell}": 6 for half in ("train", "test") for cell in CELL.classes}
    root = draw_folder(tmp_path, {**contents, "train/artefact": 5, "test/basophil": 2})
    rows = read_rows(FOLDER, root)
    plan = split(rows)
    assert plan.counts["left_out"] == 7
    labels = {rows.samples[row].label for role in ROLES for row in plan.rows(role)}  # type: ignore[arg-type]
    assert labels == set(CELL.classes)
    wider = plan_split(rows, (CELL, CELL5), TrainConfig())
    assert wider.counts["left_out"] == 5
    assert {rows.samples[row].label for row in wider.test} == set(CELL5.classes)


def test_a_rare_class_validates_with_one_group_where_it_has_two(tmp_path: Path) -> None:
    root = draw_folder(tmp_path, {"eosinophil": 30, "monocyte": 2, "neutrophil": 1})
    rows = read_rows(FOLDER, root)
    plan = split(rows, "external")
    held = Counter(rows.samples[row].label for row in plan.validation)
    assert held == {"eosinophil": 4, "monocyte": 1}
    assert {rows.samples[row].label for row in plan.train} == {
        "eosinophil",
        "monocyte",
        "neutrophil",
    }


# --- errors --------------------------------------------------------------------------------------


def test_grouped_wants_to_know_the_photographs(tmp_path: Path) -> None:
    root = draw_folder(tmp_path, dict.fromkeys(CELL.classes, 10))
    with pytest.raises(UsageError, match=r"nobody knows.*--photograph-from.*--each-file"):
        split(read_rows(FOLDER, root), "grouped", fold=0)
    told: tuple[dict[str, Option], ...] = (
        {"each_file_a_photograph": True},
        {"photograph_from": r"(\w+/\d\d)\d\.jpg"},
    )
    for options in told:
        rows = read_rows(FOLDER, root, options)
        if "photograph_from" in options:
            with pytest.raises(UsageError, match="4 groups, too few for 5 folds"):
                split(rows, "grouped", fold=0)
        else:
            assert len(split(rows, "grouped", fold=0).test) == 8


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"protocol": "grouped"}, "wants --fold 0 to 4, or --fold all; it was given None"),
        ({"protocol": "grouped", "fold": 5}, "wants --fold 0 to 4, or --fold all; .* 5"),
        ({"protocol": "grouped", "fold": 0, "folds": 341}, r"\d+ groups, too few for 341 folds"),
        ({"protocol": "grouped", "fold": 0, "part": "best"}, "no part 'best'; it has augmented"),
        ({"protocol": "grouped", "fold": 0, "train_part": "best"}, "no part 'best'"),
        ({"protocol": "official", "part": "best"}, "augmented, photographs, simple"),
        ({"protocol": "report", "part": "best"}, "no part 'best'"),
        ({"protocol": "report", "train_part": "photographs"}, "draws files.*no --train-part"),
        ({"protocol": "external", "part": "best"}, "no part 'best'"),
    ],
)
def test_what_the_archive_does_not_allow_is_wrong_usage(
    settings: dict[str, object], sentence: str, rows: Rows
) -> None:
    with pytest.raises(UsageError, match=sentence):
        split(rows, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(("half", "missing"), [("train", "test"), ("test", "training")])
def test_official_wants_both_published_halves(half: str, missing: str, tmp_path: Path) -> None:
    root = draw_folder(tmp_path, {f"{half}/{cell}": 3 for cell in CELL.classes})
    with pytest.raises(UsageError, match=f"no published {missing} half.*--protocol grouped"):
        split(read_rows(FOLDER, root))


def test_labels_of_another_task_are_told(tmp_path: Path) -> None:
    rows = read_rows(FOLDER, draw_folder(tmp_path, {"dog": 3, "cat": 3}))
    with pytest.raises(WbczooError, match="no image has a class of pbc8; its labels are cat, dog"):
        plan_split(rows, (PBC8,), TrainConfig(protocol="report"))


def test_a_data_set_of_refused_files_is_told(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "b/2.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    with pytest.raises(WbczooError, match="every image was refused"):
        split(read_rows(FOLDER, tmp_path), "report")


def test_training_that_is_wholly_tested_leaves_nothing_to_train_on(tmp_path: Path) -> None:
    root = draw_folder(tmp_path, {f"train/{cell}": 3 for cell in CELL.classes})
    for path in sorted((root / "train").rglob("*.jpg")):
        copy = root / "test" / path.relative_to(root / "train")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    with pytest.raises(WbczooError, match="leaves no image to train on"):
        split(read_rows(FOLDER, root))


# --- split.csv -----------------------------------------------------------------------------------


def test_split_csv_holds_what_identifies_a_row_and_where_it_is(rows: Rows, tmp_path: Path) -> None:
    plan = split(rows, "grouped", fold=2)
    write_split(tmp_path / "split.csv", rows, plan)
    lines, digest = read_split(tmp_path / "split.csv")
    assert digest == digest_of(rows, plan)
    assert list(lines[0]) == ["sha256", "photograph", "group", "role", "path", "label"]
    found = defaultdict(list)
    for line in lines:
        row = rows.index_of[line["sha256"]]
        assert line["photograph"] == rows.samples[row].photograph
        assert line["group"] == rows.groups[row]
        assert (line["path"], line["label"]) == (rows.samples[row].path, rows.samples[row].label)
        found[line["role"]].append(row)
    for role in ROLES:
        assert tuple(found[role]) == plan.rows(role)  # type: ignore[arg-type]


def test_a_digest_tells_splits_apart(rows: Rows, folds: list[Plan]) -> None:
    digests = {digest_of(rows, plan) for plan in folds}
    assert len(digests) == 5
    assert digest_of(rows, split(rows, "grouped", fold=2)) in digests


def test_split_csv_leaves_an_unknown_photograph_empty(tmp_path: Path) -> None:
    rows = read_rows(FOLDER, draw_folder(tmp_path, {"monocyte": 20, "neutrophil": 20}))
    write_split(tmp_path / "split.csv", rows, split(rows, "report"))
    lines = list(csv.DictReader((tmp_path / "split.csv").read_text().splitlines()))
    assert {line["photograph"] for line in lines} == {""}


@pytest.mark.parametrize(
    ("protocol", "settings", "digest"),
    [
        ("official", {}, "bd565cf30c2b79a5"),
        ("official", {"limit_photographs": 9}, "4462e0db8910213b"),
        ("report", {}, "d0705da21ff94c3f"),
        ("external", {}, "f13b7cdfe82d4ebb"),
        ("grouped", {"fold": 1}, "6318a2225d854e9d"),
        ("grouped", {"fold": 1, "seed": 1}, "75079579be79dbc8"),
    ],
)
def test_what_was_split_before_is_split_alike(
    tmp_path: Path, protocol: str, settings: dict[str, object], digest: str
) -> None:
    """Exported models know their split by its hash alone, so no later version may move a row."""
    rows = draw_rows(tmp_path)
    assert digest_of(rows, split(rows, protocol, **settings))[:16] == digest


def test_external_tests_the_first_part_where_there_are_no_photographs(tmp_path: Path) -> None:
    rows = draw_rows(tmp_path)
    samples = tuple(
        replace(sample, part="views" if sample.part == "photographs" else sample.part)
        for sample in rows.samples
    )
    plan = external_plan(replace(rows, samples=samples), DEFAULT)
    assert plan.part == min({sample.part for sample in samples})
    assert parts(replace(rows, samples=samples), plan.test) == {plan.part}

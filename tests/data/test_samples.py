"""Samples become rows: what must stay together does, and what a task leaves out is counted."""

from __future__ import annotations

import csv
import hashlib
import random
import zipfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from three_parts import draw_rows

from wbczoo import registry
from wbczoo.config import Part, TrainConfig
from wbczoo.data.prepared import read_dataset
from wbczoo.data.samples import Rows, join, read_rows
from wbczoo.errors import UsageError, WbczooError
from wbczoo.specs import DatasetSpec, Option, Sample
from wbczoo.tasks import CELL, CELL5, NUCLEUS, Task

FOLDER = registry.datasets.spec("folder")


def write(root: Path, contents: dict[str, bytes]) -> Path:
    """Files of these names and bytes; rows need no pixels."""
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def declare(samples: Sequence[Sample]) -> DatasetSpec:
    """A plugin's data set that says just this of its files."""
    return DatasetSpec(name="theirs", samples=lambda root: samples, unit="photograph")


def together(rows: Rows) -> set[frozenset[str]]:
    """The groups as sets of paths, without their names."""
    found = defaultdict(set)
    for sample, group in zip(rows.samples, rows.groups, strict=True):
        found[group].add(sample.path)
    return {frozenset(paths) for paths in found.values()}


def sets(*groups: str) -> set[frozenset[str]]:
    return {frozenset(group.split()) for group in groups}


# --- groups --------------------------------------------------------------------------------------


def test_equal_bytes_share_a_group_whatever_they_are_called(tmp_path: Path) -> None:
    contents = {"a/1.jpg": b"same", "a/2.jpg": b"one", "b/other.png": b"same", "b/3.jpg": b"two"}
    rows = read_rows(FOLDER, write(tmp_path, contents))
    assert together(rows) == sets("a/1.jpg b/other.png", "a/2.jpg", "b/3.jpg")
    assert rows.hashes == tuple(hashlib.sha256(contents[s.path]).hexdigest() for s in rows.samples)


def test_a_drawn_set_reads_its_table_and_passes_nothing_over(smears: Path) -> None:
    assert (smears / "samples.csv").exists()
    assert not read_rows(registry.datasets.spec("synthetic"), smears).passed_over


def test_equal_bytes_join_whole_photographs(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "a/p1_1.jpg": b"1",
            "a/p1_2.jpg": b"shared",
            "b/p2_1.jpg": b"shared",
            "b/p2_2.jpg": b"2",
            "b/p3_1.jpg": b"2",
            "b/p4_1.jpg": b"3",
        },
    )
    options: dict[str, Option] = {"photograph_from": r"/(p\d)_"}
    rows = read_rows(FOLDER, root, options)
    assert together(rows) == sets(
        "a/p1_1.jpg a/p1_2.jpg b/p2_1.jpg b/p2_2.jpg b/p3_1.jpg", "b/p4_1.jpg"
    )
    assert rows.count_photographs(range(len(rows))) == 4
    assert len(set(rows.groups)) == 2


def test_a_table_of_groups_joins_photographs(tmp_path: Path) -> None:
    names = ["a/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg"]
    root = write(tmp_path / "data", {name: name.encode() for name in names})
    table = tmp_path / "table.csv"
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("file", "photograph", "group"))
        writer.writerows(zip(names, ["p", "q", "r", "s"], ["field", "", "field", ""], strict=True))
    rows = read_rows(FOLDER, root, {"photograph_from": str(table)})
    assert together(rows) == sets("a/1.jpg b/3.jpg", "a/2.jpg", "b/4.jpg")
    assert rows.groups[0] == "field"


def test_a_photograph_stays_whole_where_only_some_of_its_files_have_a_group(
    tmp_path: Path,
) -> None:
    samples = [
        Sample("1.jpg", "x", photograph="p", group="g"),
        Sample("2.jpg", "x", photograph="p"),
        Sample("3.jpg", "x", photograph="q", group="g"),
        Sample("4.jpg", "x", photograph="r"),
    ]
    root = write(tmp_path, {sample.path: sample.path.encode() for sample in samples})
    rows = read_rows(declare(samples), root)
    assert together(rows) == sets("1.jpg 2.jpg 3.jpg", "4.jpg")
    assert rows.groups == ("g", "g", "g", "r")


def test_a_photograph_called_as_anothers_group_is_not_in_it(tmp_path: Path) -> None:
    samples = [
        Sample("1.jpg", "x", photograph="7", group="1"),
        Sample("2.jpg", "x", photograph="1"),
        Sample("3.jpg", "x", photograph="8", group="1"),
    ]
    root = write(tmp_path, {sample.path: sample.path.encode() for sample in samples})
    assert together(read_rows(declare(samples), root)) == sets("1.jpg 3.jpg", "2.jpg")


def test_groups_do_not_depend_on_the_order_of_files(tmp_path: Path) -> None:
    dice = random.Random(3)
    samples = [
        Sample(
            f"{number}.jpg",
            "x",
            photograph=f"p{dice.randrange(40)}" if dice.random() < 0.8 else None,
            group=f"g{dice.randrange(60)}" if dice.random() < 0.2 else None,
        )
        for number in range(120)
    ]
    root = write(tmp_path, {s.path: str(dice.randrange(100)).encode() for s in samples})
    rows = read_rows(declare(samples), root)
    for _ in range(3):
        shuffled = read_rows(declare(dice.sample(samples, len(samples))), root)
        groups = dict(zip([s.path for s in shuffled.samples], shuffled.groups, strict=True))
        assert [groups[sample.path] for sample in samples] == list(rows.groups)
    for field in ("photograph", "group"):
        for value in {getattr(sample, field) for sample in samples} - {None}:
            having = [row for row, s in enumerate(samples) if getattr(s, field) == value]
            assert len({rows.groups[row] for row in having}) == 1
    assert 5 < len(set(rows.groups)) < 60


# --- the real archive ----------------------------------------------------------------------------


def test_bccd_is_read_whole(bccd_rows: Rows) -> None:
    assert len(bccd_rows) == 12_882
    assert bccd_rows.refused == {}
    assert (bccd_rows.dataset, bccd_rows.unit) == ("bccd", "photograph")
    assert bccd_rows.count_photographs(range(len(bccd_rows))) == 367
    # 22 groups hold 49 photographs, and each of the others is its own.
    assert len(set(bccd_rows.groups)) == 367 - 72 + 33


def test_bccd_hashes_are_of_its_bytes(bccd_rows: Rows) -> None:
    with zipfile.ZipFile(bccd_rows.source.root) as archive:
        for row in range(0, len(bccd_rows), 1500):
            content = archive.read(bccd_rows.samples[row].path)
            assert hashlib.sha256(content).hexdigest() == bccd_rows.hashes[row]
    assert all(bccd_rows.hashes[row] == digest for digest, row in bccd_rows.index_of.items())
    assert set(bccd_rows.index_of) == set(bccd_rows.hashes)


def test_bccd_groups_never_part_a_photograph_or_equal_bytes(bccd_rows: Rows) -> None:
    for ties in (bccd_rows.hashes, [sample.photograph for sample in bccd_rows.samples]):
        pairs = set(zip(ties, bccd_rows.groups, strict=True))
        assert len(pairs) == len(set(ties))
    declared = [sample.group for sample in bccd_rows.samples]
    assert list(bccd_rows.groups) == declared


def test_bccd_leaves_19_photographs_out_of_cell_and_counts_them(bccd_rows: Rows) -> None:
    left = bccd_rows.left_out(CELL)
    assert sum(left.values()) == 19
    assert left["BASOPHIL"] == 3
    assert left[""] == 1
    assert sum(count for label, count in left.items() if "," in label) == 15
    assert bccd_rows.left_out(NUCLEUS) == left
    del left["BASOPHIL"]
    assert bccd_rows.left_out(CELL5) == left


def test_bccd_targets_are_class_indices_and_minus_one(bccd_rows: Rows) -> None:
    targets = bccd_rows.targets((CELL, NUCLEUS, CELL5))
    for task in (CELL, NUCLEUS, CELL5):
        assert targets[task.name].shape == (12_882,)
        assert targets[task.name].dtype == np.int64
        left = sum(bccd_rows.left_out(task).values())
        assert int((targets[task.name] == -1).sum()) == left
    whole = [row for row, s in enumerate(bccd_rows.samples) if s.part == "photographs"]
    cells = Counter(targets["cell"][whole].tolist())
    assert [cells[index] for index in range(4)] == [88, 33, 20, 207]
    polynuclear = np.isin(targets["cell"], (0, 3))
    known = targets["cell"] >= 0
    assert np.array_equal(targets["nucleus"][known], polynuclear[known].astype(np.int64))


# --- units, refusals and errors ------------------------------------------------------------------


def test_a_unit_is_unknown_until_it_is_told(tmp_path: Path) -> None:
    root = write(tmp_path, {f"{c}/{n}.jpg": f"{c}{n}".encode() for c in "ab" for n in range(3)})
    rows = read_rows(FOLDER, root)
    assert rows.unit == "unknown"
    assert rows.count_photographs(range(6)) is None
    told = read_rows(FOLDER, root, {"photograph_from": r"(\d)\.jpg"})
    assert (told.unit, told.count_photographs(range(6))) == ("photograph", 3)
    assert len(set(told.groups)) == 3
    stated = read_rows(FOLDER, root, {"each_file_a_photograph": True})
    assert (stated.unit, stated.count_photographs(range(6))) == ("photograph", 6)


@pytest.mark.parametrize(
    ("known", "unit"),
    [
        (({"patient": "1"}, {"patient": "2", "slide": "a"}), "patient"),
        (({"patient": "1"}, {"slide": "a"}), "slide"),
        (({"slide": "a"}, {"photograph": "p"}), "photograph"),
        (({"slide": "a"}, {}), "unknown"),
    ],
)
def test_the_unit_is_the_weakest_that_is_known_of_each_labelled_file(
    known: Sequence[dict[str, str]], unit: str, tmp_path: Path
) -> None:
    root = write(tmp_path, {"0.jpg": b"0", "1.jpg": b"1", "2.jpg": b"2"})
    samples = [Sample(f"{n}.jpg", "A", **known[n]) for n in range(2)]  # type: ignore[arg-type]
    spec = replace(declare([*samples, Sample("2.jpg", "")]), unit="unknown")
    assert read_rows(spec, root).unit == unit


def test_patients_and_slides_stay_whole_and_keep_their_names_apart(tmp_path: Path) -> None:
    root = write(tmp_path, {f"{n}.jpg": str(n).encode() for n in range(5)})
    samples = [
        Sample("0.jpg", "A", slide="s1", patient="1"),
        Sample("1.jpg", "A", slide="s2", patient="1"),
        Sample("2.jpg", "A", slide="1"),
        Sample("3.jpg", "A", slide="1", photograph="p"),
        Sample("4.jpg", "A", photograph="p"),
    ]
    rows = read_rows(replace(declare(samples), unit="unknown"), root)
    assert rows.groups == ("1", "1", "slide 1", "slide 1", "slide 1")
    both = join({"a": rows, "b": rows})
    assert together(both) == {frozenset(f"{lab}/{n}.jpg" for lab in "ab" for n in ns)
                              for ns in ((0, 1), (2, 3, 4))}  # fmt: skip
    # Equal bytes alone tied the two sets: a patient 1 of each is not the same person.
    other = write(tmp_path / "b", {f"{n}.jpg": b"b" + str(n).encode() for n in range(5)})
    apart = join({"a": rows, "b": read_rows(replace(declare(samples), unit="unknown"), other)})
    assert len(set(apart.groups)) == 4


def test_a_task_reads_the_label_of_its_name_and_else_the_files(tmp_path: Path) -> None:
    root = write(tmp_path, {"0.jpg": b"0", "1.jpg": b"1"})
    stage = Task("stage", ("band", "segmented"))
    samples = [
        Sample("0.jpg", "neutrophil", labels={"stage": "Band"}),
        Sample("1.jpg", "neutrophil", labels={"stage": ""}),
    ]
    rows = read_rows(replace(declare(samples), unit="unknown"), root)
    assert [rows.class_of(stage, row) for row in (0, 1)] == ["band", None]
    assert [rows.class_of(CELL, row) for row in (0, 1)] == ["neutrophil", "neutrophil"]
    assert rows.left_out(stage) == {"": 1}


def test_a_users_task_counts_what_the_data_sets_table_says_beyond_it(tmp_path: Path) -> None:
    root = write(tmp_path, {"MONO/1.jpg": b"1", "neut/2.jpg": b"2", "Other/3.jpg": b"3"})
    rows = read_rows(FOLDER, root)
    mine = Task("cell", ("other", "monocyte"))
    labels = [sample.label for sample in rows.samples]
    assert dict(zip(labels, rows.targets((mine,))["cell"].tolist(), strict=True)) == {
        "MONO": 1,
        "neut": -1,
        "Other": 0,
    }
    assert rows.left_out(mine) == {"neut": 1}


def test_what_cannot_be_read_is_refused_and_ties_nothing_together(tmp_path: Path) -> None:
    contents = {"a/1.jpg": b"1", "a/empty.jpg": b"", "b/empty.jpg": b"", "b/2.jpg": b"2"}
    root = write(tmp_path, contents)
    (root / "b" / "link.jpg").symlink_to(tmp_path / "gone")
    rows = read_rows(FOLDER, root, {"photograph_from": r"(\w)/"})
    assert [sample.path for sample in rows.samples] == ["a/1.jpg", "b/2.jpg"]
    assert rows.groups == ("a", "b")
    assert rows.refused["a/empty.jpg"] == rows.refused["b/empty.jpg"] == "The file is empty."
    assert rows.refused["b/link.jpg"] == "The file is not there."


def test_rows_that_are_kept_stay_aligned(tmp_path: Path) -> None:
    rows = draw_rows(tmp_path)
    kept = rows.keep(lambda row: row % 50 == 7, {"x.jpg": "broken"})
    assert len(kept) == len(kept.hashes) == len(kept.groups) == 13
    for row, sample in enumerate(kept.samples):
        assert sample == rows.samples[50 * row + 7]
        assert kept.hashes[row] == rows.hashes[50 * row + 7]
        assert kept.groups[row] == rows.groups[50 * row + 7]
    assert kept.refused == {"x.jpg": "broken"}
    assert rows.refused == {}


def test_targets_are_class_indices_and_minus_one_where_a_task_leaves_a_label_out(
    tmp_path: Path,
) -> None:
    labels = ("NEUTROPHIL", "BASOPHIL", "", "NEUTROPHIL, EOSINOPHIL", "eosinophil", "Monocytes")
    samples = [Sample(f"{number}.jpg", label) for number, label in enumerate(labels)]
    write(tmp_path, {sample.path: sample.path.encode() for sample in samples})
    spec = replace(declare(samples), labels=registry.datasets.spec("bccd").labels)
    rows = read_rows(spec, tmp_path)
    targets = rows.targets((CELL, NUCLEUS, CELL5))
    assert targets["cell"].tolist() == [3, -1, -1, -1, 0, 2]
    assert targets["nucleus"].tolist() == [1, -1, -1, -1, 1, 0]
    assert targets["cell5"].tolist() == [4, 0, -1, -1, 1, 3]
    assert rows.left_out(CELL) == {"BASOPHIL": 1, "": 1, "NEUTROPHIL, EOSINOPHIL": 1}
    assert rows.left_out(CELL5) == {"": 1, "NEUTROPHIL, EOSINOPHIL": 1}


def test_a_data_set_of_no_image_is_told(tmp_path: Path) -> None:
    with pytest.raises(WbczooError, match="holds no image of the data set 'theirs'"):
        read_rows(declare([]), tmp_path)


def test_what_is_no_data_set_is_told_by_the_plugin(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="wbczoo data prepare"):
        read_rows(registry.datasets.spec("synthetic"), tmp_path / "nowhere")
    with pytest.raises(UsageError, match="one class only"):
        read_rows(FOLDER, write(tmp_path, {"a/1.jpg": b"1"}))


def test_equal_bytes_under_two_labels_are_told_with_their_files(tmp_path: Path) -> None:
    contents = {
        "Eosinophils/1.jpg": b"same",
        "neutrophil/2.jpg": b"same",
        "eosinophil/3.jpg": b"3",
        "Eosinophils/4.jpg": b"3",  # another spelling of one label
        "5.jpg": b"5",
        "neutrophil/6.jpg": b"5",  # an image without a label contradicts none
    }
    root = write(tmp_path, contents)
    assert read_rows(FOLDER, root).contradictions() == [
        {"Eosinophils/1.jpg": "Eosinophils", "neutrophil/2.jpg": "neutrophil"}
    ]
    told: list[str] = []
    read_dataset(TrainConfig(dataset=Part(name="folder")), root, told.append)
    assert told[-1] == (
        "equal bytes have different labels: "
        "Eosinophils/1.jpg (Eosinophils) = neutrophil/2.jpg (neutrophil)"
    )


def test_identifiers_that_look_the_same_are_one_photograph(tmp_path: Path) -> None:
    names = ["a/ä1.jpg", "a/ä2.jpg", "b/3.jpg", "b/4.jpg"]
    root = write(tmp_path / "data", {normalize("NFD", name): name.encode() for name in names})
    table = tmp_path / "table.csv"
    composed = "file;photograph\na/ä1.jpg;p1\na/ä2.jpg;p1\u200b \nb/3.jpg;é\u00a01\n"
    decomposed = "b/4.jpg;é  1\n"
    table.write_text(normalize("NFC", composed) + normalize("NFD", decomposed))
    rows = read_rows(FOLDER, root, {"photograph_from": str(table)})
    assert rows.count_photographs(range(4)) == 2
    declared = [Sample(normalize("NFD", names[0]), "a", "p1 "), Sample(names[2], "b", "p1")]
    assert read_rows(declare(declared), root).count_photographs(range(2)) == 1


def test_no_path_of_this_machine_is_written_and_the_table_is_found_again(tmp_path: Path) -> None:
    root = write(tmp_path / "data", {"a/1.jpg": b"1", "b/2.jpg": b"2"})
    configs = []
    for place in ("here", "there"):
        table = tmp_path / place / "ph.csv"
        table.parent.mkdir()
        table.write_text("file,photograph\na/1.jpg,p\nb/2.jpg,p\n")
        part = Part(name="folder", options={"photograph_from": str(table)})
        configs.append(TrainConfig(dataset=part))
        rows = read_dataset(configs[-1].model_copy(update={"fold": 0}), root, print)
        assert rows.count_photographs(range(2)) == 1
    # A stopped run compares what is written, which does not say where the table lies.
    assert configs[0].model_dump_json() == configs[1].model_dump_json()
    assert str(tmp_path) not in configs[0].model_dump_json()
    assert '"ph.csv sha256:' in configs[0].model_dump_json()
    table.write_text("file,photograph\na/1.jpg,p\nb/2.jpg,q\n")
    assert TrainConfig(dataset=part).model_dump_json() != configs[0].model_dump_json()
    with pytest.raises(UsageError, match=r"stood in a table, ph\.csv sha256:"):
        read_dataset(TrainConfig.model_validate_json(configs[0].model_dump_json()), root, print)

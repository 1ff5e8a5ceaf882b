"""What the plugin `bccd` says of the published archive, and of a damaged one."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from dataset_files import classes, make, snapshot
from PIL import Image

from wbczoo.errors import UsageError, WbczooError
from wbczoo.specs import Sample
from wbczoo.tasks import CELL, CELL5, NUCLEUS
from wbczoo_datasets.bccd import BCCD

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def archive(shared: Path) -> Path:
    return shared / "data" / "blood-cells.zip"


@pytest.fixture(scope="module")
def bccd(archive: Path) -> list[Sample]:
    return list(BCCD.samples(archive))


@pytest.fixture(scope="module")
def unpacked(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive as a folder: its real annotations, and empty files for its images."""
    root = tmp_path_factory.mktemp("bccd")
    with zipfile.ZipFile(archive) as stream:
        make(root, *stream.namelist())
        stream.extractall(root, [name for name in stream.namelist() if name.endswith(".xml")])
    return root


def test_bccd_has_every_published_file_in_its_part_and_split(bccd: list[Sample]) -> None:
    assert Counter((sample.part, sample.split) for sample in bccd) == {
        ("augmented", "train"): 9957,
        ("augmented", "test"): 2487,
        ("simple", "test"): 71,
        ("photographs", "train"): 277,
        ("photographs", "test"): 71,
        ("photographs", None): 19,
    }
    assert [sample.path for sample in bccd] == sorted({sample.path for sample in bccd})


def test_bccd_views_agree_with_their_photograph(bccd: list[Sample]) -> None:
    photographs = {s.photograph: s for s in bccd if s.part == "photographs"}
    for view in bccd:
        source = photographs[view.photograph]
        assert (view.label, view.group, view.split) == (source.label, source.group, source.split)
    seen = defaultdict(set)
    for sample in bccd:
        seen[sample.part, sample.split].add(sample.photograph)
    assert len(seen["augmented", "train"]) == 277
    assert len(seen["augmented", "test"]) == 71
    assert len(seen["simple", "test"]) == 69
    assert not seen["augmented", "train"] & seen["augmented", "test"]


@pytest.mark.parametrize(
    ("groups", "known"),
    [(1, {"204", "230", "364"}), (2, {"204", "223", "230", "364", "365", "377"})],
)
def test_bccd_groups_that_cross_train_and_test_are_the_known_ones(
    groups: int, known: set[str], unpacked: Path
) -> None:
    splits = defaultdict(set)
    for sample in BCCD.samples(unpacked, groups=groups):
        if sample.part == "augmented":
            splits[sample.group].add(sample.split)
    assert {group for group, both in splits.items() if len(both) > 1} == known


def test_bccd_groups_hold_the_twelve_pairs_and_all_the_older_groups(
    unpacked: Path, bccd: list[Sample]
) -> None:
    older = {s.photograph: s.group for s in BCCD.samples(unpacked, groups=1)}
    group_of = {s.photograph: s.group for s in bccd}
    page = (ROOT / "docs" / "dataset-audit.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| (\d+), (\d+) \| (?:\*\*)?(?:train|none)", page, re.MULTILINE)
    assert len(found) == 12
    # What a union of the older groups with the pairs ties, and nothing else.
    ties = {(group_of[one], group_of[other]) for one, other in found}
    assert all(one == other for one, other in ties)
    assert all(older[one] != older[other] for one, other in found)
    assert len(set(zip(older.values(), group_of.values(), strict=True))) == len({*older.values()})
    assert len({*group_of.values()}) == len({*older.values()}) - 12 == 328


def test_bccd_has_two_versions_of_its_groups(unpacked: Path) -> None:
    with pytest.raises(UsageError, match="versions 1 and 2, and not 3"):
        BCCD.samples(unpacked, groups=3)


def test_bccd_tasks_use_the_348_photographs_of_one_labelled_cell(bccd: list[Sample]) -> None:
    photographs = [sample for sample in bccd if sample.part == "photographs"]
    cells = classes(BCCD, photographs, CELL)
    assert cells == {
        "neutrophil": 207,
        "eosinophil": 88,
        "lymphocyte": 33,
        "monocyte": 20,
        None: 19,
    }
    assert classes(BCCD, photographs, NUCLEUS) == {"polynuclear": 295, "mononuclear": 53, None: 19}
    assert classes(BCCD, photographs, CELL5)["basophil"] == 3
    assert "" in {sample.label for sample in photographs}
    assert "NEUTROPHIL, EOSINOPHIL" in {sample.label for sample in photographs}


def test_bccd_boxes_are_those_of_a_lone_white_cell(bccd: list[Sample]) -> None:
    boxed = {s.photograph: s.box for s in bccd if s.box is not None}
    assert len(boxed) == 344
    assert boxed["0"] == (260, 177, 491, 376)
    for left, top, right, bottom in boxed.values():
        assert 0 <= left < right <= 640
        assert 0 <= top < bottom <= 480
    assert all(sample.part == "photographs" for sample in bccd if sample.box is not None)


def test_bccd_boxes_all_white_cells_of_an_annotated_photograph(bccd: list[Sample]) -> None:
    annotated = [sample.boxes for sample in bccd if sample.boxes is not None]
    assert Counter(map(len, annotated)) == {0: 6, 1: 344, 2: 14}
    assert all(s.boxes in (None, (s.box,)) for s in bccd if s.box is not None)


def test_bccd_box_holds_the_stained_nucleus(archive: Path, bccd: list[Sample]) -> None:
    """Blue exceeds green most where chromatin is; it lies inside the annotated box."""
    inside = []
    with zipfile.ZipFile(archive) as stream:
        for sample in [s for s in bccd if s.box is not None][:20]:
            with stream.open(sample.path) as file, Image.open(file) as image:
                pixels = np.asarray(image.convert("RGB"), np.int16)
            y, x = np.nonzero(pixels[..., 2] - pixels[..., 1] > 70)
            assert sample.box is not None
            left, top, right, bottom = sample.box
            inside.append(np.mean((x >= left) & (x <= right) & (y >= top) & (y <= bottom)))
    assert np.median(inside) > 0.9


def test_bccd_folder_gives_what_the_zip_gives(unpacked: Path, bccd: list[Sample]) -> None:
    assert list(BCCD.samples(unpacked)) == bccd


@pytest.mark.parametrize(
    ("below", "files"),
    [
        ("dataset2-master", 12515),
        ("dataset2-master/dataset2-master", 12515),
        ("dataset2-master/dataset2-master/images", 12515),
        ("dataset-master/dataset-master", 367),
        ("dataset-master/dataset-master/JPEGImages", 367),
    ],
)
def test_bccd_is_found_from_any_of_its_folders(
    below: str, files: int, unpacked: Path, bccd: list[Sample]
) -> None:
    found = list(BCCD.samples(unpacked / below))
    known = {s.path: (s.label, s.photograph, s.group, s.split, s.part) for s in bccd}
    assert len(found) == files
    for s in found:
        assert known[f"{below}/{s.path}"] == (s.label, s.photograph, s.group, s.split, s.part)


def test_bccd_names_a_file_that_was_never_published(tmp_path: Path) -> None:
    root = make(
        tmp_path, "images/TRAIN/EOSINOPHIL/_0_1169.jpeg", "images/TRAIN/EOSINOPHIL/mine.jpeg"
    )
    with pytest.raises(WbczooError, match=r"1 files .*EOSINOPHIL/mine\.jpeg.*Remove") as caught:
        BCCD.samples(root)
    assert caught.value.exit_code == 1
    root = make(tmp_path / "more", "JPEGImages/BloodImage_00999.jpg")
    with pytest.raises(WbczooError, match=r"BloodImage_00999\.jpg"):
        BCCD.samples(root)


def test_bccd_refuses_a_view_moved_to_another_class(tmp_path: Path) -> None:
    root = make(tmp_path, "images/TRAIN/NEUTROPHIL/_0_1169.jpeg")
    with pytest.raises(WbczooError, match="not of the published"):
        BCCD.samples(root)


def test_bccd_refuses_two_copies_of_one_file(tmp_path: Path) -> None:
    name = "images/TRAIN/EOSINOPHIL/_0_1169.jpeg"
    with pytest.raises(WbczooError, match=r"a/images.* and b/images"):
        BCCD.samples(make(tmp_path, f"a/{name}", f"b/{name}"))


def test_bccd_says_which_annotation_is_damaged(tmp_path: Path) -> None:
    root = make(tmp_path, "JPEGImages/BloodImage_00000.jpg", "Annotations/BloodImage_00000.xml")
    with pytest.raises(WbczooError, match=r"Annotations/BloodImage_00000\.xml"):
        BCCD.samples(root)


def test_bccd_says_what_it_expected_and_found(shared: Path) -> None:
    with pytest.raises(UsageError, match=r"images/TRAIN.*found PBC_dataset.*3996 more"):
        BCCD.samples(shared / "data" / "pbc-sample.zip")


def test_bccd_tables_are_what_the_tool_makes(shared: Path, tmp_path: Path) -> None:
    tool = ROOT / "tools" / "make_bccd_table.py"
    run = f"import runpy, sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv = sys.argv[1:]; "
    run += "runpy.run_path(sys.argv[0], run_name='__main__')"
    subprocess.run(
        [sys.executable, "-c", run, str(tool), str(shared / "data"), str(tmp_path)], check=True
    )
    made = snapshot(tmp_path)
    assert set(made) == {"bccd_augmented.csv", "bccd_photographs.csv"}
    for name, content in made.items():
        assert content == (ROOT / "plugins" / "wbczoo_datasets" / name).read_bytes()

"""What the data-set plugins say of the real archives, a user's folders and their own set."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image

from wbczoo.errors import UsageError, WbczooError
from wbczoo.specs import DatasetSpec, Sample
from wbczoo.tasks import ANY, CELL, CELL5, NUCLEUS, NUCLEUS_OF, PBC8, SHIPPED, Task, class_of
from wbczoo_datasets.bccd import BCCD
from wbczoo_datasets.bionet import BIONET
from wbczoo_datasets.folder import FOLDER
from wbczoo_datasets.lmu_aml import LMU_AML
from wbczoo_datasets.pbc import PBC
from wbczoo_datasets.raabin import RAABIN
from wbczoo_datasets.synthetic import SYNTHETIC

ROOT = Path(__file__).resolve().parents[2]
ALL = (BCCD, BIONET, FOLDER, LMU_AML, PBC, RAABIN, SYNTHETIC)


def make(root: Path, *names: str) -> Path:
    """A folder with empty files of these names: samples must need no pixels."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def pack(path: Path, *names: str) -> Path:
    """A zip file with empty members of these names."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return path


def classes(spec: DatasetSpec, samples: Iterable[Sample], task: Task) -> Counter[str | None]:
    return Counter(class_of(task, sample.label, spec.labels) for sample in samples)


def snapshot(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


# --- all of them ---------------------------------------------------------------------------------


def test_loading_the_specs_imports_only_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "from wbczoo_datasets import bccd, bionet, folder, lmu_aml, pbc, raabin, synthetic\n"
        "names = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(names - set(sys.stdlib_module_names)))"
    )
    paths = f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'plugins')]!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", paths + code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['wbczoo', 'wbczoo_datasets']"


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.name)
def test_a_root_that_is_not_there_is_wrong_usage(spec: DatasetSpec, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        spec.samples(tmp_path / "nowhere")


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.name)
def test_a_file_that_is_no_zip_is_wrong_usage(spec: DatasetSpec, tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_bytes(b"PK but no archive")
    with pytest.raises(UsageError, match="neither a folder nor a zip"):
        spec.samples(tmp_path / "data.zip")


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.name)
@pytest.mark.parametrize("member", ["../up.jpg", "/etc/up.jpg", "a/../../up.jpg", "..\\up.jpg"])
def test_a_zip_that_points_outside_itself_is_refused(
    spec: DatasetSpec, member: str, tmp_path: Path
) -> None:
    archive = pack(tmp_path / "data.zip", "basophil/1.jpg", "monocyte/2.jpg", member)
    with pytest.raises(WbczooError, match="outside the archive"):
        spec.samples(archive)


def test_labels_give_only_classes_of_their_task() -> None:
    for spec in ALL:
        for name, table in spec.labels.items():
            assert name == ANY or set(table.values()) <= set(SHIPPED[name].classes)


@pytest.mark.parametrize(
    ("raw", "cell", "nucleus", "pbc8"),
    [
        ("Eosinophils", "eosinophil", "polynuclear", "eosinophil"),
        ("EOSINOPHIL", "eosinophil", "polynuclear", "eosinophil"),
        ("eos", "eosinophil", "polynuclear", "eosinophil"),
        ("monocyte", "monocyte", "mononuclear", "monocyte"),
        ("ig", None, None, "immature_granulocyte"),
        ("Immature Granulocytes", None, None, "immature_granulocyte"),
        ("Basophil", None, None, "basophil"),
        ("Polynuclear", None, "polynuclear", None),
        ("NEUTROPHIL, NEUTROPHIL", None, None, None),
        ("artefact", None, None, None),
        ("s", None, None, None),
        ("", None, None, None),
    ],
)
def test_raw_labels_find_their_class_or_none(
    raw: str, cell: str | None, nucleus: str | None, pbc8: str | None
) -> None:
    found = tuple(class_of(task, raw, FOLDER.labels) for task in (CELL, NUCLEUS, PBC8))
    assert found == (cell, nucleus, pbc8)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Band Neutrophil", "band_neutrophil"),
        ("band-neutrophils", "band_neutrophil"),
        ("Segmented Neutrophil", "segmented_neutrophil"),
        ("Lymphs", "lymphocyte"),
        ("eos", None),
    ],
)
def test_a_users_own_task_finds_its_classes_as_a_shipped_one_does(
    raw: str, expected: str | None
) -> None:
    stage = Task("stage", ("band_neutrophil", "segmented_neutrophil", "lymphocyte"))
    assert class_of(stage, raw, FOLDER.labels) == expected


# --- bccd ----------------------------------------------------------------------------------------


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


# --- pbc -----------------------------------------------------------------------------------------


def test_pbc_has_each_image_as_its_own_photograph(shared: Path) -> None:
    found = list(PBC.samples(shared / "data" / "pbc-sample.zip"))
    # neutrophil/.DS_169665.jpg, in the published set too, is no image but a Finder's note.
    counts = dict.fromkeys(PBC8.classes, 500) | {"neutrophil": 499}
    assert classes(PBC, found, PBC8) == counts
    assert len({sample.photograph for sample in found}) == len(found) == 3999
    assert classes(PBC, found, CELL5)[None] == 1500
    assert classes(PBC, found, NUCLEUS) == {"mononuclear": 1000, "polynuclear": 999, None: 2000}
    assert {sample.split for sample in found} == {None}
    assert found[0] == Sample(
        "PBC_dataset_normal_DIB/basophil/BA_101381.jpg", "basophil", "BA_101381"
    )


def test_pbc_is_found_from_its_own_folder_and_keeps_a_strange_class(tmp_path: Path) -> None:
    make(tmp_path / "PBC_dataset_normal_DIB", "ig/MY_1.jpg", "platelet/PLATELET_2.jpg", "x/X_3.jpg")
    above = [(s.label, s.photograph) for s in PBC.samples(tmp_path)]
    inside = [(s.label, s.photograph) for s in PBC.samples(tmp_path / "PBC_dataset_normal_DIB")]
    assert above == inside == [("ig", "MY_1"), ("platelet", "PLATELET_2"), ("x", "X_3")]


def test_pbc_says_what_it_expected_and_found(archive: Path) -> None:
    with pytest.raises(UsageError, match=r"PBC_dataset_normal_DIB.*found images in JPEGImages"):
        PBC.samples(archive)


# --- folder --------------------------------------------------------------------------------------

TWO = ("Eosinophils/a1.JPG", "Eosinophils/deep/a2.png", "neutrophil/b1.tiff")


def test_folder_reads_class_folders_and_ignores_what_is_no_image(tmp_path: Path) -> None:
    clutter = (
        "neutrophil/notes.txt",
        ".git/x.png",
        "neutrophil/.b.jpg",
        "__MACOSX/neutrophil/b.jpg",
    )
    expected = [
        Sample("Eosinophils/a1.JPG", "Eosinophils"),
        Sample("Eosinophils/deep/a2.png", "Eosinophils"),
        Sample("neutrophil/b1.tiff", "neutrophil"),
    ]
    assert list(FOLDER.samples(make(tmp_path / "data", *TWO, *clutter))) == expected
    assert list(FOLDER.samples(pack(tmp_path / "data.zip", *TWO, *clutter))) == expected
    assert FOLDER.unit == "unknown"


def test_folder_passes_over_one_wrapping_folder(tmp_path: Path) -> None:
    found = FOLDER.samples(pack(tmp_path / "d.zip", *(f"my cells/{name}" for name in TWO)))
    assert {s.label for s in found} == {"Eosinophils", "neutrophil"}
    assert {s.path for s in found} == {f"my cells/{name}" for name in TWO}


@pytest.mark.parametrize("wrapper", ["", "data/"])
def test_folder_takes_split_folders_as_the_published_split(wrapper: str, tmp_path: Path) -> None:
    names = ("Train/eo/1.jpg", "Train/ne/2.jpg", "VALID/eo/3.jpg", "val/ne/4.jpg", "test/ne/5.jpg")
    found = FOLDER.samples(make(tmp_path, *(wrapper + name for name in names)))
    assert {(s.path.removeprefix(wrapper), s.split, s.label) for s in found} == {
        ("Train/eo/1.jpg", "train", "eo"),
        ("Train/ne/2.jpg", "train", "ne"),
        ("VALID/eo/3.jpg", "validation", "eo"),
        ("val/ne/4.jpg", "validation", "ne"),
        ("test/ne/5.jpg", "test", "ne"),
    }


def test_folder_counts_an_image_outside_the_classes_as_left_out(tmp_path: Path) -> None:
    found = FOLDER.samples(make(tmp_path, *TWO, "overview.jpg"))
    assert classes(FOLDER, found, CELL) == {"eosinophil": 2, "neutrophil": 1, None: 1}


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ((), "no class folder"),
        (("a.jpg", "b.jpg"), "no class folder"),
        (("eosinophil/a.jpg", "eosinophil/b.jpg"), "one class only, 'eosinophil'"),
        (("data/eosinophil/a.jpg",), "one class only, 'eosinophil'"),
        (("eosinophil/slide1/a.jpg", "eosinophil/slide2/b.jpg"), "one class only, 'eosinophil'"),
        (("train/eosinophil/a.jpg", "test/Eosinophil/b.jpg"), "one class only"),
        (("train/eo/a.jpg", "test/ne/b.jpg", "mono/c.jpg"), "inside and beside.*mono"),
    ],
)
def test_folder_refuses_what_no_classifier_can_learn(
    names: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=sentence):
        FOLDER.samples(make(tmp_path, *names))


def test_folder_survives_a_link_to_its_own_parent(tmp_path: Path) -> None:
    root = make(tmp_path / "data", *TWO)
    (root / "neutrophil" / "back").symlink_to(root, target_is_directory=True)
    assert [s.path for s in FOLDER.samples(root)] == list(TWO)


def test_folder_follows_a_class_folder_that_is_a_link(tmp_path: Path) -> None:
    elsewhere = make(tmp_path / "disk", "c1.jpg")
    root = make(tmp_path / "data", *TWO)
    (root / "monocyte").symlink_to(elsewhere, target_is_directory=True)
    assert ("monocyte/c1.jpg", "monocyte") in {(s.path, s.label) for s in FOLDER.samples(root)}


@pytest.mark.parametrize("pattern", [r"s(\d+)_", r"(x)?s(?P<photograph>\d+)_"])
def test_folder_knows_photographs_by_a_regular_expression(pattern: str, tmp_path: Path) -> None:
    root = make(tmp_path, "eo/s01_a.jpg", "eo/s01_b.jpg", "ne/s02_a.jpg")
    found = FOLDER.samples(root, photograph_from=pattern)
    assert [s.photograph for s in found] == ["01", "01", "02"]


def test_folder_names_files_whose_photograph_is_not_told(tmp_path: Path) -> None:
    root = make(tmp_path, "eo/s01_a.jpg", *(f"ne/{k}.jpg" for k in range(5)))
    told = r"nothing about 5 of 6.*ne/0\.jpg, ne/1\.jpg, ne/2\.jpg and 2 more"
    with pytest.raises(WbczooError, match=told) as caught:
        FOLDER.samples(root, photograph_from=r"s(\d+)_")
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("pattern", "sentence"), [("s(", "no regular expression"), ("s01", "has no group")]
)
def test_folder_refuses_an_expression_that_cannot_serve(
    pattern: str, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=sentence):
        FOLDER.samples(make(tmp_path, *TWO), photograph_from=pattern)


@pytest.mark.parametrize("wrapper", ["", "data/"])
def test_folder_knows_photographs_and_groups_by_a_table(wrapper: str, tmp_path: Path) -> None:
    root = make(tmp_path / "root", *(f"{wrapper}{name}" for name in TWO))
    table = tmp_path / "origin.csv"
    table.write_text(
        "\ufefffile,photograph,group\nEosinophils/a1.JPG,p1,patient1\n"
        "Eosinophils\\deep\\a2.png,p2,patient1\nneutrophil/b1.tiff,p3,\nnot/there.jpg,p4,\n",
        encoding="utf-8",
    )
    found = FOLDER.samples(root, photograph_from=str(table))
    expected = [("p1", "patient1"), ("p2", "patient1"), ("p3", None)]
    assert [(s.photograph, s.group) for s in found] == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("file;photo\nx;y\n", "needs the columns"),
        ("file,label\nx,y\n", r"--each-file-a-photograph.*--labels .*origin\.csv"),
        ("file,photograph\nx.jpg,\n", "has no photograph"),
        ("", "needs the columns"),
        ("file,photograph\nx.jpg,1\nx.jpg,2\n", "two things of x.jpg: photograph 1"),
        ("file,photograph,group\nx.jpg,1,a\ny.jpg,1,b\n", "two groups, a and b"),
        ("file,photograph\n\udcff,1\n", "cannot be read as CSV"),
    ],
)
def test_folder_refuses_a_table_that_cannot_serve(text: str, sentence: str, tmp_path: Path) -> None:
    table = tmp_path / "origin.csv"
    table.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=sentence):
        FOLDER.samples(make(tmp_path / "data", *TWO), photograph_from=str(table))
    with pytest.raises(UsageError, match="is not there"):
        FOLDER.samples(tmp_path / "data", photograph_from="other.csv")


def test_folder_takes_the_users_word_that_each_file_is_a_photograph(tmp_path: Path) -> None:
    root = make(tmp_path, *TWO)
    assert [s.photograph for s in FOLDER.samples(root)] == [None] * 3
    stated = FOLDER.samples(root, each_file_a_photograph=True)
    assert [s.photograph for s in stated] == list(TWO)
    with pytest.raises(UsageError, match="contradict"):
        FOLDER.samples(root, each_file_a_photograph=True, photograph_from="(a)")
    assert dict(FOLDER.options) == {
        "photograph_from": None,
        "each_file_a_photograph": False,
        "labels": "",
        "labels_from": None,
    }


def test_folder_labels_name_what_the_classes_of_a_task_cannot(tmp_path: Path) -> None:
    decomposed = normalize("NFD", "Kleinzöllig")  # as a Mac writes it
    root = make(tmp_path, "train/0/1.jpg", "train/1/2.jpg", "test/嗜酸/3.jpg",
                f"test/{decomposed}/4.jpg", "test/monocyte/5.jpg")  # fmt: skip
    found = FOLDER.samples(
        root, labels="0=neutrophil/1=eosinophil/嗜酸=eosinophil/Kleinzöllig=lymphocyte"
    )
    assert {s.path: s.label for s in found} == {
        "train/0/1.jpg": "neutrophil",
        "train/1/2.jpg": "eosinophil",
        "test/嗜酸/3.jpg": "eosinophil",
        f"test/{decomposed}/4.jpg": "lymphocyte",
        "test/monocyte/5.jpg": "monocyte",
    }
    for labels, sentence in (
        ("7=neutrophil", "no class folder 7; there are 0, 1, Klein"),
        ("neutrophil", "RAW=CLASS"),
        ("0=neutrophil/0=monocyte", "two labels"),
    ):
        with pytest.raises(UsageError, match=sentence):
            FOLDER.samples(root, labels=labels)


@pytest.mark.parametrize(("column", "at"), [("slide", "slide"), ("patient", "patient")])
def test_folder_takes_slides_and_patients_of_a_table(column: str, at: str, tmp_path: Path) -> None:
    root, table = make(tmp_path / "root", *TWO), tmp_path / "origin.csv"
    rows = "".join(f"{name},{number // 2}\n" for number, name in enumerate(TWO))
    table.write_text(f"file,{column}\n{rows}", encoding="utf-8")
    found = FOLDER.samples(root, photograph_from=str(table))
    assert [getattr(s, at) for s in found] == ["0", "0", "1"]
    assert {s.photograph for s in found} == {None}


LABELLED = ("s1/1.jpg", "s1/2.jpg", "s2/1.jpg", normalize("NFD", "Zoë.jpg"), "a b.jpg")
LABELS = [("s1/1.jpg", "A", "x"), ("./s1\\2.jpg", "B", "x"), ("data/s2/1.jpg", "A", "y"),
          ("/elsewhere/Zoë.jpg", "B", "y"), ("a  b.jpg", "A", "y")]  # fmt: skip


def labelled(root: Path, head: str, rows: Iterable[Sequence[str]], **options: str) -> list[Sample]:
    """The samples of five files by a table."""
    data, table = make(root / "data", *LABELLED), root / "labels.csv"
    lines = [head, *(";".join(row) for row in rows)]
    table.write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")
    return list(FOLDER.samples(data, labels_from=str(table), **options))


def test_folder_takes_labels_from_a_table_by_path_or_by_a_name_that_is_the_only_one(
    tmp_path: Path,
) -> None:
    found = {s.path: s for s in labelled(tmp_path, "File;Label;Slide", LABELS)}
    assert [found[name].label for name in LABELLED] == ["A", "B", "A", "B", "A"]
    assert [found[name].slide for name in LABELLED] == ["x", "x", "y", "y", "y"]
    assert {s.split for s in found.values()} == {None}


def test_folder_says_what_a_table_and_the_files_do_not_have_of_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [LABELS[0], LABELS[1], (LABELS[2][0], "", "y"), ("not/there.jpg", "A", "z")]
    found = {s.path: s.label for s in labelled(tmp_path, "file;label;slide", rows)}
    assert [found[name] for name in LABELLED] == ["A", "B", "", "", ""]
    told = capsys.readouterr().err
    assert "1 rows of" in told
    assert "not/there.jpg" in told
    assert "2 images in" in told
    assert "1 images have no label: s2/1.jpg" in told


def test_folder_reads_splits_laboratories_and_labels_of_other_tasks_from_a_table(
    tmp_path: Path,
) -> None:
    rows = [(*row, "Val" if row[2] == "x" else "test", "Bern", "") for row in LABELS]
    found = labelled(
        tmp_path, "file;label;stage;split;laboratory;note", rows, labels="A=eosinophil"
    )
    assert {(s.label, s.split, s.laboratory) for s in found} == {
        ("eosinophil", "validation", "Bern"), ("B", "validation", "Bern"),
        ("eosinophil", "test", "Bern"), ("B", "test", "Bern"),
    }  # fmt: skip
    assert all(s.labels.keys() == {"stage", "note"} for s in found)
    assert {s.labels["stage"] for s in found} == {"x", "y"}


@pytest.mark.parametrize(
    ("head", "rows", "sentence"),
    [
        ("file;class", LABELS, "needs the columns file and label"),
        ("file;slide", [row[:2] for row in LABELS], r"is given by --photograph-from .*\.csv"),
        ("file;label;label", LABELS, "each once"),
        ("file;label;slide", [*LABELS, ("s1/1.jpg", "B", "x")],
         "two things of s1/1.jpg: label A, and in line 7 label B"),
        ("file;label;slide", [*LABELS, ("data/s1/1.jpg", "B", "x")],
         "two things of s1/1.jpg: as s1/1.jpg and as data/s1/1.jpg"),
        ("file;label", [("1.jpg", "A"), ("3.jpg", "B")], "none of the 5 images"),
        ("file;label;split", LABELS, "has the split '[xy]'"),
        ("file;label;laboratory", [(a, b, "a/b") for a, b, _ in LABELS], "no slash"),
        ("file;label", [(a, "A") for a, _, _ in LABELS], "one class only"),
        ("file;label;patient;slide", [(*row, "1") for row in LABELS],
         "puts the slide 1 into two patients, x and y.*write them as patient-slide"),
    ],
)  # fmt: skip
def test_folder_refuses_a_table_of_labels_that_cannot_serve(
    head: str, rows: list[Sequence[str]], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=sentence):
        labelled(tmp_path, head, [row[: head.count(";") + 1] for row in rows])


def test_folder_refuses_two_who_say_what_an_image_is_of(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="both say what an image is of"):
        labelled(tmp_path, "file;label;slide", LABELS, photograph_from=r"(\d)")


# --- synthetic -----------------------------------------------------------------------------------


def prepare(root: Path, **settings: int) -> Path:
    assert SYNTHETIC.prepare is not None
    SYNTHETIC.prepare(root, **settings)
    return root


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("synthetic") / "set", photographs=16, views=3, seed=5)


def test_synthetic_is_balanced_and_split_by_photograph(rendered: Path) -> None:
    found = list(SYNTHETIC.samples(rendered))
    assert Counter((s.label, s.split) for s in found) == {
        (label, split): 3 * photographs
        for label in CELL.classes
        for split, photographs in (("train", 3), ("test", 1))
    }
    split_of = defaultdict(set)
    for s in found:
        assert s.path.startswith(f"{s.split}/{s.label}/photograph{s.photograph}_")
        assert (s.part, s.group) == ("augmented", s.photograph)
        split_of[s.photograph].add(s.split)
    assert len(split_of) == 16
    assert all(len(splits) == 1 for splits in split_of.values())
    assert classes(SYNTHETIC, found, NUCLEUS) == {"mononuclear": 24, "polynuclear": 24}
    assert set(CELL.classes) == set(NUCLEUS_OF)


def test_synthetic_defaults_hold_forty_photographs_three_quarters_of_them_train(
    tmp_path: Path,
) -> None:
    found = list(SYNTHETIC.samples(prepare(tmp_path / "set", views=1)))
    assert Counter(s.split for s in found) == {"train": 28, "test": 12}


def test_synthetic_images_show_a_dark_nucleus_in_the_box_and_a_pale_field(rendered: Path) -> None:
    for sample in SYNTHETIC.samples(rendered):
        with Image.open(rendered / sample.path) as image:
            assert (image.size, image.mode, image.format) == ((320, 240), "RGB", "JPEG")
            pixels = np.asarray(image, np.int16)
        left, top, right, bottom = sample.box or (0, 0, 0, 0)
        assert 0 <= left < right <= 320
        assert 0 <= top < bottom <= 240
        chromatin = (pixels[..., 2] - pixels[..., 1] > 60) & (pixels[..., 1] < 120)
        inside = np.zeros_like(chromatin)
        inside[top:bottom, left:right] = True
        assert chromatin[inside].mean() > 0.05
        assert chromatin[inside].sum() > 0.7 * chromatin.sum()
        assert np.median(pixels[pixels.max(axis=-1) > 20]) > 150


def test_synthetic_views_of_a_photograph_differ_and_have_black_corners(rendered: Path) -> None:
    found = [s for s in SYNTHETIC.samples(rendered) if s.photograph == "00000"]
    images = []
    for sample in found:
        with Image.open(rendered / sample.path) as image:
            images.append(np.asarray(image, np.int16))
    assert all(np.mean(image.max(axis=-1) < 20) > 0.01 for image in images)
    assert all(np.abs(images[0] - other).mean() > 5 for other in images[1:])


def test_synthetic_set_is_the_same_for_the_same_seed_alone(rendered: Path, tmp_path: Path) -> None:
    again = snapshot(prepare(tmp_path / "again", photographs=16, views=3, seed=5))
    assert again == snapshot(rendered)
    fewer = snapshot(prepare(tmp_path / "fewer", photographs=8, views=3, seed=5))
    del fewer["samples.csv"]
    assert fewer.items() <= again.items()
    other = snapshot(prepare(tmp_path / "other", photographs=8, views=3, seed=6))
    assert all(other[name] != content for name, content in fewer.items())


def test_synthetic_classes_differ_in_granules_and_in_nucleus(rendered: Path) -> None:
    """Red granules tell an eosinophil, a nucleus that fills its cell a lymphocyte."""
    redness, filled = defaultdict(list), defaultdict(list)
    for sample in SYNTHETIC.samples(rendered):
        with Image.open(rendered / sample.path) as image:
            cell = np.asarray(image.crop(sample.box), np.int16)
        red, green, blue = cell[..., 0], cell[..., 1], cell[..., 2]
        redness[sample.label].append(np.mean(red - blue > 25))
        filled[sample.label].append(np.mean((blue - green > 60) & (green < 120)))
    assert np.mean(redness["eosinophil"]) > 2 * np.mean(redness["neutrophil"])
    assert np.mean(filled["lymphocyte"]) > 1.5 * np.mean(filled["neutrophil"])


def test_synthetic_set_can_be_packed_and_read_as_a_users_folder(
    rendered: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "set.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in snapshot(rendered).items():
            archive.writestr(f"set/{name}", content)
    plain = {(s.path, s.label, s.photograph, s.split, s.box) for s in SYNTHETIC.samples(rendered)}
    zipped = {
        (s.path.removeprefix("set/"), s.label, s.photograph, s.split, s.box)
        for s in SYNTHETIC.samples(packed)
    }
    assert zipped == plain
    as_folder = FOLDER.samples(rendered, photograph_from=r"photograph(\d+)_")
    assert {(s.path, s.label, s.photograph, s.split) for s in as_folder} == {s[:4] for s in plain}


def test_synthetic_replaces_its_own_set_and_nothing_else(tmp_path: Path) -> None:
    root = prepare(tmp_path / "set", photographs=8, views=1, seed=0)
    first = snapshot(root)
    next(root.rglob("*.jpg")).unlink()
    assert snapshot(prepare(root, photographs=8, views=1, seed=0)) == first
    (root / "my notes.txt").write_text("keep me")
    before = snapshot(root)
    with pytest.raises(UsageError, match=r"my notes\.txt.*Nothing was changed"):
        prepare(root, photographs=8, views=1, seed=1)
    assert snapshot(root) == before
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_synthetic_refuses_a_folder_or_a_file_that_is_something_else(tmp_path: Path) -> None:
    photographs = make(tmp_path / "holiday", "train/beach.jpg")
    for root in (photographs, photographs / "train" / "beach.jpg"):
        with pytest.raises(UsageError, match="something else"):
            prepare(root, photographs=8, views=1)
    assert snapshot(photographs) == {"train/beach.jpg": b""}
    empty = tmp_path / "empty"
    empty.mkdir()
    assert len(snapshot(prepare(empty, photographs=8, views=1))) == 9


def test_synthetic_leaves_no_trace_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WbczooError, match="could not be written") as caught:
        prepare(tmp_path / "file" / "set", photographs=8, views=1)
    assert caught.value.exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("wrong", [{"photographs": 7}, {"views": 0}, {"seed": -1}])
def test_synthetic_refuses_numbers_out_of_range(wrong: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        prepare(tmp_path / "set", **wrong)
    assert not (tmp_path / "set").exists()


def test_synthetic_says_how_to_make_one_and_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"wbczoo data prepare .*nowhere --dataset synthetic"):
        SYNTHETIC.samples(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no synthetic set"):
        SYNTHETIC.samples(make(tmp_path / "other", *TWO))
    root = prepare(tmp_path / "set", photographs=8, views=1)
    lost = next(root.rglob("*.jpg"))
    lost.unlink()
    with pytest.raises(WbczooError, match=f"1 files .*{lost.name}"):
        SYNTHETIC.samples(root)
    (root / "samples.csv").write_text("file,label\nx,y\n")
    with pytest.raises(UsageError, match="damaged"):
        SYNTHETIC.samples(root)

"""What the plugin `folder` makes of a user's folders and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from unicodedata import normalize

import pytest
from dataset_files import classes, make, pack

from wbczoo.errors import UsageError, WbczooError
from wbczoo.specs import Sample
from wbczoo.tasks import CELL
from wbczoo_datasets.folder import FOLDER

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

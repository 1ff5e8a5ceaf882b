"""A training of one class is refused, and each class that a role lacks is told and counted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import SMALL_TRAINING, call
from tiny_images import picture

from wbczoo.config import RunConfig, train_config
from wbczoo.data.classes import explain_left_out, settle_tasks
from wbczoo.data.prepared import prepare
from wbczoo.data.samples import Rows, read_rows
from wbczoo.errors import UsageError, WbczooError
from wbczoo.model.compose import compose
from wbczoo.registry import datasets
from wbczoo.specs import Preprocessing
from wbczoo.tasks import CELL, DEFAULT, Task, parse
from wbczoo.training.folds import train_folds

PREPROCESSING = Preprocessing(size=(32, 32))
OFFICIAL = train_config()
CELLS = ("eosinophil", "lymphocyte", "monocyte", "neutrophil")

Folders = Callable[[dict[str, dict[str, int]]], Path]


@pytest.fixture
def folders(smears: Path, tmp_path: Path) -> Folders:
    """Folders of drawn images: part -> class -> number of files."""
    images = sorted((smears / "train").rglob("*.jpg"))

    def make(parts: dict[str, dict[str, int]]) -> Path:
        at = 0
        for part, classes in parts.items():
            for name, count in classes.items():
                (tmp_path / "mine" / part / name).mkdir(parents=True)
                for path in images[at : at + count]:
                    shutil.copy(path, tmp_path / "mine" / part / name)
                at += count
        return tmp_path / "mine"

    return make


def test_a_class_whose_folder_has_another_name_is_no_second_class(folders: Folders) -> None:
    root = folders({"train": {"Healthy": 6, "Ill": 4}, "test": {"Healthy": 2, "Ill": 2}})
    task = Task("health", ("healthy", "sick"))
    with pytest.raises(WbczooError) as refused:
        prepare(OFFICIAL, root, [task], PREPROCESSING, tell=lambda _: None)
    assert "show only healthy of the task health (healthy, sick)" in str(refused.value)
    assert "no class of it: 'Ill' (6)" in str(refused.value)


def test_every_task_and_the_training_role_alone_are_asked(folders: Folders) -> None:
    root = folders(
        {"train": {"eosinophil": 4, "neutrophil": 4}, "test": {"eosinophil": 2, "monocyte": 2}}
    )
    with pytest.raises(WbczooError, match="show only polynuclear of the task nucleus"):
        prepare(OFFICIAL, root, DEFAULT, PREPROCESSING, tell=lambda _: None)
    told: list[str] = []
    prepared = prepare(OFFICIAL, root, [CELL], PREPROCESSING, tell=told.append)
    warnings = [sentence for sentence in told if sentence.startswith("WARNING")]
    assert [sentence.partition(" images")[0] for sentence in warnings] == [
        "WARNING: of lymphocyte, monocyte (task cell) the training",
        "WARNING: of lymphocyte, monocyte (task cell) the validation",
        "WARNING: of lymphocyte, neutrophil (task cell) the test",
    ]
    counts = prepared.describe()["classes"]["cell"]
    assert counts["monocyte"] == {"train": 0, "validation": 0, "test": 2}
    assert [counts[name]["train"] for name in CELLS] == [3, 0, 0, 3]


def test_images_that_are_refused_count_for_no_class(folders: Folders) -> None:
    root = folders({"train": {"eosinophil": 4, "monocyte": 4}, "test": {"eosinophil": 1}})
    for path in (root / "train" / "monocyte").iterdir():
        path.write_bytes(b"no image " + path.name.encode())
    with pytest.raises(WbczooError, match="show only eosinophil"):
        prepare(OFFICIAL, root, [CELL], PREPROCESSING, tell=lambda _: None)


def test_a_fold_without_a_second_class_is_refused_before_any_is_trained(
    folders: Folders, tmp_path: Path
) -> None:
    root = folders({"train": {"eosinophil": 6, "monocyte": 1}})
    config = train_config(
        dataset={"name": "folder", "options": {"each_file_a_photograph": True}},
        protocol="grouped", folds=3, epochs=1,
    )  # fmt: skip
    run = RunConfig(
        model=compose("none", "gru", tasks=[CELL], hidden=4, image_size=(32, 32)), train=config
    )
    with pytest.raises(WbczooError, match=r"images of fold \d show only eosinophil"):
        train_folds(run, root, tmp_path / "run", "all", weights="none", tell=lambda _: None)
    assert not (tmp_path / "run").exists()


def test_a_table_of_labels_without_photographs_says_which_column_it_wants(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["file,label", *(f"{n}.png,{CELLS[n % 2]}" for n in range(12))]
    for number in range(12):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    (table := tmp_path / "labels.csv").write_text("\n".join(lines))
    asked = ["data", "show", tmp_path, "--labels", table, "--task", "own"]
    assert call([*asked, "--protocol", "grouped"]) == 2
    cure = "Give the table of --labels the column photograph, slide or patient, or state"
    assert cure in capsys.readouterr().err
    assert call([*asked, "--protocol", "grouped", "--each-file-a-photograph"]) == 0


def test_what_was_not_learned_and_not_validated_stands_in_summary_table_and_card(
    folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folders({"train": {"eosinophil": 1, "monocyte": 1}, "test": {"eosinophil": 1}})
    run = tmp_path / "run"
    assert call(["train", root, *SMALL_TRAINING, "--task", "cell", "--out", run]) == 0
    told = capsys.readouterr()
    assert "2 of 2, the last; nothing validated" in told.out
    assert "by validation" not in told.out
    assert "WARNING: no image validates" in told.err
    assert "fitting temperatures" not in told.err
    summary = json.loads((run / "summary.json").read_text())
    assert summary["data"]["classes"]["cell"]["neutrophil"]["train"] == 0
    assert call(["export", run, "--out", tmp_path / "export"]) == 0
    card = (tmp_path / "export" / "card.md").read_text()
    assert "| cell | neutrophil | **none: it was never learned** | 0 | 0 |" in card
    assert "| cell | eosinophil | 1 | 0 | 1 |" in card


# --- own classes ---------------------------------------------------------------------------------

TEN = ("Band Neutrophils", "Segmented-Neutrophils", "EOS", "lymphocyte", "Réactive lymphocytes",
       "Monocytes", "Blasts", "Smudge", "Mitosis", "3")  # fmt: skip
NAMES = ("band_neutrophil", "blast", "class_3", "eos", "lymphocyte", "mitosis", "monocyte",
         "reactive_lymphocyte", "segmented_neutrophil", "smudge")  # fmt: skip


def read(root: Path) -> Rows:
    return read_rows(datasets.spec("folder"), root)


def test_own_takes_every_class_and_leaves_no_label_out(folders: Folders) -> None:
    rows = read(folders({"": dict.fromkeys(TEN, 2)}))
    (own,) = settle_tasks(rows, parse(["own"]))
    assert own == Task("own", NAMES)
    assert rows.left_out(own) == {}
    assert rows.files_of(own)["reactive_lymphocyte"] == {"Réactive lymphocytes": 2}
    (renamed,) = settle_tasks(rows, parse(["stage=own"]))
    assert renamed == Task("stage", NAMES)


def test_labels_of_one_name_are_one_class_of_own(folders: Folders) -> None:
    rows = read(folders({"": {"Blasts": 2, "blast": 1, "BLAST": 1, "Mass": 1, "virus": 1}}))
    (own,) = settle_tasks(rows, parse(["own"]))
    assert own.classes == ("blast", "mass", "virus")
    assert rows.files_of(own)["blast"] == {"BLAST": 1, "Blasts": 2, "blast": 1}


def test_a_label_without_latin_letters_wants_a_name(folders: Folders) -> None:
    rows = read(folders({"": {"嗜酸": 2, "eosinophil": 2}}))
    with pytest.raises(UsageError, match=r"嗜酸.*--label 嗜酸=NAME"):
        settle_tasks(rows, parse(["own"]))


def test_a_class_that_no_image_has_is_refused_with_the_nearest(folders: Folders) -> None:
    rows = read(folders({"": {"Band Neutrophils": 2, "Smudge": 2, "monocyte": 1}}))
    with pytest.raises(
        UsageError,
        match=r"'band_neutrofil'.*mean band_neutrophil\? Then type "
        r"--task stage=smudge,band_neutrophil\..*Smudge",
    ):
        settle_tasks(rows, parse(["stage=smudge,band_neutrofil"]))
    assert settle_tasks(rows, [CELL]) == (CELL,)  # a shipped task may know more than there is


def test_a_tenth_without_a_class_of_the_default_tasks_is_no_hindrance(folders: Folders) -> None:
    rows = read(folders({"": {"eosinophil": 9, "neutrophil": 9, "Smudge": 2}}))
    assert explain_left_out(rows, DEFAULT) == ""


def test_where_more_than_a_tenth_has_none_it_is_said_what_to_add(folders: Folders) -> None:
    rows = read(folders({"": {"eosinophil": 4, "Smudge": 4, "neutrofil": 1, "promonocytes": 1}}))
    told = explain_left_out(rows, DEFAULT)
    assert "6 of 10 images" in told
    assert "Smudge (4), neutrofil (1), promonocytes (1). Add --task own" in told
    assert "--task cell --task nucleus" in told
    assert told.endswith("Perhaps neutrofil is neutrophil: --label neutrofil=neutrophil.")


def test_a_training_without_a_task_stops_and_own_trains_all_that_there_is(
    folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, run = folders({"": dict.fromkeys(TEN, 4)}), tmp_path / "run"
    command = ["train", root, *SMALL_TRAINING, "--protocol", "grouped", "--fold", "0",
               "--each-file-a-photograph", "--epochs", "1", "--out", run]  # fmt: skip
    assert call(command) == 2
    assert "24 of 40 images" in capsys.readouterr().err
    assert not run.exists()
    assert call([*command, "--task", "own", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    assert list(data["classes"]["own"]) == list(NAMES)
    assert sum(data[role]["files"] for role in ("train", "validation", "test")) == 40
    assert data["labels"]["own"]["class_3"] == ["3"]
    assert call(["train", root, *command[2:], "--task", "own", "--resume", "--json"]) == 0
    assert call(["build", "--seq", "gru", "--task", "own"]) == 2
    assert "own=CLASS,CLASS" in capsys.readouterr().err

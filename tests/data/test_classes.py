"""A training of one class is refused, and each class that a role lacks is told and counted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import SMALL_TRAINING, call

from wbczoo.config import RunConfig, train_config
from wbczoo.data.prepared import prepare
from wbczoo.errors import WbczooError
from wbczoo.model.compose import compose
from wbczoo.specs import Preprocessing
from wbczoo.tasks import CELL, DEFAULT, Task
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

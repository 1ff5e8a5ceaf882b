"""What training gets is the split's images less the refused ones, each with its own targets."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from wbczoo import images
from wbczoo.config import Part, TrainConfig
from wbczoo.data.plan import digest_of
from wbczoo.data.prepared import prepare
from wbczoo.data.splits import plan_split
from wbczoo.errors import WbczooError
from wbczoo.specs import Preprocessing
from wbczoo.tasks import CELL, DEFAULT, NUCLEUS, Task

CPU = torch.device("cpu")
PREPROCESSING = Preprocessing(size=(48, 64))
CONFIG = TrainConfig(dataset=Part(name="folder", options={"photograph_from": r"photograph(\d+)_"}))


@pytest.fixture
def root(smears: Path, tmp_path: Path) -> Path:
    """The drawn smears as a user's own folders, to be damaged at will."""
    return Path(shutil.copytree(smears, tmp_path / "mine"))


def test_batches_hold_the_roles_images_with_their_targets(root: Path) -> None:
    told: list[str] = []
    prepared = prepare(CONFIG, root, DEFAULT, PREPROCESSING, tell=told.append)
    for role in ("train", "validation"):
        rows = prepared.plan.rows(role)  # type: ignore[arg-type]
        batches = prepared.batches(role, DEFAULT, CPU)  # type: ignore[arg-type]
        assert len(batches) == len(rows) > 0
        got = batches.images(np.arange(len(rows))).numpy()
        targets = batches.targets_at(np.arange(len(rows)))
        for place, row in enumerate(rows):
            sample = prepared.rows.samples[row]
            right = images.pixels(root / sample.path, PREPROCESSING)
            assert np.array_equal(got[place], right.transpose(2, 0, 1))
            assert CELL.classes[int(targets["cell"][place])] == sample.label
            polynuclear = sample.label in ("eosinophil", "neutrophil")
            assert int(targets["nucleus"][place]) == polynuclear
    assert [sentence for sentence in told if "refused" in sentence] == []


def test_the_test_half_is_not_decoded_for_training(root: Path) -> None:
    for path in (root / "test").rglob("*.jpg"):
        path.write_bytes(b"no image " + path.name.encode())
    prepared = prepare(CONFIG, root, DEFAULT, PREPROCESSING, tell=lambda _: None)
    assert prepared.rows.refused == {}
    assert prepared.describe()["test"] == {"photographs": 8, "files": 24, "groups": 8}


def test_a_refused_image_is_told_counted_and_used_by_no_role(root: Path) -> None:
    plain = prepare(CONFIG, root, DEFAULT, PREPROCESSING, tell=lambda _: None)
    bad = plain.rows.samples[plain.plan.train[3]].path
    (root / bad).write_bytes((root / bad).read_bytes()[:3000])
    told: list[str] = []
    prepared = prepare(CONFIG, root, DEFAULT, PREPROCESSING, tell=told.append)
    assert list(prepared.rows.refused) == [bad]
    assert f"refused {bad}: {prepared.rows.refused[bad]}" in told
    files = len(plain.plan.train)
    assert len(prepared.batches("train", DEFAULT, CPU)) == files - 1
    assert bad not in {prepared.rows.samples[row].path for row in prepared.used("train")}
    document = prepared.describe()
    assert document["refused_images"] == 1
    assert document["train"]["files"] == files - 1
    assert document["validation"] == plain.describe()["validation"]


def test_a_refused_image_leaves_the_split_to_be_known_again(root: Path) -> None:
    """An export draws its run's split again from the data, where nothing was decoded yet."""
    bad = next((root / "train").rglob("*.jpg"))
    bad.write_bytes(bad.read_bytes()[:3000])
    prepared = prepare(CONFIG, root, DEFAULT, PREPROCESSING, tell=lambda _: None)
    assert len(prepared.rows.refused) == 1
    drawn = plan_split(prepared.rows, DEFAULT, CONFIG)
    assert prepared.digest == digest_of(prepared.rows, drawn)


def test_a_training_half_that_is_all_refused_is_told(root: Path) -> None:
    for path in (root / "train").rglob("*.jpg"):
        path.write_bytes(b"no image " + path.name.encode())
    with pytest.raises(WbczooError, match="every image to train on was refused"):
        prepare(CONFIG, root, DEFAULT, PREPROCESSING, tell=lambda _: None)


def test_a_description_counts_what_each_task_leaves_out(root: Path) -> None:
    (root / "train" / "monocyte").rename(root / "train" / "artefact")
    tasks = (CELL, NUCLEUS, Task("mine", ("artefact", "eosinophil")))
    prepared = prepare(CONFIG, root, tasks, PREPROCESSING, tell=lambda _: None)
    labels = Counter(sample.label for sample in prepared.rows.samples)
    assert prepared.describe()["left_out"] == {
        "cell": {"artefact": labels["artefact"]},
        "nucleus": {"artefact": labels["artefact"]},
        "mine": {label: labels[label] for label in ("lymphocyte", "monocyte", "neutrophil")},
    }
    targets = prepared.batches("train", tasks, CPU).targets
    assert int((targets["cell"] == -1).sum()) == int((targets["mine"] == 0).sum()) > 0

"""A model that was trained without one class is measured on it: what it is worth to doubt."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import SMALL_TRAINING, Completed, call, made_once
from sklearn.metrics import roc_auc_score

from wbczoo.images import pixels
from wbczoo.metrics.limits import weigh
from wbczoo.runtime import Session

Run = Callable[..., Completed]

TASK = ("--task", "kind=eosinophil,lymphocyte,neutrophil")


@pytest.fixture(scope="module")
def left_out(smears: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that never saw a monocyte, and its export."""

    def make(root: Path) -> None:
        command = ["train", smears, "--dataset", "synthetic", *SMALL_TRAINING, *TASK]
        assert call([*command, "--out", root / "run"]) == 0
        assert call(["export", root / "run", "--out", root / "export"]) == 0

    return made_once(tmp_path_factory, "left-out", make)


def test_unknown_classes_are_measured_of_a_run_and_of_its_export(
    left_out: Path, smears: Path, wbczoo: Run
) -> None:
    command = (smears, "--dataset", "synthetic", "--resamples", "200")
    document = json.loads(wbczoo("evaluate", left_out / "run", *command, "--json").stdout)
    found = document["novelty"]
    assert (found["known_files"], found["unknown_files"]) == (18, 6)
    assert found["labels"] == {"monocyte": 6}
    assert document["files"] == 18  # of figures the task's own alone
    session = Session(left_out / "export", device="cpu")
    paths = sorted((smears / "test").rglob("*.jpg"))
    shown = np.stack([pixels(path, session.preprocessing) for path in paths])
    novelty = session.run(np.ascontiguousarray(shown.transpose(0, 3, 1, 2)))["novelty"]
    unknown = np.array([path.parent.name == "monocyte" for path in paths])
    assert found["auroc"]["value"] == pytest.approx(roc_auc_score(unknown, novelty), abs=1e-3)
    assert found["called_unknown"]["value"] == (novelty[~unknown] > 1).mean()
    assert found["found"]["value"] == (novelty[unknown] > 1).mean()
    again = json.loads(wbczoo("evaluate", left_out / "export", *command, "--json").stdout)
    assert again["novelty"] == found
    told = wbczoo("evaluate", left_out / "run", *command).stdout
    assert "6 files of 2 groups of classes that it has not: monocyte (6)" in told
    assert "AUROC, known against unknown" in told
    assert "The task kind leaves out files by their labels: 6 of monocyte." in told
    assert re.search(r"^files +18$", told, re.MULTILINE)


def test_most_of_the_validation_lies_below_the_limit_in_the_export(
    left_out: Path, smears: Path
) -> None:
    with (left_out / "run" / "split.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["role"] == "validation"]
    wanted = {row["sha256"]: row["group"] for row in rows}
    assert len(wanted) == 9
    session = Session(left_out / "export", device="cpu")
    groups, shown = [], []
    for path in sorted(smears.rglob("*.jpg")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest in wanted:
            groups.append(wanted[digest])
            shown.append(pixels(path, session.preprocessing))
    novelty = session.run(np.ascontiguousarray(np.stack(shown).transpose(0, 3, 1, 2)))["novelty"]
    weights = weigh(groups)
    assert weights[novelty <= 1].sum() >= 0.95 - 1e-9
    assert weights[novelty <= 1e-4].sum() >= 0.5 - 1e-9
    assert novelty.max() >= 1 - 1e-4  # and no more room than need be


def test_a_model_without_novelty_is_measured_as_before(
    model: Path, smears: Path, wbczoo: Run
) -> None:
    command = ("evaluate", model, smears, "--dataset", "synthetic", "--protocol", "external")
    assert "novelty" not in json.loads(wbczoo(*command, "--json").stdout)

"""The road on the real archive and the real weights: what drawn images cannot prove."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Completed

Run = Callable[..., Completed]
pytestmark = pytest.mark.archive


@pytest.fixture(scope="module")
def archive(shared: Path) -> Path:
    return shared / "data" / "blood-cells.zip"


@pytest.fixture(scope="module")
def run_folder(
    wbczoo: Run, shared: Path, archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """mobilenetv2 with ImageNet weights, its head trained for an epoch on 24 photographs."""
    out = tmp_path_factory.mktemp("archive") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WBCZOO_WEIGHTS", str(shared / "weights"))
        done = wbczoo(
            "train", archive, "--dataset", "bccd", "--protocol", "official",
            "--backbone", "mobilenetv2", "--seq", "bilstm_features", "--hidden", "16",
            "--weights", "imagenet", "--epochs", "1", "--lr", "1e-3", "--seed", "0",
            "--limit-photographs", "12", "--image-size", "64", "--out", out, "--json",
        )  # fmt: skip
    data = json.loads(done.stdout)["data"]
    assert data["train"]["photographs"] == 12
    assert data["validation"]["photographs"] == 40  # the limit is of training alone
    assert data["test"] == {"photographs": 71, "files": 2487, "groups": 67}
    assert data["counts"]["training_photographs_in_test_groups"] == 8
    assert sum(data["left_out"]["cell"].values()) == 19
    return out


@pytest.fixture(scope="module")
def exported(wbczoo: Run, run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("archive-export") / "export"
    card = json.loads(wbczoo("export", run_folder, "--out", out, "--json").stdout)
    # The parity gate was held on real photographs, at the three batches.
    assert card["parity"]["source"] == "training images"
    assert card["parity"]["batches"] == [1, 3, 17]
    assert card["parity"]["difference"] <= card["parity"]["bound"]
    return out


def test_weights_come_from_the_named_folder(run_folder: Path) -> None:
    weights = json.loads((run_folder / "config.json").read_text())["model"]["weights"]
    assert weights["source"] == "mobilenetv2.safetensors"
    assert weights["description"] == "torchvision MobileNet_V2 IMAGENET1K_V1"


def test_split_names_every_file_once_and_no_group_twice(run_folder: Path) -> None:
    with (run_folder / "split.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {"sha256", "photograph", "group", "role", "path", "label"} == set(rows[0])
    assert len({row["sha256"] for row in rows}) == len(rows)
    roles: dict[str, set[str]] = {}
    for row in rows:
        roles.setdefault(row["group"], set()).add(row["role"])
    assert all(len(found) == 1 for found in roles.values())


@pytest.mark.parametrize(
    ("part", "counts"),
    [
        ("simple", (69, 71, 65)),
        pytest.param("augmented", (71, 2487, 67), marks=pytest.mark.nightly),
    ],
)
def test_the_official_test_is_scored_with_its_photographs(
    part: str, counts: tuple[int, int, int], wbczoo: Run, exported: Path, archive: Path
) -> None:
    command = ("evaluate", exported, archive, "--dataset", "bccd", "--protocol", "official")
    document = json.loads(wbczoo(*command, "--part", part, "--json").stdout)
    assert document["part"] == part
    assert (document["photographs"], document["files"], document["groups"]) == counts
    accuracy = document["tasks"]["cell"]["accuracy"]
    if part == "augmented":
        assert 0.25 < accuracy["value"] < 0.75  # it learned something of 12 photographs, not all
    assert accuracy["high"] - accuracy["low"] > 0.05  # some 70 photographs, not 2487 files


def test_another_protocol_meets_training_photographs_and_says_how_many(
    wbczoo: Run, run_folder: Path, archive: Path
) -> None:
    failed = wbczoo("evaluate", run_folder, archive, "--dataset", "bccd",
                    "--protocol", "grouped", "--fold", "0", expect=1)  # fmt: skip
    assert "photographs" in failed.stderr


@pytest.mark.nightly  # tests/evaluation/test_evaluate.py scores drawn images so
def test_external_is_scored_over_the_shared_classes_too(
    wbczoo: Run, exported: Path, shared: Path
) -> None:
    command = ("evaluate", exported, shared / "data" / "pbc-sample.zip", "--dataset", "pbc",
               "--protocol", "external", "--resamples", "200", "--json")  # fmt: skip
    document = json.loads(wbczoo(*command).stdout)
    assert document["dataset"] == "pbc"
    assert document["checked_against_training"] is False  # a lone export cannot know
    assert document["tasks"]["cell"]["files"] == 1999
    assert document["left_out"]["cell"] == {
        "basophil": 500, "erythroblast": 500, "ig": 500, "platelet": 500
    }  # fmt: skip
    assert document["tasks"]["cell"]["shared_classes"]["classes"] == [
        "eosinophil", "lymphocyte", "monocyte", "neutrophil"
    ]  # fmt: skip


@pytest.mark.nightly  # other tests read the sample, and train tasks of other classes
def test_cell5_trains_on_the_pbc_sample(wbczoo: Run, shared: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WBCZOO_WEIGHTS", str(shared / "weights"))
        done = wbczoo(
            "train", shared / "data" / "pbc-sample.zip", "--dataset", "pbc", "--task", "cell5",
            "--protocol", "grouped", "--fold", "0", "--limit-photographs", "200",
            "--backbone", "squeezenet1_1", "--image-size", "96", "--epochs", "2", "--lr", "3e-3",
            "--out", tmp_path / "run", "--json",
        )  # fmt: skip
    summary = json.loads(done.stdout)
    assert summary["data"]["left_out"]["cell5"] == {
        "erythroblast": 500, "ig": 500, "platelet": 500
    }  # fmt: skip
    evaluated = wbczoo("evaluate", tmp_path / "run", shared / "data" / "pbc-sample.zip",
                       "--dataset", "pbc", "--json")  # fmt: skip
    document = json.loads(evaluated.stdout)
    assert len(document["tasks"]["cell5"]["classes"]) == 5
    assert document["tasks"]["cell5"]["accuracy"]["low"] > 0.3  # chance is 0.2


def test_predict_reads_the_archive_s_own_photographs(
    wbczoo: Run, exported: Path, archive: Path, tmp_path: Path
) -> None:
    import zipfile

    with zipfile.ZipFile(archive) as opened:
        names = [n for n in opened.namelist() if "/TEST_SIMPLE/" in n and n.endswith(".jpeg")]
        for name in names[::10]:
            (tmp_path / Path(name).name).write_bytes(opened.read(name))
    done = wbczoo("predict", tmp_path, "--model", exported)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(names[::10])
    assert all(set(row["tasks"]) == {"cell", "nucleus"} for row in rows)

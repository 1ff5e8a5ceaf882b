"""Evaluation says the same of a run and of its export, and refuses photographs that were seen."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import SMALL, SMALL_TRAINING, Completed, call
from PIL import Image, ImageOps

from wbczoo.evaluation.figures import table

Run = Callable[..., Completed]


@pytest.fixture(scope="module")
def own_run(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the small run: evaluations are kept in a run's folder, which others export."""
    return Path(shutil.copytree(small_run, tmp_path_factory.mktemp("evaluated") / "run"))


@pytest.fixture(scope="module")
def evaluated(wbczoo: Run, own_run: Path, smears: Path) -> dict:
    done = wbczoo("evaluate", own_run, smears, "--dataset", "synthetic", "--json")
    return json.loads(done.stdout)


def test_every_number_stands_with_protocol_counts_and_interval(evaluated: dict) -> None:
    assert evaluated["format"] == 1
    assert evaluated["protocol"] == "official"
    assert evaluated["unit"] == "photograph"
    assert evaluated["leaky"] is False
    assert evaluated["photographs"] == evaluated["groups"] == 8
    assert evaluated["files"] == 24
    for task, classes in (("cell", 4), ("nucleus", 2)):
        found = evaluated["tasks"][task]
        assert len(found["per_class"]) == classes
        for name in ("accuracy", "balanced_accuracy", "macro_f1", "ece"):
            figure = found[name]
            assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
    assert 0 <= evaluated["contradictions"]["value"] <= 1


def test_a_table_of_sets_has_rows_or_is_not_there(evaluated: dict) -> None:
    assert evaluated["sets"] == {"cell": {}, "nucleus": {}}  # its groups are too few for a promise
    assert "hold the truth" not in table(evaluated)


def test_an_export_without_torch_says_the_same(
    wbczoo: Run, evaluated: dict, small_export: Path, smears: Path
) -> None:
    command = ("evaluate", small_export, smears, "--dataset", "synthetic", "--json")
    again = json.loads(wbczoo(*command).stdout)
    for task, found in evaluated["tasks"].items():
        assert again["tasks"][task]["confusion"] == found["confusion"]
        for name in ("accuracy", "macro_f1", "ece"):
            for side in ("value", "low", "high"):
                mine, theirs = again["tasks"][task][name][side], found[name][side]
                assert mine == pytest.approx(theirs, abs=1e-4)


def test_a_run_keeps_its_evaluation_and_the_card_tells_it(
    wbczoo: Run, evaluated: dict, own_run: Path, tmp_path: Path
) -> None:
    wbczoo("export", own_run, "--out", tmp_path / "export")
    card = json.loads((tmp_path / "export" / "card.json").read_text())
    assert card["evaluations"][0]["tasks"] == evaluated["tasks"]
    accuracy = evaluated["tasks"]["cell"]["accuracy"]["value"]
    text = (tmp_path / "export" / "card.md").read_text()
    assert f"{accuracy:.3f} [" in text
    assert "8 photographs (24 files)" in text


def test_a_protocol_that_tests_what_was_trained_on_fails_with_a_count(
    wbczoo: Run, own_run: Path, smears: Path
) -> None:
    command = ("evaluate", own_run, smears, "--dataset", "synthetic")
    failed = wbczoo(*command, "--protocol", "grouped", "--fold", "0", expect=1)
    assert "was trained or chosen on" in failed.stderr
    assert "photographs" in failed.stderr
    assert failed.stdout == ""


def test_without_its_split_a_run_is_not_measured(
    wbczoo: Run, own_run: Path, smears: Path, tmp_path: Path
) -> None:
    for number, damage in enumerate((None, b"", b"sha256,photograph\n")):
        copy = tmp_path / str(number)
        shutil.copytree(own_run, copy)
        if damage is None:
            (copy / "split.csv").unlink()
        else:
            (copy / "split.csv").write_bytes(damage)
        told = wbczoo("evaluate", copy, smears, "--dataset", "synthetic", expect=1).stderr
        assert "split.csv" in told


def test_external_needs_another_data_set(wbczoo: Run, own_run: Path, smears: Path) -> None:
    command = ("evaluate", own_run, smears, "--dataset", "synthetic", "--protocol", "external")
    assert "was trained or chosen on" in wbczoo(*command, expect=1).stderr
    other = ("evaluate", own_run, smears, "--dataset", "folder")
    assert "--protocol external" in wbczoo(*other, expect=2).stderr


def test_external_is_measured_over_all_trained_classes_and_over_the_shared_ones(
    own_run: Path,
    small_export: Path,
    smears: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    theirs = tmp_path / "theirs"
    for number, path in enumerate(sorted(smears.rglob("*.jpg"))):
        name = path.parent.name
        if name in ("eosinophil", "monocyte", "neutrophil"):
            folder = theirs / (name if name != "neutrophil" else "artefact")
            folder.mkdir(parents=True, exist_ok=True)
            with Image.open(path) as image:  # other pixels, for these were trained on
                ImageOps.mirror(image).save(folder / f"{number}.png")
    options = ["--dataset", "folder", "--protocol", "external", "--json"]
    assert call(["evaluate", small_export, theirs, *options]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["checked_against_training"] is False  # a lone export cannot know
    assert call(["evaluate", own_run, theirs, *options]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["protocol"], document["files"]) == ("external", 36)
    assert (document["photographs"], document["checked_against_training"]) == (None, True)
    assert document["left_out"] == {"cell": {"artefact": 18}, "nucleus": {"artefact": 18}}
    found = document["tasks"]["cell"]
    assert sum(map(sum, found["confusion"])) == 36
    shared = found["shared_classes"]
    assert shared["classes"] == ["eosinophil", "monocyte"]
    # Fewer classes can be mistaken for another, so that no right answer becomes a wrong one.
    assert shared["accuracy"]["value"] >= found["accuracy"]["value"]
    assert sum(map(sum, shared["confusion"])) == 36
    assert document["tasks"]["nucleus"]["shared_classes"]["note"].startswith("all classes")


def test_all_folds_score_each_photograph_once(wbczoo: Run, smears: Path, tmp_path: Path) -> None:
    out = tmp_path / "folds"
    trained = wbczoo(
        "train", smears, "--dataset", "synthetic", "--protocol", "grouped", "--folds", "3",
        *SMALL_TRAINING, "--epochs", "1", "--out", out,
    )  # fmt: skip
    assert "fold 1: training 2 of 3" in trained.stderr
    assert sorted(path.name for path in out.iterdir()) == ["fold-0", "fold-1", "fold-2"]
    command = ("evaluate", out, smears, "--dataset", "synthetic", "--json")
    document = json.loads(wbczoo(*command).stdout)
    assert document["protocol"] == "grouped"
    assert document["fold"] == "all"
    assert document["photographs"] == 24
    assert document["files"] == 72
    assert document["leaky"] is False
    one = json.loads(wbczoo(*command, "--fold", "1").stdout)
    assert one["fold"] == 1
    assert 0 < one["photographs"] < 24
    assert "no fold 7" in wbczoo(*command, "--fold", "7", expect=2).stderr
    shutil.copytree(out / "fold-0", out / "fold-0-backup")
    again = json.loads(wbczoo(*command).stdout)
    assert again["files"] == document["files"]  # a copy is no fold


def test_report_is_leaky_everywhere(wbczoo: Run, smears: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    trained = wbczoo(
        "train", smears, "--dataset", "synthetic", "--protocol", "report",
        *SMALL_TRAINING, "--epochs", "1", "--out", out,
    )  # fmt: skip
    before_training = trained.stderr.partition("epoch 1")[0]
    assert "LEAKY" in before_training
    assert "LEAKY" in trained.stdout
    table = wbczoo("evaluate", out, smears, "--dataset", "synthetic").stdout
    assert "LEAKY" in table
    wbczoo("export", out, "--out", tmp_path / "export")
    assert "LEAKY" in (tmp_path / "export" / "card.md").read_text()


def test_files_of_unknown_photographs_bound_nothing(
    wbczoo: Run, smears: Path, tmp_path: Path
) -> None:
    out = tmp_path / "unknown"
    refused = wbczoo(
        "train", smears, "--protocol", "grouped", *SMALL_TRAINING, "--out", out, expect=2
    )
    assert "--photograph-from" in refused.stderr
    wbczoo("train", smears, *SMALL_TRAINING, "--epochs", "1", "--out", out)
    document = json.loads(wbczoo("evaluate", out, smears, "--json").stdout)
    assert document["photographs"] is None
    assert document["unit"] == "unknown"
    assert document["interval"].startswith("by file; no bound on generalisation")


def test_an_untrained_model_may_be_measured(wbczoo: Run, smears: Path, tmp_path: Path) -> None:
    wbczoo("build", *SMALL, "--out", tmp_path / "untrained")
    command = ("evaluate", tmp_path / "untrained", smears, "--dataset", "synthetic", "--json")
    assert json.loads(wbczoo(*command).stdout)["files"] == 24


def test_a_published_model_is_measured_by_its_name(
    wbczoo: Callable[..., Completed], smears: Path, tmp_path: Path
) -> None:
    asked = ("evaluate", "leukocyte-nano", smears / "test", "--each-file-a-photograph",
             "--protocol", "external", "--resamples", 20, "--json")  # fmt: skip
    found = json.loads(wbczoo(*asked, cwd=tmp_path).stdout)
    assert (found["name"], found["protocol"]) == ("leukocyte-nano", "external")
    assert set(found["tasks"]) == {"cell", "nucleus", "leukocyte"}
    other = ("evaluate", "leukocyte-nano", smears, "--dataset", "synthetic")
    told = wbczoo(*other, expect=2).stderr  # of several, no one name is advised
    assert "To test the model on another: --protocol external" in told
    assert "--data bccd=PATH --data pbc=PATH --data raabin=PATH" in told
    told = wbczoo("evaluate", "leukocyte-huge", smears, expect=2).stderr
    assert "neither a path nor a published model; there is leukocyte-small" in told
    told = wbczoo("evaluate", "leukocyte-nanno", smears, expect=2).stderr
    assert "Did you mean leukocyte-nano?" in told


def test_images_without_class_folders_are_told_what_the_model_was_trained_on(
    wbczoo: Run, small_run: Path, smears: Path, tmp_path: Path
) -> None:
    shutil.copy(next(smears.rglob("*.jpg")), tmp_path / "1.jpg")
    told = wbczoo("evaluate", small_run, tmp_path, expect=2).stderr
    assert "no class folder" in told
    assert "The model was trained on synthetic" in told
    assert "give --dataset synthetic." in told

"""Trials that train on one data set and test on another, and trials of baselines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_study import trial
from tiny_images import picture

from wbczoo.config import Part, train_config
from wbczoo.errors import UsageError
from wbczoo.study.plan.trial import BaselineTrial
from wbczoo.study.run.classical import NativeImages, find_baseline, run_baseline, training_side
from wbczoo.study.run.roles import Library
from wbczoo.study.run.row import answers_of


def baseline(
    name: str, train_part: str | None = None, dataset: str = "bccd", **training: object
) -> BaselineTrial:
    """A baseline's trial, on the real archive unless another data set is named."""
    config = train_config(dataset=Part(name=dataset), **training)
    return BaselineTrial(
        train=config, tasks=("cell", "nucleus"), baseline=name, train_part=train_part
    )


@pytest.mark.archive
def test_external_trains_on_one_data_set_and_tests_on_the_classes_of_another(shared: Path) -> None:
    data = shared / "data"
    paths = {"bccd": data / "blood-cells.zip", "pbc": data / "pbc-sample.zip"}
    library = Library(paths, lambda sentence: None)
    there = library.split(trial("pbc", dataset="bccd", protocol="external"), None)
    assert not there.plan.test
    assert len(there.test) == 1999  # 500 of each of four classes, less one file that is no image
    assert {there.tested.samples[n].label for n in there.test} == {
        "eosinophil", "lymphocyte", "monocyte", "neutrophil",
    }  # fmt: skip
    groups = {there.rows.groups[n] for n in there.plan.train}
    assert not groups & {there.rows.groups[n] for n in there.plan.validation}
    back = library.split(trial("bccd", dataset="pbc", protocol="external"), None)
    assert len(back.test) == 348
    assert {back.tested.samples[n].part for n in back.test} == {"photographs"}


@pytest.mark.archive
def test_a_baseline_is_fitted_on_the_training_side_alone(shared: Path) -> None:
    library = Library({"bccd": shared / "data" / "blood-cells.zip"}, lambda sentence: None)
    one = baseline("majority", train_part="photographs")
    split = library.split(one, None)
    side = training_side(one, split)
    assert {split.rows.samples[n].part for n in side} == {"photographs"}
    assert not {split.rows.groups[n] for n in side} & {split.rows.groups[n] for n in split.test}
    views = training_side(baseline("majority"), split)
    assert {split.rows.samples[n].part for n in views} == {"augmented"}
    photographs = {split.rows.samples[n].photograph for n in views}
    assert {split.rows.samples[n].photograph for n in side} == photographs


@pytest.mark.archive
def test_the_majority_class_answers_every_file_alike(shared: Path) -> None:
    library = Library({"bccd": shared / "data" / "blood-cells.zip"}, lambda sentence: None)
    row = run_baseline(baseline("majority", protocol="grouped", folds=5), library, print)
    assert row["how"] == "baseline"
    assert row["photographs"] == row["files"] == 348
    answers = answers_of(row, "cell")
    right = sum(one.counts[one.truth] for one in answers)
    neutrophils = sum(one.label == "NEUTROPHIL" for one in answers)
    assert right == neutrophils


def write_folders(root: Path) -> Path:
    """Class folders of a laboratory that has two classes of the task, and one that it has not."""
    for name, count in (("Lymphocytes", 3), ("monocyte", 2), ("basophil", 4)):
        (root / name).mkdir(parents=True)
        for number in range(count):
            (root / name / f"{number}.png").write_bytes(picture(100 * len(name) + number))
    return root


def test_external_trains_on_all_of_one_and_tests_the_shared_classes_of_another(
    smears: Path, tmp_path: Path
) -> None:
    paths = {"synthetic": smears, "folder": write_folders(tmp_path / "theirs")}
    library = Library(paths, lambda sentence: None)
    there = library.split(trial("folder", protocol="external"), None)
    assert not there.plan.test
    assert sorted(there.tested.samples[n].label for n in there.test) == (
        ["Lymphocytes"] * 3 + ["monocyte"] * 2
    )
    assert len(there.plan.train) + len(there.plan.validation) == 72
    groups = {there.rows.groups[n] for n in there.plan.train}
    assert not groups & {there.rows.groups[n] for n in there.plan.validation}
    back = library.split(trial("synthetic", dataset="folder", protocol="external"), None)
    assert {back.tested.samples[n].label for n in back.test} == {
        "eosinophil", "lymphocyte", "monocyte", "neutrophil",
    }  # fmt: skip


def test_a_drawn_sets_baseline_is_fitted_on_its_training_side_alone(smears: Path) -> None:
    library = Library({"synthetic": smears}, lambda sentence: None)
    one = baseline("majority", dataset="synthetic")
    split = library.split(one, None)
    side = training_side(one, split)
    assert {split.rows.samples[n].split for n in side} == {"train"}
    assert not {split.rows.groups[n] for n in side} & {split.rows.groups[n] for n in split.test}
    row = run_baseline(one, library, print)
    assert (row["how"], row["files"], row["photographs"]) == ("baseline", 24, 8)
    answers = answers_of(row, "cell")
    assert sum(each.counts[each.truth] for each in answers) == 6  # one class of four


def test_native_images_are_read_in_the_order_asked(smears: Path) -> None:
    library = Library({"synthetic": smears}, lambda sentence: None)
    split = library.split(trial(), None)
    images = NativeImages(split.rows, split.test)
    assert len(images) == len(split.test)
    assert all(np.array_equal(one, images[place]) for place, one in enumerate(images))
    assert np.array_equal(images[1:][0], images[1])
    assert images[0].dtype == np.uint8
    assert images[0].shape[2] == 3


def test_a_baseline_that_is_none_or_has_not_the_option_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match=r"no baseline 'nearst'\. Nearest: nearest"):
        find_baseline(baseline("nearst"))
    strange = baseline("majority").model_copy(update={"baseline_options": {"colour": 3}})
    with pytest.raises(UsageError, match="'colour' is no option of 'majority'; it has none"):
        find_baseline(strange)

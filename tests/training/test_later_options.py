"""What was made before an option was there means what it meant: read, evaluated and resumed."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import call
from tiny_images import picture

import wbczoo_datasets
from wbczoo import registry
from wbczoo.config import Part, RunConfig, TrainConfig
from wbczoo.data.choice import choose_dataset
from wbczoo.data.prepared import read_dataset
from wbczoo.errors import UsageError, WbczooError
from wbczoo.evaluation.evaluate import evaluate
from wbczoo.testing import CheckFailed
from wbczoo.testing.declarations import check_declaration
from wbczoo.training.run import train

# 224 trains and 264 tests, as published; the second groups alone know that both show one cell.
PAIR = ("224", "264")
WHOLE: dict[str, Any] = {
    "sequence": "gru", "hidden": 4, "image_size": 32, "weights": "none", "batch_size": 8,
    "device": "cpu", "precision": "fp32", "dataset": "bccd",
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files named as a few photographs of each class and half, and the pair, of noise."""
    root = tmp_path_factory.mktemp("photographs") / "JPEGImages"
    root.mkdir()
    table = Path(wbczoo_datasets.__file__).with_name("bccd_photographs.csv")
    chosen = defaultdict[tuple[str, str], list[str]](list)
    with table.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            alone = row["groups_2"] == row["photograph"] not in PAIR
            if alone and row["split"] and len(chosen[row["label"], row["split"]]) < 4:
                chosen[row["label"], row["split"]].append(row["photograph"])
    for number in (*PAIR, *(one for found in chosen.values() for one in found)):
        (root / f"BloodImage_{int(number):05}.jpg").write_bytes(picture(int(number)))
    return root.parent


@pytest.fixture(scope="module")
def older(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the older groups; its config is what it was when there were no others."""
    out = tmp_path_factory.mktemp("older") / "run"
    train("none", data, out=out, **WHOLE, epochs=1, dataset_options={"groups": 1})
    return out


def options_of(out: Path) -> Any:
    return json.loads((out / "config.json").read_bytes())["train"]["dataset"]["options"]


def role_of(out: Path, photograph: str) -> str | None:
    with (out / "split.csv").open(newline="", encoding="utf-8") as stream:
        roles = {row["photograph"]: row["role"] for row in csv.DictReader(stream)}
    return roles.get(photograph)


def test_a_config_names_a_later_option_only_where_it_is_not_as_before(
    data: Path, older: Path, tmp_path: Path
) -> None:
    assert options_of(older) == {}
    assert role_of(older, "224") in ("train", "validation")
    train("none", data, out=tmp_path / "run", **WHOLE, epochs=1)
    assert options_of(tmp_path / "run") == {"groups": 2}
    assert role_of(tmp_path / "run", "224") is None
    assert role_of(tmp_path / "run", "264") == "test"


@pytest.mark.parametrize(("options", "together"), [({}, False), ({"groups": 2}, True)])
def test_a_config_without_the_option_means_the_older_groups(
    options: dict[str, int], together: bool, data: Path
) -> None:
    part = Part.model_validate({"name": "bccd", "distribution": "wbczoo", "options": options})
    rows = read_dataset(TrainConfig(dataset=part), data, list)
    groups = {s.photograph: group for s, group in zip(rows.samples, rows.groups, strict=True)}
    assert (groups["224"] == groups["264"]) == together


def test_an_option_that_is_not_given_is_as_a_config_of_the_data_set_has_it() -> None:
    kept = [Part(name="pbc"), Part(name="bccd")]
    assert choose_dataset("bccd").options == choose_dataset("bionet").options == {"groups": 2}
    assert choose_dataset("bionet", {}, [Part(name="bionet")]).options == {}
    assert choose_dataset("bccd", {"groups": "1"}).options == {}
    assert choose_dataset("bccd", {}, kept).options == {}
    assert choose_dataset("bccd", {"groups": 2}, kept).options == {"groups": 2}
    assert choose_dataset("bccd", None, [choose_dataset("bccd")]).options == {"groups": 2}


def test_an_older_run_is_evaluated_by_its_own_groups_unless_others_are_named(
    data: Path, older: Path
) -> None:
    for name in (None, "bccd"):
        found = evaluate(older, data, dataset=name, resamples=10).to_dict()
        assert (found["photographs"], found["checked_against_training"]) == (17, True)
    with pytest.raises(WbczooError, match="trained or chosen on 1 files of 1 photograph"):
        evaluate(older, data, dataset="bccd", dataset_options={"groups": 2})
    assert call(["evaluate", older, data, "--dataset", "bccd", "--resamples", "10"]) == 0
    newer = ["--dataset", "bccd", "--dataset-option", "groups=2"]
    assert call(["evaluate", older, data, *newer]) == 1


def test_an_older_run_is_resumed_by_its_own_groups_and_by_no_others(
    data: Path, older: Path
) -> None:
    split = RunConfig.read(older / "config.json").split_sha256
    with pytest.raises(UsageError, match="--dataset-option groups was not given, is 2"):
        train("none", data, out=older, resume=True, **WHOLE, dataset_options={"groups": 2})
    train("none", data, out=older, **WHOLE, epochs=2, resume=True)
    assert RunConfig.read(older / "config.json").split_sha256 == split
    assert options_of(older) == {}


def test_the_kit_refuses_a_former_value_of_no_option() -> None:
    spec = replace(registry.datasets.spec("bccd"), formerly={"group": 1})
    with pytest.raises(CheckFailed, match="`formerly` names 'group'"):
        check_declaration(spec)

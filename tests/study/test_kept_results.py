"""Results that were kept stay known: a trial's key and settings are those of the day it ran."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from commands import ROOT

from wbczoo.study.plan.plan import read_plan
from wbczoo.study.run.results import RESULTS, read_results

PLAN = ROOT / "docs" / "studies" / "report-2020.toml"

# One of each kind: how it is run, protocol and model, with the key under which it is kept.
KEPT = [
    ("cached heads", "report", "resnet18",
     "3384e2d1b22fad0211e67e9f8b747e0f9672a567fd9ca4b172f1f088e230d4a0"),
    ("cached branch", "official", "resnet18+bilstm",
     "0ffa5e9e758c1fcd7f3d859fe8c6ac7b43150005cff14513c3b4bd3ce45669bb"),
    ("images", "external", "mobilenetv2 of the white-cell",
     "aabe106a1a3d048014648aed48b17a87e5509eb5991cdc969421894bd7a55527"),
    ("cached heads", "external", "mobilenetv2",
     "f1e1e42eeb1261f211420d8ed8a0310a3298f5edfda3e69a2e6b4bd947b3af47"),
    ("baseline", "report", "majority",
     "4e58e98ccb5c7ad3e9a4b5538d51c83b722a1e6338b6aacec1f039a1ed15fca4"),
    ("baseline", "external", "majority",
     "199854c70eaab1472b728ad52126998f43573b44615d91a41fa0b2ad27e6e5de"),
]  # fmt: skip


@pytest.fixture(scope="module")
def kept() -> dict[str, dict[str, Any]]:
    """The shipped study's lines of results, by key."""
    return read_results(PLAN.with_suffix("") / RESULTS)


@pytest.mark.parametrize(("how", "protocol", "model", "key"), KEPT)
def test_a_trial_of_each_kind_keeps_its_key(
    how: str, protocol: str, model: str, key: str, kept: dict[str, dict[str, Any]]
) -> None:
    trial = read_plan(PLAN).trials()[key]
    assert (trial.how, trial.train.protocol, trial.model) == (how, protocol, model)
    assert (kept[key]["how"], kept[key]["model"]) == (how, model)


def test_every_kept_result_is_of_a_planned_trial_with_its_settings(
    kept: dict[str, dict[str, Any]],
) -> None:
    planned = read_plan(PLAN).trials()
    found = kept.keys() & planned.keys()
    assert len(found) >= 297  # one more is of a block that the plan no longer has
    for key in found:
        # Fields that came later: older lines have none of them.
        later = {"image_size": None, "crop": None, "backbone_options": {}, "statistics": None,
                 "hold_out": None}  # fmt: skip
        assert {**later, **kept[key]["settings"]} == planned[key].fields


@pytest.mark.parametrize(("name", "lines"), [("laboratories", 198), ("nucleus-branch", 18)])
def test_the_plans_of_several_laboratories_find_all_that_was_kept(name: str, lines: int) -> None:
    """They state Bio-Net's older groups, which their trials were run with."""
    plan = PLAN.with_name(f"{name}.toml")
    kept = read_results(plan.with_suffix("") / RESULTS)
    assert len(kept) >= lines
    assert kept.keys() <= read_plan(plan).trials().keys()


def test_a_plan_without_the_older_groups_has_trials_of_its_own(
    tmp_path: Path, kept: dict[str, dict[str, Any]]
) -> None:
    text = PLAN.read_text(encoding="utf-8")
    keys = []
    for number, options in enumerate(("", "options = { groups = 2 }")):
        path = tmp_path / f"{number}.toml"
        path.write_text(text.replace("options = { groups = 1 }", options), encoding="utf-8")
        trials = read_plan(path).trials()
        for trial in trials.values():
            newer = {"groups": 2}
            used = (trial.train.dataset, *([trial.test] if trial.test else []))
            assert [part.options for part in used if part.name == "bccd"] == [newer]
            chosen = trial.train_config(None).dataset
            assert chosen.options == (newer if chosen.name == "bccd" else {})
        keys.append(set(trials))
    assert keys[0] == keys[1]
    assert not keys[0] & kept.keys()


def test_trials_of_the_older_groups_are_split_by_them() -> None:
    for trial in read_plan(PLAN).trials().values():
        assert trial.train_config(None).dataset.options == {}

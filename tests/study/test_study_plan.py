"""What a plan's trials are, and how a plan that cannot be is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import ROOT
from small_study import PLAN, trial, write_plan
from tiny_images import picture

from wbczoo.errors import UsageError
from wbczoo.study.plan.plan import locate_data, read_plan
from wbczoo.study.run.roles import Library
from wbczoo.study.run.run import bundle

REPORT = ROOT / "docs" / "studies" / "report-2020.toml"


def test_a_study_is_the_union_of_its_blocks(tmp_path: Path) -> None:
    plan = read_plan(write_plan(tmp_path, tmp_path))
    assert len(plan.trials()) == 2 * 2 * 2 + 1
    again = PLAN + PLAN[PLAN.index("[[blocks]]") :].replace('name = "', 'name = "again-')
    doubled = read_plan(write_plan(tmp_path, tmp_path, again))
    assert len(doubled.blocks) == 4
    assert list(doubled.trials()) == list(plan.trials())


def test_a_key_follows_what_decides_a_result_and_nothing_else() -> None:
    assert trial().key == trial(batch_size=8).key
    changes = ({"batch_size": 9}, {"seed": 1}, {"lr": 2e-2}, {"protocol": "report"},
               {"settings": {"augment": True}}, {"tasks": ("cell",)})  # fmt: skip
    keys = {trial(**change).key for change in changes}
    assert len(keys | {trial().key}) == len(changes) + 1
    # Written down, so that results of other days stay known: a new default must not move it.
    assert trial().key.startswith("18b25f95ad56")


def test_a_table_of_photographs_is_read_where_it_lies_and_no_path_is_written(
    tmp_path: Path,
) -> None:
    for label in ("Eosinophil", "Neutrophil"):
        for number in range(6):
            path = tmp_path / "images" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(ord(label[0]) + 100 * number))
    table = tmp_path / "ph.csv"
    lines = (f"{label}/{n}.png,{label}{n // 2}" for label in ("Eosinophil", "Neutrophil")
             for n in range(6))  # fmt: skip
    table.write_text("\n".join(["file,photograph", *lines]))
    text = PLAN.replace('"synthetic"', '"folder"\noptions = {{ photograph_from = "TABLE" }}')
    text = text.replace("TABLE", str(table)).replace('"official", data', '"grouped", data')
    plan = read_plan(write_plan(tmp_path, tmp_path / "images", text))
    library = Library(locate_data(plan, {}), lambda _: None)
    for one in plan.trials().values():
        assert library.split(one, one.folds[0]).rows.count_photographs(range(12)) == 6
        assert str(tmp_path) not in str(one.fields)


def test_what_means_nothing_to_a_trial_makes_no_second_one(tmp_path: Path) -> None:
    bare = PLAN[PLAN.index("[[blocks]]") :].replace("squeezenet1_1", "none")
    bare = bare.replace('name = "heads"', 'name = "x"\nsequences = ["gru"]\nhidden = 4')
    bare = bare.replace('weights = "none"', 'weights = "imagenet"\ntrainable = ["head", "all"]')
    text = PLAN[: PLAN.index("[[blocks]]")] + bare
    trials = read_plan(write_plan(tmp_path, tmp_path, text)).trials().values()
    assert {(t.fields["trainable"], t.fields["weights"]) for t in trials} == {("head", "none")}


def test_heads_of_one_backbone_and_protocol_are_one_job(tmp_path: Path) -> None:
    jobs = bundle(read_plan(write_plan(tmp_path, tmp_path)).trials().values())
    assert [len(job) for job in jobs] == [4, 4, 1]
    assert [job[0].how for job in jobs] == ["cached heads", "cached heads", "images"]


def test_jobs_may_stand_in_the_order_of_the_plan(tmp_path: Path) -> None:
    trials = [*read_plan(write_plan(tmp_path, tmp_path)).trials().values()]
    jobs = bundle([trials[-1], *trials[:-1]], in_order=True)
    assert [job[0].how for job in jobs] == ["images", "cached heads", "cached heads"]


def test_the_shipped_plan_holds_the_reports_grid() -> None:
    trials = [trial.fields for trial in read_plan(REPORT).trials().values()]
    grid = {
        (t["backbone"], t["sequence"], t["batch_size"], t["lr"])
        for t in trials
        if t["protocol"] == "report"
        and t["trainable"] == "head"
        and t["seed"] == 0
        and t["epochs"] == 10
    }
    for backbone in ("resnet18", "mobilenetv2", "googlenet"):
        for branch in ("none", "bilstm"):
            assert {(backbone, branch, size, 1e-4) for size in (8, 16, 64)} <= grid
            best = {s for b, q, s, lr in grid if (b, q, lr) == (backbone, branch, 1e-3)}
            assert len(best) == 1
            assert {(backbone, branch, *best, lr) for lr in (1e-5, 1e-4, 1e-3)} <= grid
    seeds = {
        (t["protocol"], t["backbone"], t["sequence"], t["seed"])
        for t in trials
        if t["sequence"] in ("none", "bilstm") and t["trainable"] == "head"
    }
    for protocol in ("official", "grouped"):
        for backbone in ("mobilenetv2", "resnet18"):
            for branch in ("none", "bilstm"):
                assert {(protocol, backbone, branch, seed) for seed in range(5)} <= seeds


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("format = 1", "format = 2", "format"),
        ('data = "drawn"', 'data = "lost"', "lost"),
        ('["official", "report"]', '["offical"]', "offical"),
        ("batch_sizes = [8, 16]", "batch_sizes = [0]", "batch_sizes"),
        ("batch_sizes = [8, 16]", "sizes = [8]", "sizes"),
        ('name = "branch"', 'name = "heads"', "name of its own"),
        ('backbones = ["none"]', "", "backbones or baselines"),
        ('backbones = ["none"]', 'backbones = ["none"]\nsettings = {{ lr = 1 }}', "lr"),
        ('backbones = ["none"]', 'backbones = ["none"]\nsettings = {{ stan = 1 }}', "stan"),
        ('backbones = ["none"]', 'backbones = ["none"]\nsettings = {{ stain = 9 }}', "stain"),
        ('report = {{ protocol = "report"', 'report = {{ protocol = "external"', "test"),
        ("epochs = 2", "epochs = = 2", "TOML"),
        ("batch_sizes = [8, 16]", "batch_sizes = []", "batch_sizes"),
        ("epochs = 2", 'epochs = 2\ntasks = ["cel"]', "no task 'cel'"),
        ("epochs = 2", 'epochs = 2\nbar = "nearest"', "baseline of no block"),
        (
            "[protocols]",
            '[data.again]\ndataset = "synthetic"\npath = "x"\n[protocols]',
            "two places",
        ),
        (
            'report = {{ protocol = "report"',
            'report = {{ protocol = "external", test = "drawn"',
            "data set that trained",
        ),
    ],
)
def test_a_plan_that_cannot_be_is_refused_with_the_place(
    before: str, after: str, reason: str, tmp_path: Path
) -> None:
    assert before in PLAN
    with pytest.raises(UsageError, match=reason) as error:
        read_plan(write_plan(tmp_path, tmp_path, PLAN.replace(before, after)))
    assert "small.toml" in str(error.value)

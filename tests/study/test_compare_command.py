"""`compare` and `study new`: a plan is made, run, reported on and drawn, and can be added to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import Completed, call
from made_results import gain, made_row
from PIL import Image
from tiny_images import picture

from wbczoo.study.new import new_plan, plan_of_drawn
from wbczoo.study.plan.grid import Data
from wbczoo.study.plan.plan import read_plan
from wbczoo.study.plan.write import compose_plan, write_toml
from wbczoo.study.report.findings import measure_study
from wbczoo.study.run.results import RESULTS, read_results

Run = Callable[..., Completed]
DATA = {"images": Data(dataset="synthetic", path="smears")}


def quietly(sentence: str) -> None:
    """Nobody reads it."""


def test_a_comparison_is_drawn_and_goes_on_with_one_more(
    smears: Path, tmp_path: Path, wbczoo: Run
) -> None:
    out = tmp_path / "out"
    asked = ["compare", smears, "--dataset", "synthetic", "--protocol", "official", "--seeds", 1,
             "--resamples", 50, "--out", out, "--json", "--baseline", "majority"]  # fmt: skip
    first = json.loads(wbczoo(*asked).stdout)
    (only,) = first["models"]
    accuracy = only["tasks"]["cell"]["accuracy"]
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    assert "8 photographs" in only["test"]
    with Image.open(out / "accuracy.png") as drawn:
        assert drawn.width > 600
    assert (out / "accuracy.svg").is_file()
    before = (out / RESULTS).read_text()
    more = json.loads(wbczoo(*asked, "--baseline", "nearest").stdout)
    assert [one["model"] for one in more["models"]] == ["majority", "nearest"]
    assert {one["kind"] for one in more["comparisons"]} == {"models"}
    assert (out / RESULTS).read_text().startswith(before)
    told = wbczoo("study", "new", *asked[1:4], "--baseline", "nearst", expect=2).stderr
    assert "There is no baseline 'nearst'" in told
    # What was asked for once is not lost by asking for less.
    plan = (out / "plan.toml").read_text()
    assert call(asked) == 2
    assert (out / "plan.toml").read_text() == plan
    assert "nearest" in wbczoo("study", "show", out, "--resamples", 50).stdout
    # As its page says.
    assert "wbczoo study run FOLDER/plan.toml --out runs/compare" in (out / "report.md").read_text()
    again = wbczoo("study", "run", out / "plan.toml", "--out", tmp_path / "again", "--json")
    assert json.loads(again.stdout)["done_now"] == 2


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (["--backbone", "mobilnetv2"], "mobilenetv2"),
        (["--seq", "gru", "--protocol", "laboratory"], "one by the others"),
        ([], "name --backbone or --seq"),
        (["--seq", "gru", "--task", "cell=eosinophil,neutrofil"], "Did you mean neutrophil?"),
    ],
)
def test_what_cannot_be_compared_is_told_before_anything_is_run(
    changed: list[str], reason: str, smears: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "out"
    asked = ["compare", smears, "--dataset", "synthetic", "--weights", "none", "--out", out]
    assert call([*asked, *changed]) == 2
    assert reason in capsys.readouterr().err
    assert not out.exists()


def test_a_written_plan_reads_as_it_was(tmp_path: Path) -> None:
    plans = [
        plan_of_drawn(),
        compose_plan(
            {'it"s': Data(dataset="folder", path='C:\\a "b"', options={"labels": "é=eosinophil"})},
            name="other",
            backbones=("none", "resnet18"),
            sequences=("none", "gru"),
            baselines=("majority",),
            tasks=("own=a,b",),
            part="x",
            stain=0.3,
            lr=1e-5,
            epochs=4,
        ),
    ]
    for plan in plans:
        (path := tmp_path / "plan.toml").write_text(write_toml(plan), encoding="utf-8")
        assert read_plan(path) == plan
    models = {trial.model for trial in plans[1].trials().values()}
    assert models == {"majority", "resnet18", "resnet18+gru", "gru"}
    trained = [trial.train for trial in plans[1].trials().values() if trial.model == "gru"]
    assert {(t.stain, t.lr, t.epochs, t.part) for t in trained} == {(0.3, 1e-5, 4, "x")}
    assert [t.seed for t in trained] == [0, 1, 2]


def test_each_laboratory_is_held_out_in_turn() -> None:
    data = {name: Data(dataset=name, path=name) for name in ("synthetic", "pbc", "raabin")}
    plan = compose_plan(data, name="x", sequences=("gru",), backbones=("none",), seeds=1,
                        protocols=("laboratory",))  # fmt: skip
    assert [trial.train.hold_out for trial in plan.trials().values()] == [*data]


def test_a_random_backbone_that_is_frozen_is_told_before_anything_is_run(smears: Path) -> None:
    told: list[str] = []
    options: dict[str, Any] = {
        "dataset": "synthetic", "protocols": ["official"], "seeds": 1,
        "weights": "none", "tell": told.append,
    }  # fmt: skip
    new_plan(smears, **options, backbones=["none", "squeezenet1_1"], sequences=["gru"])
    assert "squeezenet1_1: the backbone has no weights and is frozen" in told[-1]
    told.clear()
    new_plan(smears, **options, backbones=["squeezenet1_1"], trainable="all")
    assert not any("frozen" in sentence for sentence in told)


def own_data(folder: Path) -> tuple[Path, Path]:
    """Images without class folders, and a table of their labels, of two tasks, and slides."""
    (folder / "images").mkdir(parents=True)
    lines = ["file,label,slide,lobes"]
    for number in range(30):
        (folder / "images" / f"{number}.png").write_bytes(picture(number))
        lines.append(f"{number}.png,{('Blasts', 'Band Cells')[number % 2]},s{number // 2},"
                     f"{('one', 'two', 'many')[number % 3]}")  # fmt: skip
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder / "images", folder / "labels.csv"


def test_own_classes_stand_in_the_plan_and_its_table_goes_with_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, table = own_data(tmp_path / "here")
    options: dict[str, Any] = {
        "dataset_options": {"labels_from": str(table)}, "tasks": ["own", "lobes=own"],
        "backbones": ["none"], "sequences": ["gru"], "seeds": 1, "tell": quietly,
    }  # fmt: skip
    plan, _ = new_plan(images, **options)
    assert plan.tasks == ("own=band_cell,blast", "lobes=many,one,two")
    out = tmp_path / "out"
    out.mkdir()
    (out / "plan.toml").write_text(write_toml(plan), encoding="utf-8")
    (out / table.name).write_bytes(table.read_bytes())
    keys = plan.trials().keys()
    table.rename(table.with_name("gone.csv"))
    assert read_plan(out / "plan.toml").trials().keys() == keys


def test_labels_of_several_tasks_are_kept_for_each(tmp_path: Path, wbczoo: Run) -> None:
    images, table = own_data(tmp_path / "here")
    out = tmp_path / "out"
    asked = ("--labels", table, "--task", "own", "--task", "lobes=own", "--baseline", "majority")
    done = wbczoo("compare", images, *asked, "--seeds", 1, "--resamples", 20, "--out", out)
    assert "grouped: 30 files of 15 slides in 15 groups" in done.stdout
    (row,) = read_results(out / RESULTS).values()
    assert row["tasks"]["lobes"]["class_of"]["Blasts / many"] == "many"
    assert row["tasks"]["own"]["class_of"]["Blasts / many"] == "blast"
    assert (out / table.name).read_bytes() == table.read_bytes()


def test_every_two_models_are_compared_where_the_plan_says_so() -> None:
    plan = compose_plan(DATA, name="x", backbones=("squeezenet1_1", "resnet18", "mobilenetv2"),
                        protocols=("official", "report"), seeds=2)  # fmt: skip
    done = {key: made_row(trial, gain(0.0)) for key, trial in plan.trials().items()}
    pairs = [(one.first.model, one.second.model) for one in
             measure_study(plan, done, resamples=20).comparisons if one.task == "cell"]  # fmt: skip
    assert len(pairs) == 2 * 3
    assert len(set(pairs)) == 3
    alone = plan.model_copy(update={"pairwise": False})
    assert not measure_study(alone, done, resamples=20).comparisons


def test_a_study_without_data_is_one_to_begin_with(tmp_path: Path, wbczoo: Run) -> None:
    (path := tmp_path / "plan.toml").write_text(wbczoo("study", "new").stdout, encoding="utf-8")
    assert read_plan(path) == plan_of_drawn()


def test_a_plan_whose_classes_nobody_knows_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = write_toml(plan_of_drawn()).replace('["cell", "nucleus"]', '["own"]')
    (path := tmp_path / "plan.toml").write_text(text, encoding="utf-8")
    assert call(["study", "show", path]) == 2
    assert "study new DATA --task own" in capsys.readouterr().err

"""Several laboratories train together; one that is held out is met nowhere, and tests."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from commands import Completed
from PIL import Image

import wbczoo as zoo
from wbczoo.config import TrainConfig, train_config
from wbczoo.data.choice import choose_data
from wbczoo.data.plan import Role
from wbczoo.data.prepared import read_dataset
from wbczoo.data.samples import Rows, join, read_rows
from wbczoo.data.splits import plan_split
from wbczoo.errors import UsageError, WbczooError
from wbczoo.registry import datasets
from wbczoo.tasks import CELL, DEFAULT, LEUKOCYTE
from wbczoo_datasets.synthetic import SYNTHETIC

LAMPS = {"north": (1.0, 1.0, 1.0), "south": (0.8, 0.9, 1.2), "west": (1.2, 1.0, 0.8)}
ROLES: tuple[Role, ...] = ("train", "validation", "test")


def quiet(_: str) -> None: ...


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three drawn sets of 16 photographs, which number them alike, each under a lamp of its own.

    A file of the south is in the west, too.
    """
    root = tmp_path_factory.mktemp("laboratories")
    assert SYNTHETIC.prepare is not None
    for seed, (name, lamp) in enumerate(LAMPS.items()):
        SYNTHETIC.prepare(root / name, photographs=16, views=1, seed=seed)
        for path in (root / name).rglob("*.jpg"):
            with Image.open(path) as image:
                lit = (np.asarray(image) * np.array(lamp)).clip(0, 255).astype(np.uint8)
            Image.fromarray(lit).resize((64, 48)).save(path)
    twin = sorted((root / "south").rglob("*.jpg"))[0].relative_to(root / "south")
    shutil.copyfile(root / "south" / twin, root / "west" / twin)
    return {f"synthetic@{name}": root / name for name in LAMPS}


@pytest.fixture(scope="module")
def rows(places: Mapping[str, Path]) -> Rows:
    parts, where = choose_data(places)
    return read_dataset(train_config(**parts), where, quiet)


def planned(rows: Rows, **settings: object) -> tuple[TrainConfig, dict[Role, set[int]]]:
    parts, _ = choose_data({f"synthetic@{name}": name for name in LAMPS})
    config = train_config(**parts, **settings)
    plan = plan_split(rows, DEFAULT, config)
    return config, {role: set(plan.rows(role)) for role in ROLES}


def test_equal_names_stay_apart_and_equal_bytes_together(rows: Rows) -> None:
    assert rows.dataset == "north+south+west"
    assert set(rows.laboratories) == set(LAMPS)
    assert rows.count_photographs(range(len(rows))) == 48
    assert len(set(rows.groups)) == 47
    twins = [row for row in range(len(rows)) if rows.hashes.count(rows.hashes[row]) > 1]
    assert {rows.laboratories[row] for row in twins} == {"south", "west"}
    assert len({rows.groups[row] for row in twins}) == 1


def test_a_row_is_read_from_its_own_data(rows: Rows, places: Mapping[str, Path]) -> None:
    path = rows.samples[-1].path
    assert path.startswith("west/")
    assert rows.source.read(path) == (places["synthetic@west"] / path[5:]).read_bytes()


def test_a_laboratory_held_out_is_met_nowhere_else(rows: Rows) -> None:
    _, role = planned(rows, protocol="laboratory", hold_out="south")
    theirs = {digest for digest, lab in zip(rows.hashes, rows.laboratories, strict=True)
              if lab == "south"}  # fmt: skip
    seen = {rows.hashes[row] for row in role["train"] | role["validation"]}
    assert not seen & theirs
    assert {rows.hashes[row] for row in role["test"]} == theirs
    # The west's copy of a file of theirs does nothing.
    assert len(role["train"] | role["validation"]) == 31


def test_each_laboratory_validates_with_each_label(rows: Rows) -> None:
    _, role = planned(rows, protocol="laboratory", hold_out="north")
    labels = {(rows.laboratories[row], rows.samples[row].label) for row in role["validation"]}
    assert labels == {(lab, name) for lab in ("south", "west") for name in CELL.classes}


def test_grouped_has_each_laboratory_in_each_fold(rows: Rows) -> None:
    for fold in range(2):
        _, role = planned(rows, protocol="grouped", fold=fold, folds=2)
        assert {rows.laboratories[row] for row in role["test"]} == set(LAMPS)
        assert not {rows.groups[row] for row in role["test"]} & {
            rows.groups[row] for row in role["train"] | role["validation"]
        }


@pytest.mark.parametrize("out", [None, "east"])
def test_a_laboratory_that_is_not_here_cannot_be_held_out(rows: Rows, out: str | None) -> None:
    with pytest.raises(UsageError, match="north, south, west are here"):
        planned(rows, protocol="laboratory", hold_out=out)


def test_classes_join_by_name_with_each_sets_own_labels(shared: Path) -> None:
    several = {
        name: read_rows(datasets.spec(name), shared / "data" / f"{archive}-sample.zip")
        for name, archive in (("bionet", "bionet"), ("lmu_aml", "lmu-aml"))
    }
    rows = join(several)
    targets = rows.targets([CELL, LEUKOCYTE])
    names = {
        name: {
            LEUKOCYTE.classes[target]
            for target, lab in zip(targets["leukocyte"], rows.laboratories, strict=True)
            if lab == name and target >= 0
        }
        for name in several
    }
    assert names["bionet"] == set(CELL.classes)
    assert names["lmu_aml"] > {*CELL.classes, "blast", "not_a_cell"}
    blasts = targets["leukocyte"] == LEUKOCYTE.classes.index("blast")
    assert (targets["cell"][blasts] == -1).all()


def test_the_config_of_one_data_set_says_nothing_of_several() -> None:
    one = json.loads(TrainConfig().model_dump_json())
    assert "dataset" in one
    assert not {"datasets", "hold_out", "draw"} & set(one)
    several = train_config(**choose_data({"pbc": "b", "bccd": "a"})[0])
    document = json.loads(several.model_dump_json())
    assert list(document["datasets"]) == ["bccd", "pbc"]
    assert "dataset" not in document
    assert TrainConfig.model_validate(document) == several
    assert several.draws_evenly
    assert not TrainConfig().draws_evenly


def test_a_name_stands_for_one_place() -> None:
    with pytest.raises(UsageError, match="each stands once"):
        choose_data({"pbc": "a", "bccd@pbc": "b"})
    with pytest.raises(UsageError, match="leave out --dataset"):
        choose_data({"pbc": "a"}, "bccd")


@pytest.fixture(scope="module")
def trained(places: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One training for each laboratory held out."""
    out = tmp_path_factory.mktemp("trained") / "run"
    zoo.train(
        "squeezenet1_1", places, out=out, weights="none", image_size=64, epochs=1, batch_size=8,
        protocol="laboratory", hold_out="all", device="cpu", augment=True, tell=quiet,
    )  # fmt: skip
    return out


def test_each_run_says_whom_it_has_not_met(trained: Path) -> None:
    for name in LAMPS:
        folder = trained / f"laboratory-{name}"
        summary = json.loads((folder / "summary.json").read_text())["data"]
        assert summary["held_out"] == name
        assert summary["laboratories"][name]["train"]["files"] == 0
        with (folder / "split.csv").open(newline="") as stream:
            roles = {(row["group"].split("/")[0], row["role"]) for row in csv.DictReader(stream)}
        assert {role for lab, role in roles if lab == name} <= {"test"}


def test_evaluate_has_a_table_of_laboratories(trained: Path, places: Mapping[str, Path]) -> None:
    found = zoo.evaluate(trained, places, resamples=50, device="cpu", tell=quiet)
    document = found.to_dict()
    assert set(document["laboratories"]) == set(LAMPS)
    over = document["over_laboratories"]["cell"]["macro_f1"]
    each = {
        name: own["tasks"]["cell"]["macro_f1"]["value"]
        for name, own in document["laboratories"].items()
    }
    assert over["worst"]["value"] == min(each.values()) == each[over["worst_of"]]
    assert over["mean"]["value"] == pytest.approx(sum(each.values()) / 3)
    assert over["worst"]["low"] <= over["worst"]["value"] <= over["worst"]["high"]
    for word in (*LAMPS, "mean", "worst"):
        assert word in found.table()


def test_a_laboratory_that_taught_is_refused(trained: Path, places: Mapping[str, Path]) -> None:
    run, south = trained / "laboratory-north", places["synthetic@south"]
    with pytest.raises(UsageError, match="learned from south, west"):
        zoo.evaluate(run, {"synthetic@south": south}, tell=quiet)
    # Under another name its files are known by their bytes.
    with pytest.raises(WbczooError, match="trained or chosen on"):
        zoo.evaluate(run, {"synthetic@east": south}, tell=quiet)
    with pytest.raises(WbczooError, match="trained or chosen on"):
        zoo.evaluate(run, south, dataset="synthetic", protocol="external", tell=quiet)


def test_the_command_line_names_data_by_repeated_options(
    wbczoo: Callable[..., Completed], trained: Path, places: Mapping[str, Path]
) -> None:
    run = str(trained / "laboratory-west")
    done = wbczoo("evaluate", run, "--data", f"synthetic@west={places['synthetic@west']}",
                  "--resamples", "20", "--json", "--device", "cpu")  # fmt: skip
    assert list(json.loads(done.stdout)["laboratories"]) == ["west"]
    for wrong in (
        (run,),
        (run, "x", "--data", "synthetic=x"),
        (run, "--data", "synthetic"),
        (run, "--data", "synthetic=x", "--dataset", "pbc"),
    ):
        wbczoo("evaluate", *wrong, expect=2)


def test_a_table_labels_the_one_set_of_several_that_takes_it(
    places: Mapping[str, Path], tmp_path: Path
) -> None:
    images = sorted(places["synthetic@north"].rglob("*.jpg"))[:4]
    (tmp_path / "images").mkdir()
    lines = ["file,label,slide"]
    for number, path in enumerate(images):
        shutil.copy(path, tmp_path / "images" / f"{number}.jpg")
        lines.append(f"{number}.jpg,{('EOS', 'LYMPHOCYTE')[number % 2]},s{number}")
    (table := tmp_path / "labels.csv").write_text("\n".join(lines))
    south = {"synthetic": places["synthetic@south"]}
    options = {"labels_from": str(table)}
    parts, where = choose_data({"folder@ours": tmp_path / "images", **south}, options=options)
    config = train_config(**parts)
    both = read_dataset(config, where, quiet)
    ours = [n for n, lab in enumerate(both.laboratories) if lab == "ours"]
    assert [both.samples[n].label for n in ours] == ["EOS", "LYMPHOCYTE"] * 2
    assert len({both.groups[n] for n in ours}) == 4
    assert str(tmp_path) not in config.model_dump_json()
    two = {"folder@a": tmp_path, "folder@b": tmp_path}
    with pytest.raises(UsageError, match="None of synthetic takes labels_from"):
        choose_data(south, options=options)
    with pytest.raises(UsageError, match="A table of labels belongs to one data set"):
        choose_data(two, options=options)
    parts, _ = choose_data({**two, **south}, options={"each_file_a_photograph": True})
    for name in ("a", "b"):
        assert parts["datasets"][name].options["each_file_a_photograph"] is True

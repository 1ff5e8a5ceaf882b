"""A study holds laboratories out in turn, and says what helps in one that was never seen."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_results import made_row
from small_study import write_plan

from wbczoo.errors import UsageError
from wbczoo.model.build import create_model
from wbczoo.study.plan.plan import read_plan
from wbczoo.study.report.report import write_report
from wbczoo.study.run.results import RESULTS, append_results, read_results
from wbczoo.study.run.run import run_study
from wbczoo.training import statistics
from wbczoo.training.statistics import restate
from wbczoo_datasets.synthetic import SYNTHETIC

PLAN = """
format = 1
name = "small"
epochs = 1

[data.north]
dataset = "synthetic"
path = "{smears}/north"

[data.south]
dataset = "folder"
path = "{smears}/south"
options = {{ each_file_a_photograph = true }}

[protocols]
north = {{ protocol = "laboratory", data = ["north", "south"], hold_out = "north" }}
south = {{ protocol = "laboratory", data = ["north", "south"], hold_out = "south" }}

[[blocks]]
name = "first"
backbones = ["mobilenetv3_small"]
weights = "none"
image_size = 32
trainable = ["all"]
batch_sizes = [8]
learning_rates = [1e-2]
protocols = ["north", "south"]

[[blocks]]
name = "tested"
backbones = ["mobilenetv3_small"]
weights = "none"
image_size = 32
trainable = ["all"]
batch_sizes = [8]
learning_rates = [1e-2]
statistics = "tested"
protocols = ["north", "south"]
"""


@pytest.fixture(scope="module")
def smears(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("smears")
    assert SYNTHETIC.prepare is not None
    for seed, name in enumerate(("north", "drawn")):
        SYNTHETIC.prepare(root / name, photographs=24, views=1, seed=seed)
    for path in (root / "drawn").rglob("*.jpg"):
        target = root / "south" / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return root


def test_each_laboratory_tests_once_what_the_others_taught(smears: Path, tmp_path: Path) -> None:
    path = write_plan(tmp_path, smears, PLAN)
    report = run_study(path, tmp_path / "out", {}, device="cpu", tell=lambda _: None)
    assert (report.done, report.refused) == (4, {})
    rows = read_results(tmp_path / "out" / RESULTS)
    for trial in read_plan(path).trials().values():
        row, held = rows[trial.key], trial.train.hold_out
        assert {line[0].split("/")[0] for line in row["answers"]} == {held}
        assert row["data"][0]["train"]["files"] + row["data"][0]["validation"]["files"] == 24
    answers = [[line[3:] for line in row["answers"]] for row in rows.values()]
    assert answers[0] != answers[2]  # of the same training, by the statistics of either side
    written = write_report(tmp_path / "out", resamples=50, tell=lambda _: None)
    text = Path(written["markdown"]).read_text()
    assert "Laboratories that nothing was learned from" in text
    assert "statistics tested" in text


def test_laboratories_count_alike_whatever_their_cells(tmp_path: Path) -> None:
    path = write_plan(tmp_path, tmp_path, PLAN)
    trials = list(read_plan(path).trials().values())
    # North has 4 photographs, all right; south 40, all wrong: half of all laboratories.
    few, many = ([f"{name}/{n}" for n in range(c)] for name, c in (("north", 4), ("south", 40)))
    rows = [
        made_row(one, lambda _, easy, right=right: np.full(len(easy), right), photographs=names)
        for one, (names, right) in zip(trials, [(few, 1.0), (many, 0.0)] * 2, strict=True)
    ]
    append_results(tmp_path / "small" / RESULTS, rows)
    written = write_report(path, resamples=50, tell=lambda _: None)
    lines = Path(written["markdown"]).read_text().splitlines()
    tables = [line for line in lines if line.startswith("|")]
    found = next(line for line in tables if "lr 1e-2, 32 pixels" in line and "1 epochs" in line)
    assert "the highest mean of macro-F1 in the task cell is 0.500" in "".join(lines)
    cells = [cell.split("[")[0].strip() for cell in found.strip("|").split("|")]
    assert cells[1:5] == ["1.0000", "0.0000", "0.5000", "0.0000"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ('hold_out = "north"', "has a `hold_out` among its data"),
        ('["north", "south"]', "has several data sets"),
    ],
)
def test_a_plan_holds_out_one_of_several(tmp_path: Path, change: str, says: str) -> None:
    other = {'hold_out = "north"': 'hold_out = "east"', '["north", "south"]': '["north"]'}[change]
    text = PLAN.replace(change, other)
    with pytest.raises(UsageError, match=says):
        read_plan(write_plan(tmp_path, tmp_path, text))


def test_statistics_become_those_of_the_images(tmp_path: Path) -> None:
    model = create_model("mobilenetv3_small", image_size=32).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8)
    rows = np.arange(4, 12)
    restate(model, pixels, rows, torch.device("cpu"))
    shown = torch.from_numpy(pixels[rows]).permute(0, 3, 1, 2).float() / 255
    backbone: Any = model.backbone
    maps = backbone.conv_stem((shown - model.mean) / model.std)
    assert torch.allclose(backbone.bn1.running_mean, maps.mean((0, 2, 3)), atol=1e-5)
    assert not any(module.training for module in model.modules())


def test_where_one_class_prevails_each_that_is_answered_counts_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = create_model("mobilenetv3_small", image_size=32, tasks=["cell"]).eval()
    noise = np.random.default_rng(0).integers(0, 40, (44, 32, 32, 3), np.uint8)
    noise[40:] += 200  # 40 dark images and 4 bright ones
    shown = torch.from_numpy(noise).permute(0, 3, 1, 2)
    backbone: Any = model.backbone
    with torch.no_grad():  # a head that tells them apart
        dark, bright = (model.fuse(shown[at]).mean(0) for at in (slice(40), slice(40, 44)))
        head: Any = model.heads["cell_head"]
        head.weight.zero_()
        head.weight[1], head.bias[:] = bright - dark, torch.tensor([0.0, 0, -9, -9])
        head.bias[1] = -((bright - dark) @ (bright + dark) / 2)
        stem = [
            backbone.conv_stem((shown[at].float() / 255 - model.mean) / model.std).mean((0, 2, 3))
            for at in (slice(40), slice(40, 44))
        ]
    monkeypatch.setattr(statistics, "_ROUNDS", 1)  # other statistics, other answers
    statistics.restate_evenly(model, noise, np.arange(44), torch.device("cpu"))
    assert torch.allclose(backbone.bn1.running_mean, (stem[0] + stem[1]) / 2, atol=2e-3)


def test_group_norms_take_the_weights_of_batch_norms_and_see_one_image_at_a_time() -> None:
    batch = create_model("mobilenetv3_small", image_size=32, seed=1)
    group = create_model(
        "mobilenetv3_small", image_size=32, seed=1, backbone_options={"norm": "group"}
    )
    group.load_state_dict(batch.state_dict())
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    alone = group.train()(images[:1])["cell"]
    together = group.eval()(images)["cell"][:1]
    assert torch.allclose(alone, together, atol=1e-5)
    assert not torch.allclose(batch.train()(images)["cell"][:1], together, atol=1e-3)
    with pytest.raises(UsageError, match="batch or group"):
        create_model("mobilenetv2", backbone_options={"norm": "layer"})

"""Several runs answer as one model: what it answers, what its card says, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Completed

from wbczoo.data.plan import read_split
from wbczoo.runtime import Session, verify
from wbczoo.training import checkpoint

Run = Callable[..., Completed]


@pytest.fixture(scope="module")
def pair(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two runs of one split that differ in weights, temperatures and limits."""
    folder = tmp_path_factory.mktemp("pair")
    for name in ("a", "b"):
        shutil.copytree(small_run, folder / name)
        for left in (folder / name).glob("evaluation*.json"):
            left.unlink()
    _, model = checkpoint.load_model(folder / "b")
    torch.manual_seed(0)
    with torch.no_grad():
        for name, values in model.named_parameters():
            if name.startswith("heads.") and name.endswith("weight"):
                values.add_(torch.randn_like(values), alpha=0.5)
    model.temperatures.copy_(torch.tensor([3.0, 0.5])[: len(model.temperatures)])
    checkpoint.save_model(folder / "b", model, epoch=1)
    summary = json.loads((folder / "b" / "summary.json").read_text())
    summary["limits"]["unsure_below"]["cell"] = 0.9
    (folder / "b" / "summary.json").write_text(json.dumps(summary))
    return folder


def unsure_below(run: Path) -> float:
    return float(json.loads((run / "summary.json").read_text())["limits"]["unsure_below"]["cell"])


@pytest.fixture(scope="module")
def exported(pair: Path, smears: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from commands import call

    data = (smears, "--dataset", "synthetic", "--resamples", 50)
    assert call(["evaluate", pair, *data, "--ensemble"]) == 0
    out = tmp_path_factory.mktemp("ensemble") / "export"
    assert call(["export", pair, "--ensemble", "--out", out]) == 0
    return out


def test_it_answers_with_the_mean_of_calibrated_probabilities(pair: Path, exported: Path) -> None:
    session = Session(exported, device="cpu")
    height, width = session.preprocessing.size
    images = np.random.default_rng(0).integers(0, 256, (5, 3, height, width), np.uint8)
    found = session.run(images)
    with torch.inference_mode():
        answers = [
            checkpoint.load_model(pair / name)[1].outputs(torch.from_numpy(images))
            for name in ("a", "b")
        ]
    for task in session.tasks:
        one, two = (each[f"{task.name}_probabilities"].numpy() for each in answers)
        assert np.abs(one - two).max() > 0.05  # else a mean could not be told from a member
        assert found[f"{task.name}_probabilities"] == pytest.approx((one + two) / 2, abs=1e-5)
        logits = found[f"{task.name}_logits"]
        again = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        assert again == pytest.approx(found[f"{task.name}_probabilities"], abs=1e-5)
    mean = np.mean([each["novelty"].numpy() for each in answers], 0)
    assert found["novelty"] == pytest.approx(mean, rel=1e-4, abs=1e-4)
    assert verify(exported).ok


def test_its_card_names_the_members_and_what_was_measured_of_them_together(
    pair: Path, exported: Path, smears: Path, wbczoo: Run
) -> None:
    card = json.loads((exported / "card.json").read_text())
    name = json.loads((pair / "a" / "summary.json").read_text())["name"]
    assert card["name"] == f"2 x {name}" == Session(exported, device="cpu").file.name
    assert len({member["weights_sha256"] for member in card["members"]}) == 2
    both = (unsure_below(pair / "a"), unsure_below(pair / "b"))
    assert card["limits"]["unsure_below"]["cell"] == pytest.approx(sum(both) / 2)
    (measured,) = card["evaluations"]
    assert measured["name"] == card["name"]
    told = wbczoo("evaluate", exported, smears, "--dataset", "synthetic", "--resamples", 50,
                  "--json")  # fmt: skip
    again = json.loads(told.stdout)
    assert again["name"] == card["name"]
    for task, figures in measured["tasks"].items():
        assert again["tasks"][task]["accuracy"] == figures["accuracy"]
        assert again["tasks"][task]["ece"]["value"] == pytest.approx(figures["ece"]["value"])
    page = (exported / "card.md").read_text()
    assert all(member["weights_sha256"] in page for member in card["members"])
    assert "the mean of its members'" in page


def test_what_lies_within_one_network_is_not_asked_of_several(
    exported: Path, smears: Path, tmp_path: Path, wbczoo: Run
) -> None:
    image = next(smears.rglob("*.jpg"))
    out = tmp_path / "features.npz"
    told = wbczoo("features", exported, image, "--layer", "fused", "--out", out, expect=2)
    assert "is an ensemble, whose members have features each of their own" in told.stderr
    told = wbczoo("predict", image, "--model", exported, "--maps", tmp_path / "maps", expect=2)
    assert "is an ensemble, whose members have maps" in told.stderr
    assert not out.exists()


def test_what_does_not_fit_together_is_refused(pair: Path, tmp_path: Path, wbczoo: Run) -> None:
    lone = tmp_path / "lone"
    shutil.copytree(pair / "a", lone / "a")
    out = tmp_path / "out"
    assert "holds 1 run," in wbczoo("export", lone, "--ensemble", "--out", out, expect=2).stderr
    assert "holds no runs" in wbczoo("export", lone / "a", "--ensemble", "--out", out,
                                     expect=2).stderr  # fmt: skip
    both = wbczoo("export", pair, "--ensemble", "--fold", 0, "--out", out, expect=2)
    assert "leave out --fold" in both.stderr
    wbczoo("build", "--seq", "bilstm", "--image-size", 48, "--out", lone / "b")
    unlike = wbczoo("export", lone, "--ensemble", "--out", out, expect=2)
    assert "the preprocessing of member 2 (bilstm) differs" in unlike.stderr
    assert not out.exists()


def test_what_one_member_has_seen_the_ensemble_has_seen(
    pair: Path, smears: Path, tmp_path: Path, wbczoo: Run
) -> None:
    folder = tmp_path / "pair"
    shutil.copytree(pair, folder)
    split = folder / "b" / "split.csv"
    rows, digest = read_split(split)
    next(row for row in rows if row["role"] == "test")["role"] = "train"
    with split.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    config = folder / "b" / "config.json"
    config.write_text(config.read_text().replace(digest, read_split(split)[1]))
    refused = wbczoo("evaluate", folder, smears, "--dataset", "synthetic", "--ensemble", expect=1)
    assert "was trained or chosen on" in refused.stderr

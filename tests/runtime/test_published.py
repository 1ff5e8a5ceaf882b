"""The published models: whole, small, measured on photographs they never saw, and they answer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import Completed

from wbczoo.errors import UsageError
from wbczoo.runtime import Session, verify
from wbczoo.runtime.published import find_published, published

MODELS = published()


@pytest.mark.parametrize("name", MODELS.names)
def test_a_published_model_is_whole_and_small(name: str) -> None:
    folder = find_published(name)
    assert sorted(path.name for path in folder.iterdir()) == [
        "card.json", "card.md", "example.npz", "model.onnx",
    ]  # fmt: skip
    assert (folder / "model.onnx").stat().st_size <= 12_000_000
    assert verify(folder).ok
    assert MODELS.good_for[name]


@pytest.mark.parametrize("name", MODELS.names)
def test_its_card_gives_each_figure_with_photographs_and_interval(name: str) -> None:
    card = json.loads((find_published(name) / "card.json").read_text())
    assert not any(each["leaky"] for each in card["evaluations"])
    found = next(each for each in card["evaluations"] if each["protocol"] == "official")
    assert found["photographs"] == 71 or found["part"] == "simple"
    for task in ("cell", "nucleus"):
        accuracy = found["tasks"][task]["accuracy"]
        # The report's model is published for comparison, with the figures that it has.
        least = 0.25 if name == "report-2020" else 0.5
        assert least < accuracy["low"] < accuracy["value"] < accuracy["high"] <= 1


def test_where_nobody_names_a_model_the_published_one_answers(
    wbczoo: Callable[..., Completed], smears: Path, tmp_path: Path
) -> None:
    image = next((smears / "test").rglob("*.jpg"))
    plain = wbczoo("predict", image, "--device", "cpu", cwd=tmp_path)
    good_for = MODELS.good_for[MODELS.names[0]]
    assert f"published model {MODELS.names[0]}, for {good_for}" in plain.stderr
    named = wbczoo("predict", image, "--model", MODELS.names[0], "--device", "cpu", cwd=tmp_path)
    assert named.stdout == plain.stdout
    answer = json.loads(plain.stdout)
    session = Session(MODELS.default)
    assert answer["tasks"] == session.predict([image])[0]["tasks"]
    counted = wbczoo("differential", image, "--json", "--device", "cpu", cwd=tmp_path)
    assert json.loads(counted.stdout)["model"] == MODELS.names[0]


def test_a_name_that_is_none_is_told_with_those_that_are(
    wbczoo: Callable[..., Completed], smears: Path
) -> None:
    done = wbczoo("predict", smears, "--model", "exports/nowhere", expect=2)
    # No model is said to answer where nothing is answered.
    told = wbczoo("predict", smears / "nowhere.jpg", expect=2).stderr
    assert "answered by" not in told
    assert re.search(rf"exports/nowhere is neither.*{MODELS.names[0]}", done.stderr)
    with pytest.raises(UsageError, match="there is"):
        find_published("../secret")


@pytest.mark.archive
def test_it_tells_photographs_of_a_laboratory_apart(shared: Path) -> None:
    """Not a measure of how good it is: TEST_SIMPLE once, by the shipped file alone."""
    from wbczoo import images, registry
    from wbczoo.data.samples import read_rows

    spec = registry.datasets.spec("bccd")
    rows = read_rows(spec, shared / "data" / "blood-cells.zip", dict(spec.options))
    chosen = [sample for sample in rows.samples if sample.part == "simple"]
    session = Session(MODELS.default)
    found = session.predict([images.decode(rows.source.read(sample.path)) for sample in chosen])
    right = [
        answer["tasks"]["cell"]["class"] == sample.label.lower()
        for answer, sample in zip(found, chosen, strict=True)
    ]
    assert np.mean(right) > 0.85

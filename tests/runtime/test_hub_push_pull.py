"""Exports go to a hub and come back, held against a server on this machine that speaks as one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from huggingface_hub import ModelCard
from model_hub import REPOSITORY, Hub, running_hub
from onnx import numpy_helper

from wbczoo.files import sha256_of
from wbczoo.machine import how_to_install
from wbczoo.runtime import hub


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub on this machine that holds nothing yet."""
    with running_hub(tmp_path_factory.mktemp("home")) as hub:
        yield hub


@pytest.fixture
def copied(small_export: Path, tmp_path: Path) -> Path:
    """An export that a test may damage."""
    return Path(shutil.copytree(small_export, tmp_path / "copied"))


def test_an_export_goes_to_the_hub_and_comes_back_the_same(
    server: Hub, small_export: Path, tmp_path: Path
) -> None:
    sent = json.loads(
        server.run("push", small_export, "--repo", REPOSITORY, "--private", "--json").stdout
    )
    assert server.commits[REPOSITORY] == [sent["commit"]], "one commit, or none"
    assert sent["private"] is True
    held = server.files[REPOSITORY]
    assert held["README.md"] == held["card.md"] == (small_export / "card.md").read_bytes()
    # What others put there is not taken, read or run.
    held |= {"model.py": b"raise SystemExit", "model.onnx.data": b"", "pytorch_model.bin": b""}
    server.asked.clear()
    out = tmp_path / "new" / "back"
    pulled = json.loads(server.run("pull", REPOSITORY, "--out", out, "--json").stdout)
    assert pulled["commit"] == server.commit(REPOSITORY)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        name: (small_export / name).read_bytes() for name in hub.FILES
    }
    assert {path.rsplit("/", 1)[1] for path in server.asked if "/resolve/" in path} == {*hub.FILES}
    assert [path.name for path in out.parent.iterdir()] == ["back"]
    # Private: without a token there is no such repository.
    refused = server.run("pull", REPOSITORY, "--out", tmp_path / "b", token=None, expect=1)
    assert "it is private (HTTP 401)" in refused.stderr
    assert "HF_TOKEN" in refused.stderr
    strange = server.run("pull", REPOSITORY, "--out", tmp_path / "b", "--revision", "v9", expect=1)
    assert "no such revision" in strange.stderr


def test_an_export_that_does_not_hold_is_not_sent(server: Hub, copied: Path) -> None:
    content = (copied / "model.onnx").read_bytes()
    (copied / "model.onnx").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused = server.run("push", copied, "--repo", REPOSITORY, expect=3)
    assert "does not hold" in refused.stderr
    (copied / "example.npz").unlink()
    refused = server.run("push", copied, "--repo", REPOSITORY, expect=3)
    assert "example.npz is missing" in refused.stderr
    assert server.asked == []


def test_who_may_not_write_is_told_so(server: Hub, small_export: Path) -> None:
    for token, status in ((None, 401), ("reader", 403)):
        refused = server.run("push", small_export, "--repo", REPOSITORY, token=token, expect=1)
        assert f"(HTTP {status})" in refused.stderr
        assert "HF_TOKEN" in refused.stderr
    assert server.files == {}
    server.files[REPOSITORY] = {}
    refused = server.run("push", small_export, "--repo", REPOSITORY, "--private", expect=2)
    assert "is public" in refused.stderr
    assert server.files[REPOSITORY] == {}


def _damage(export: Path, how: str) -> None:
    model, card = export / "model.onnx", export / "card.json"
    if how == "truncated":
        model.write_bytes(model.read_bytes()[:-1000])
    elif how == "no card":
        card.unlink()
    else:  # another model, and a card that vouches for it
        graph = onnx.load(model)
        weights = max(graph.graph.initializer, key=lambda each: len(each.raw_data))
        other = np.ascontiguousarray(-numpy_helper.to_array(weights))
        weights.CopyFrom(numpy_helper.from_array(other, weights.name))
        onnx.save(graph, model)
        document = json.loads(card.read_text())
        document["files"]["model.onnx"] = sha256_of(model)
        card.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("truncated", "model.onnx"),
        ("no card", "has no card.json"),
        ("forged", "does not answer as it did when exported"),
    ],
)
def test_what_does_not_hold_is_not_kept(
    server: Hub, copied: Path, tmp_path: Path, how: str, told: str
) -> None:
    _damage(copied, how)
    server.hold(copied)
    (tmp_path / "out").mkdir()
    refused = server.run("pull", REPOSITORY, "--out", tmp_path / "out" / "a", expect=3)
    assert told in refused.stderr
    assert str(tmp_path) not in refused.stderr, "a folder is named that is gone"
    assert [*(tmp_path / "out").iterdir()] == []


def test_a_broken_connection_leaves_nothing(
    server: Hub, small_export: Path, tmp_path: Path
) -> None:
    server.hold(small_export)
    server.cut.add("example.npz")
    out = tmp_path / "a"
    broken = server.run("pull", REPOSITORY, "--out", out, expect=1)
    assert "HTTP 503" in broken.stderr
    down = server.run("pull", REPOSITORY, "--out", out, expect=1, HF_ENDPOINT="http://127.0.0.1:9")
    assert "could not be reached" in down.stderr
    assert "HF_ENDPOINT" in down.stderr
    offline = server.run("pull", REPOSITORY, "--out", out, expect=1, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set" in offline.stderr
    assert [*tmp_path.iterdir()] == []
    down = server.run(
        "push", small_export, "--repo", REPOSITORY, expect=1, HF_ENDPOINT="http://127.0.0.1:9"
    )
    assert "could not be reached" in down.stderr


def test_a_taken_folder_and_a_missing_repository_are_refused(server: Hub, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    refused = server.run("pull", REPOSITORY, "--out", tmp_path, expect=2)
    assert "exists" in refused.stderr
    assert server.asked == []
    missing = server.run("pull", REPOSITORY, "--out", tmp_path / "a", expect=1)
    assert "no such repository" in missing.stderr
    odd = server.run("pull", "white-cells", "--out", tmp_path / "a", expect=2)
    assert "OWNER/NAME" in odd.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_without_the_extra_a_sentence_says_what_to_install(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['huggingface_hub'] = None; from wbczoo.cli import main;"
        "sys.exit(main(['pull', 'a/b', '--out', sys.argv[1]]))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "a")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert how_to_install("hub") in done.stderr


def test_the_cards_head_says_protocol_photographs_and_interval(small_export: Path) -> None:
    from wbczoo.exporting.card_page import to_markdown

    card = json.loads((small_export / "card.json").read_text())
    score = {"value": 0.81234, "low": 0.7, "high": 0.9}
    figures = {
        "classes": ["mononuclear", "polynuclear"], "accuracy": score,
        "macro_f1": {"value": None, "low": None, "high": None},
    }  # fmt: skip
    found: dict[str, Any] = {
        "dataset": "bccd", "protocol": "official", "part": "augmented", "fold": None,
        "unit": "photograph", "photographs": 71, "files": 2487, "groups": 69, "leaky": False,
        "interval": "bootstrap", "tasks": {"nucleus": figures},
    }  # fmt: skip
    leaky = {**found, "protocol": "report", "leaky": True}
    text = to_markdown({**card, "evaluations": [found, leaky]})
    data = ModelCard(text).data
    assert data.pipeline_tag == "image-classification"
    assert data.library_name == "wbczoo"
    assert data.license == "other"
    assert data.datasets == ["synthetic"]
    assert "leaky" in data.tags
    clean, leaking = data.eval_results  # undefined scores are none
    assert clean.metric_value == 0.8123
    for word in ("95 % interval 0.700 to 0.900", "photographs"):
        assert word in clean.metric_name
    for word in ("official", "71 photographs", "2487 files"):
        assert word in clean.dataset_name
    assert clean.dataset_args["leaky"] is False
    assert "LEAKY" not in clean.metric_name + clean.dataset_name
    assert leaking.metric_name.startswith("LEAKY ")
    assert leaking.dataset_name.startswith("LEAKY ")
    assert leaking.dataset_args["leaky"] is True
    assert "leaky" not in ModelCard(to_markdown({**card, "evaluations": [found]})).data.tags

"""A PyTorch model goes to a hub and comes back by the hub's own mixin, checked on both ways."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from model_hub import REPOSITORY, Hub, running_hub
from torch import nn

import wbczoo
from wbczoo.errors import WbczooError
from wbczoo.model.fused import FusedClassifier
from wbczoo.training.checkpoint import load_model


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with running_hub(tmp_path_factory.mktemp("home")) as hub:
        yield hub


def python(hub: Hub, code: str, *arguments: object, expect: int = 0, **changed: str) -> str:
    """Run code in a process of its own, with this hub for its hub."""
    settings = os.environ | {
        "HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(hub.home), "HF_TOKEN": "writer", **changed,
    }  # fmt: skip
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=settings)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


SEND = (
    "import sys; from pathlib import Path; from wbczoo.training.checkpoint import load_model;"
    f"load_model(Path(sys.argv[1]))[1].push_to_hub({REPOSITORY!r}, private=True)"
)
FETCH = (
    "import sys, torch; from wbczoo.model.fused import FusedClassifier;"
    f"model = FusedClassifier.from_pretrained({REPOSITORY!r});"
    "torch.manual_seed(3); images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8);"
    "assert not model.training and model.novelty is not None;"
    "print([v.detach().tolist() for v in model.outputs(images).values()])"
)


@pytest.mark.nightly  # three processes with PyTorch; the folder below goes the same way
def test_a_model_goes_to_the_hub_and_comes_back_the_same(server: Hub, small_run: Path) -> None:
    python(server, SEND, small_run)
    held = server.files[REPOSITORY]
    assert {name for name in held if not name.startswith(".git")} == {
        "README.md", "config.json", "model.safetensors"
    }  # fmt: skip
    config = json.loads(held["config.json"])
    assert config["id2label"]["nucleus"] == {"0": "mononuclear", "1": "polynuclear"}
    card = ModelCard(held["README.md"].decode())
    assert (card.data.license, card.data.library_name) == ("other", "wbczoo")
    model = load_model(small_run)[1]
    torch.manual_seed(3)
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    expected = [value.detach().tolist() for value in model.outputs(images).values()]
    assert json.loads(python(server, FETCH)) == expected
    # What was damaged on its way does not come.
    weights = bytearray(held["model.safetensors"])
    weights[-1] ^= 64
    held["model.safetensors"] = bytes(weights)
    assert "is not the file that config.json speaks of" in python(server, FETCH, expect=1)


def test_a_folder_that_was_saved_is_read_and_must_answer_as_it_did(tmp_path: Path) -> None:
    model = wbczoo.create_model("none", "gru", image_size=(64, 64), hidden=8)
    model.train()
    model.save_pretrained(tmp_path / "a")
    assert model.training
    again = FusedClassifier.from_pretrained(tmp_path / "a")
    assert again.config == model.config
    document = json.loads((tmp_path / "a" / "config.json").read_text())
    document["example"]["logits"]["cell"][0][0] += 1
    (tmp_path / "a" / "config.json").write_text(json.dumps(document))
    with pytest.raises(WbczooError, match="answers its example differently"):
        FusedClassifier.from_pretrained(tmp_path / "a")
    # A model that answers no numbers is not sent, whichever task it is that does.
    for task in model.config.tasks:
        broken = wbczoo.create_model("none", "gru", image_size=(64, 64), hidden=8)
        with torch.no_grad():
            broken.heads[f"{task.name}_head"].bias[0] = float("nan")
        with pytest.raises(WbczooError, match="nothing was sent"):
            broken.save_pretrained(tmp_path / task.name)
        assert not (tmp_path / task.name / "config.json").exists()
    # A model whose parts are not those of its config is not sent.
    model.heads["cell_head"] = nn.Sequential(model.heads["cell_head"], nn.Tanh())
    with pytest.raises(WbczooError, match="does not fit the config"):
        model.save_pretrained(tmp_path / "b")
    assert not (tmp_path / "b" / "config.json").exists()

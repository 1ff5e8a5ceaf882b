"""A timm model of the hub is a backbone, frozen or with adapters, and its run needs no hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import timm
import torch
from commands import Completed
from model_hub import Hub, running_hub
from safetensors.torch import save

from wbczoo.config import RunConfig
from wbczoo.errors import UsageError
from wbczoo.training.checkpoint import load_model

Run = Callable[..., Completed]

NAME = "timm/hf-hub:lab/tiny-blood"
# As DinoBloom's copies are: a ViT with patches of 14 pixels, positions for 518, no classifier.
ARGUMENTS = {"img_size": 56, "patch_size": 14, "embed_dim": 24, "depth": 2, "num_heads": 2,
             "init_values": 1e-5, "num_classes": 0, "dynamic_img_size": True}  # fmt: skip


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    torch.manual_seed(0)
    tiny = timm.create_model("vit_small_patch14_dinov2", **ARGUMENTS)
    config = {
        "architecture": "vit_small_patch14_dinov2", "num_classes": 0, "num_features": 24,
        "model_args": ARGUMENTS,
        "pretrained_cfg": {
            "input_size": [3, 56, 56], "mean": [0.7, 0.5, 0.7], "std": [0.2, 0.3, 0.1],
            "num_classes": 0, "first_conv": "patch_embed.proj", "classifier": "head",
        },
    }  # fmt: skip
    with running_hub(tmp_path_factory.mktemp("hub")) as found:
        found.files["lab/tiny-blood"] = {
            "config.json": json.dumps(config).encode(),
            "model.safetensors": save(tiny.state_dict()),
        }
        found.by_branch.add("lab/tiny-blood")
        yield found


def run(hub: Hub, *arguments: object, expect: int = 0) -> Completed:
    """wbczoo in a process of its own: its client reads the hub's address once."""
    settings = os.environ | {
        "HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(hub.home),
        "HF_HUB_DISABLE_XET": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "wbczoo", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=settings)
    assert done.returncode == expect, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def trained(hub: Hub, smears: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("peft")
    out = tmp_path_factory.mktemp("adapted") / "run"
    run(hub, "train", smears, "--dataset", "synthetic", "--backbone", NAME,
        "--weights", "pretrained", "--backbone-option", "lora=2", "--image-size", "84",
        "--epochs", "1", "--batch-size", "8", "--lr", "1e-2", "--device", "cpu",
        "--precision", "fp32", "--out", out)  # fmt: skip
    return out


@pytest.mark.nightly  # processes, each of which imports torch
def test_a_run_is_built_again_without_the_hub(hub: Hub, trained: Path) -> None:
    asked = len(hub.asked)
    config, model = load_model(trained)
    assert len(hub.asked) == asked
    assert config.model.backbone.options["hub_architecture"] == "vit_small_patch14_dinov2"
    assert config.model.preprocessing.mean == (0.7, 0.5, 0.7)
    assert config.model.weights.source == "pretrained"
    features = model.fuse(torch.zeros(1, 3, 84, 84, dtype=torch.uint8))
    assert features.shape == (1, 24)


@pytest.mark.nightly  # processes, each of which imports torch
def test_adapters_alone_train_and_lie_in_the_layers_of_an_export(
    wbczoo: Run, hub: Hub, trained: Path, tmp_path: Path
) -> None:
    _, model = load_model(trained)
    kept: Any = model.backbone
    learned = [p for name, p in kept.named_parameters() if "lora_B" in name]
    assert learned
    assert all(bool(each.any()) for each in learned)  # they begin at zero
    from safetensors.torch import load

    first = load(hub.files["lab/tiny-blood"]["model.safetensors"])
    state = kept.state_dict()
    for name in ("blocks.0.attn.qkv", "blocks.1.mlp.fc1"):
        assert torch.equal(state[f"{name}.base_layer.weight"], first[f"{name}.weight"])
    wbczoo("export", trained, "--out", tmp_path / "a", "--speed", "none")
    card = json.loads((tmp_path / "a" / "card.json").read_text())
    assert card["parity"]["difference"] <= card["parity"]["bound"]
    graph = onnx.load(tmp_path / "a" / "model.onnx").graph
    plain = model.merged()
    assert plain is not model
    held = sum(int(np.prod(each.dims)) for each in graph.initializer)
    assert held < sum(p.numel() for p in plain.parameters()) + 5000
    assert not any("lora" in name for name, _ in plain.named_parameters())
    assert any("lora" in name for name, _ in model.named_parameters())


@pytest.mark.nightly  # processes, each of which imports torch
def test_what_cannot_be_is_said(hub: Hub, tmp_path: Path) -> None:
    built = ("build", "--backbone", NAME, "--out", tmp_path / "a", "--weights")
    told = run(hub, *built, "pretrained", "--image-size", "128", expect=2).stderr
    assert "patches of 14 x 14 pixels" in told
    assert "--image-size 126 or 140" in told
    assert not (tmp_path / "a").exists()
    strange = NAME.replace("tiny-blood", "gone")
    gone = run(hub, "build", "--backbone", strange, "--weights", "pretrained", expect=1).stderr
    assert "could not be fetched" in gone


def test_a_size_that_no_run_settled_asks_for_weights(tmp_path: Path) -> None:
    from wbczoo.model.build import create_model

    with pytest.raises(UsageError, match="--weights pretrained"):
        create_model("timm/hf-hub:lab/never-seen", weights="none", image_size=84)


def test_an_adapter_of_a_backbone_with_batch_norms_stands_beside_its_dense_layers() -> None:
    from wbczoo.model.build import create_model

    pytest.importorskip("peft")
    with pytest.raises(UsageError, match="no dense layer"):
        create_model("mobilenetv2", backbone_options={"lora": 2}, image_size=64)
    model = create_model("mobilenetv2", image_size=64)
    assert "lora" not in RunConfig(model=model.config).model_dump_json()  # written as before

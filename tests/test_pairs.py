"""Every pair of a built-in backbone and branch: built, trained a step, exported, and equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from wbczoo import images, registry
from wbczoo.errors import UsageError
from wbczoo.exporting.graph import write_graph
from wbczoo.exporting.parity import compare
from wbczoo.exporting.trained import bare
from wbczoo.images.tree import Tree
from wbczoo.model.build import build
from wbczoo.model.compose import compose
from wbczoo.model.fused import FusedClassifier
from wbczoo.specs import Preprocessing

BACKBONES = (
    "mobilenetv2", "resnet18", "vgg16", "efficientnet_lite0", "mobilenetv3_small",
    "convnext_atto", "googlenet", "squeezenet1_1", "none",
)  # fmt: skip
BRANCHES = ("none", "bilstm", "gru", "nucleus", "bilstm_features")
REFUSED = {("none", "none"), ("none", "bilstm_features")}
PAIRS = [(b, s) for b in BACKBONES for s in BRANCHES if (b, s) not in REFUSED]
SIZE = (96, 96)

# Trained by day: every branch beside the smallest backbone and alone, and beside each other
# backbone the branch that reads its feature map. Exported by day, for that takes ten times as
# long: every branch, and backbones of each sort. `make test-all` tries all of them.
TRAINED = [p for p in PAIRS if p[0] in ("squeezenet1_1", "none") or p[1] == BRANCHES[-1]]
EXPORTED = [
    ("squeezenet1_1", "none"), ("squeezenet1_1", "gru"), ("none", "bilstm"),
    ("mobilenetv2", "bilstm_features"), ("convnext_atto", "bilstm_features"),
]  # fmt: skip


def tried(by_day: list[tuple[str, str]]) -> pytest.MarkDecorator:
    """All pairs, those of the day and those of the night."""
    pairs = [
        pytest.param(*p, id="+".join(p), marks=() if p in by_day else pytest.mark.nightly)
        for p in PAIRS
    ]
    return pytest.mark.parametrize(("backbone", "sequence"), pairs)


def test_the_built_in_parts_are_these() -> None:
    home = {
        kind: {e.name for e in parts.entries() if e.distribution == "wbczoo" and e.kind == "part"}
        for kind, parts in registry.ALL.items()
    }
    assert home["backbones"] == set(BACKBONES)
    assert home["sequences"] == set(BRANCHES)
    assert len(PAIRS) == 43


@pytest.mark.parametrize(("backbone", "sequence"), sorted(REFUSED))
def test_pairs_with_nothing_to_read_are_refused(backbone: str, sequence: str) -> None:
    with pytest.raises(UsageError, match=r"[Nn]either|feature map"):
        compose(backbone, sequence)


@pytest.fixture(scope="module")
def pictures(smears: Path) -> np.ndarray:
    """17 drawn images, (17, 3, H, W) uint8; real ones serve in the tests of the archive."""
    source = Tree(smears)
    samples = list(registry.datasets.spec("synthetic").samples(smears))
    preprocessing = Preprocessing(size=SIZE)
    chosen = [images.pixels(source.read(s.path), preprocessing) for s in samples[::4][:17]]
    return np.ascontiguousarray(np.stack(chosen).transpose(0, 3, 1, 2))


@tried(TRAINED)
def test_a_step_moves_every_part_of_a_pair(
    backbone: str, sequence: str, pictures: np.ndarray
) -> None:
    model = _large(backbone, sequence)
    before = {name: value.clone() for name, value in model.named_parameters()}
    _step(model, pictures)
    assert all(torch.isfinite(value).all() for value in model.parameters())
    unused = [name for name, value in model.named_parameters() if value.grad is None]
    assert not unused, f"no gradient reached {unused}"
    moved = {
        name for name, value in model.named_parameters() if not torch.equal(value, before[name])
    }
    for part in ("backbone.", "sequence.", "heads."):
        names = {name for name in before if name.startswith(part)}
        assert not names or names & moved, f"the step moved nothing in {part}"


@tried(EXPORTED)
def test_a_pair_of_which_a_step_was_trained_is_exported_and_equal(
    backbone: str, sequence: str, pictures: np.ndarray, tmp_path: Path
) -> None:
    model = _large(backbone, sequence)
    _step(model, pictures)
    model.eval()
    graph = tmp_path / "model.onnx"
    write_graph(bare(model), graph, opset=18)
    parity = compare(model, graph, pictures, "drawn images", batches=(1, 3, 17))
    assert parity.holds, parity
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]  # no external data


def _step(model: FusedClassifier, pictures: np.ndarray) -> None:
    """Train it on four images, once."""
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    logits = model(torch.from_numpy(pictures[:4]))
    targets = torch.tensor([0, 1, 0, 1])
    losses = [F.cross_entropy(answer, targets) for answer in logits.values()]
    torch.autograd.backward(losses)
    optimizer.step()


def _large(backbone: str, sequence: str) -> FusedClassifier:
    """The pair with saturated recurrent gates: an exporter's wrong gate hides in small weights."""
    model = build(compose(backbone, sequence, hidden=16, image_size=SIZE), seed=1)
    model.open_for_training("all")
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.startswith("sequence."):
                value.copy_(torch.randn(value.shape, generator=generator) * 0.5)
    return model

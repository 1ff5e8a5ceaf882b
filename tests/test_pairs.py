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
from wbczoo.specs import Preprocessing

BACKBONES = (
    "mobilenetv2", "resnet18", "vgg16", "efficientnet_lite0", "mobilenetv3_small",
    "convnext_atto", "googlenet", "squeezenet1_1", "none",
)  # fmt: skip
BRANCHES = ("none", "bilstm", "gru", "bilstm_features")
REFUSED = {("none", "none"), ("none", "bilstm_features")}
PAIRS = [(b, s) for b in BACKBONES for s in BRANCHES if (b, s) not in REFUSED]
SIZE = (96, 96)

# Every branch beside the smallest backbone and alone, and beside each other backbone the branch
# that reads its feature map. `make test-all` tries all of them.
QUICK = [p for p in PAIRS if p[0] in ("squeezenet1_1", "none") or p[1] == BRANCHES[-1]]
TRIED = [
    pytest.param(*p, id="+".join(p), marks=() if p in QUICK else pytest.mark.nightly) for p in PAIRS
]


def test_the_built_in_parts_are_these() -> None:
    home = {
        kind: {e.name for e in parts.entries() if e.distribution == "wbczoo" and e.kind == "part"}
        for kind, parts in registry.ALL.items()
    }
    assert home["backbones"] == set(BACKBONES)
    assert home["sequences"] == set(BRANCHES)
    assert len(PAIRS) == 34


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


@pytest.mark.parametrize(("backbone", "sequence"), TRIED)
def test_pair(backbone: str, sequence: str, pictures: np.ndarray, tmp_path: Path) -> None:
    model = build(compose(backbone, sequence, hidden=16, image_size=SIZE), seed=1)
    model.open_for_training("all")
    _make_weights_large(model)
    before = {name: value.clone() for name, value in model.named_parameters()}
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    logits = model(torch.from_numpy(pictures[:4]))
    loss = sum(F.cross_entropy(answer, torch.tensor([0, 1, 0, 1])) for answer in logits.values())
    loss.backward()
    optimizer.step()
    assert all(torch.isfinite(value).all() for value in model.parameters())
    unused = [name for name, value in model.named_parameters() if value.grad is None]
    assert not unused, f"no gradient reached {unused}"
    moved = {
        name for name, value in model.named_parameters() if not torch.equal(value, before[name])
    }
    for part in ("backbone.", "sequence.", "heads."):
        names = {name for name in before if name.startswith(part)}
        assert not names or names & moved, f"the step moved nothing in {part}"

    model.eval()
    graph = tmp_path / "model.onnx"
    write_graph(bare(model), graph, opset=18)
    parity = compare(model, graph, pictures, "drawn images", batches=(1, 3, 17))
    assert parity.holds, parity
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]  # no external data


def _make_weights_large(model: torch.nn.Module) -> None:
    """Saturate the recurrent gates: an exporter's wrong gate hides behind small weights."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.startswith("sequence."):
                value.copy_(torch.randn(value.shape, generator=generator) * 0.5)

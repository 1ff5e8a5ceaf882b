"""A sequence branch trains here beside the cached features of a frozen backbone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from wbczoo.data.batches import Batches
from wbczoo.data.splits import Role
from wbczoo.model.fused import FusedClassifier
from wbczoo.study.plan.plan import Cell
from wbczoo.study.run.features import FeatureCache
from wbczoo.study.run.roles import Split
from wbczoo.training import checkpoint, log
from wbczoo.training.fit import Fit, prepare_fit
from wbczoo.training.train import begin, run_epochs


class Inputs(NamedTuple):
    """What one batch shows: uint8 RGB (N, 3, H, W) or nothing, and features of the backbone."""

    pixels: Tensor | None
    features: Tensor


class CachedClassifier(FusedClassifier):
    """A classifier whose frozen backbone is replaced by what it gave: it reads `Inputs`.

    Branch and heads are the whole model's own, so they start where an ordinary training starts.
    """

    def __init__(self, whole: FusedClassifier) -> None:
        super().__init__(whole.config, None, whole.sequence, whole.reads)
        self.heads = whole.heads
        self.backbone_features = whole.backbone_features

    def forward(self, inputs: Any) -> dict[str, Tensor]:
        """The logits that the whole model gives for the same images: task -> (N, classes)."""
        pixels, features = inputs
        assert self.sequence is not None
        if self.reads == "pixels":
            # What the whole model computes, bit for bit, as one product over the last axis: these
            # steps are so short that the three passes over the pixels were a tenth of one.
            read = (pixels.permute(0, 2, 3, 1).float() / 255) @ self.grey.view(3)  # (N, H, W)
            pooled = features
        else:
            read, pooled = features, features.mean((2, 3))
        fused = torch.cat([pooled, self.sequence(read).float()], 1)
        return {
            task.name: self.heads[f"{task.name}_head"](fused).float() for task in self.config.tasks
        }


class FeatureBatches(Batches):
    """The pixels (or none), features and targets of one role, by position.

    Args:
        pixels: the pixel cache where the branch reads pixels, else None.
        cache: of the backbone's features.
        hashes: the content of each image of the role.
        targets: task -> class index of each.
    """

    def __init__(
        self,
        pixels: NDArray[np.uint8] | None,
        rows: NDArray[np.int64],
        cache: FeatureCache,
        hashes: list[str],
        targets: Mapping[str, NDArray[np.int64]],
        device: torch.device,
    ) -> None:
        blank = np.zeros((1, 1, 1, 3), np.uint8)
        super().__init__(blank if pixels is None else pixels, rows, dict(targets), device)
        self._shows_pixels = pixels is not None
        self._cache, self._hashes = cache, hashes
        # Pooled features are small enough to lie side by side; maps stay on the disk.
        self._pooled = (
            cache.gather(hashes).to(device) if cache.kind == "pooled" and hashes else None
        )

    def images(self, positions: NDArray[np.int64]) -> Any:
        """The `Inputs` at these positions, on the device."""
        if self._pooled is not None:
            features = self._pooled[torch.from_numpy(positions).to(self.device)]
        else:
            features = self._cache.gather([self._hashes[p] for p in positions]).to(self.device)
        return Inputs(super().images(positions) if self._shows_pixels else None, features)

    def ahead(self, chosen: Sequence[NDArray[np.int64]]) -> Iterator[Any]:
        """`images` of each of the chosen positions; on a CPU read in turn.

        A step is many short operations whose threads wait for one another. A thread that reads
        beside them takes a core from one, and all wait.
        """
        if self.device.type == "cpu":
            return (self.images(positions) for positions in chosen)
        return super().ahead(chosen)


def prepare_branch(
    cell: Cell,
    model: FusedClassifier,
    cache: FeatureCache,
    split: Split,
    out: Path,
    used: Mapping[Role, tuple[int, ...]],
    device: torch.device,
) -> tuple[Fit, FeatureBatches, tuple[int, ...]]:
    """A training of the branch and the heads, ready to run.

    Args:
        model: whole and untrained.
        out: where its state is kept.
        used: the rows of each role.

    Returns:
        the training, the test's batches, and the rows that these hold.
    """
    shows = model.reads == "pixels"
    pixels = cache.pixels.pixels() if shows else None

    def batches(role: Role) -> FeatureBatches:
        rows, numbers = split.rows_of(role), used[role]
        hashes = [rows.hashes[n] for n in numbers]
        places = cache.pixels.rows(hashes) if shows else np.zeros(len(hashes), np.int64)
        return FeatureBatches(pixels, places, cache, hashes, split.targets(role, numbers), device)

    classifier = CachedClassifier(model)
    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no")
    fit = prepare_fit(
        classifier, cell.train_config(), batches("train"), batches("validation"), out, accelerator
    )
    return fit, batches("test"), used["test"]


def train_branch(fit: Fit, digest: str) -> list[dict[str, float]]:
    """Run a training to its end, from where a killed one stood; the model is its best epoch's.

    Args:
        digest: of the settings and the split, so that no other state is taken up.

    Returns:
        the rows of its epochs.

    Raises:
        WbczooError, KeyboardInterrupt: as `wbczoo.training.train.run_epochs` does.
    """
    with checkpoint.alone_in(fit.out):
        begin(fit, digest, resume=True)
        run_epochs(fit)
        best, _ = checkpoint.load_tensors(fit.out / checkpoint.MODEL)
        fit.model.load_state_dict(best)
    return log.read(fit.out / checkpoint.METRICS, fit.progress.metrics_bytes)

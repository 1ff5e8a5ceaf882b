"""A branch or a last block trains here over the cached features of what is frozen below it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from wbczoo.data.batches import Batches, fits
from wbczoo.data.plan import Role, digest_of
from wbczoo.data.prepared import fill
from wbczoo.errors import WbczooError
from wbczoo.model.fused import FusedClassifier
from wbczoo.model.trunk import cut_trunk
from wbczoo.study.plan.trial import NetworkTrial
from wbczoo.study.run.context import (
    Context,
    build_trial,
    calibrate,
    fill_features,
    used_rows,
)
from wbczoo.study.run.features import FeatureCache, Kind
from wbczoo.study.run.networks import run_images
from wbczoo.study.run.roles import Split
from wbczoo.study.run.row import Answered, Row, run_folds
from wbczoo.training import checkpoint, log
from wbczoo.training.fit import Fit, prepare_fit
from wbczoo.training.inference import predict_logits
from wbczoo.training.train import begin, run_epochs


class Inputs(NamedTuple):
    """What one batch shows: uint8 RGB (N, 3, H, W) or nothing, and features of the backbone."""

    pixels: Tensor | None
    features: Tensor


class CachedClassifier(FusedClassifier):
    """A classifier whose frozen part is replaced by what it gave: it reads `Inputs`.

    Branch and heads are the whole model's own, so they start where an ordinary training starts.

    Args:
        whole: the classifier.
        rest: what of its backbone trains and reads the features; None if all of it is frozen.
    """

    def __init__(self, whole: FusedClassifier, rest: nn.Module | None = None) -> None:
        super().__init__(whole.config, rest, whole.sequence, whole.reads)
        self.heads = whole.heads
        self.backbone_features = whole.backbone_features

    def forward(self, inputs: Any) -> dict[str, Tensor]:
        """The logits that the whole model gives for the same images: task -> (N, classes)."""
        pixels, features = inputs
        if self.backbone is not None:
            features = self.backbone(features).float()
        fused = features.mean((2, 3)) if features.ndim == 4 else features
        if self.sequence is not None:
            if self.reads == "pixels":
                # What the whole model computes, bit for bit, as one product over the last axis:
                # these steps are so short that three passes over the pixels were a tenth of one.
                read = (pixels.permute(0, 2, 3, 1).float() / 255) @ self.grey.view(3)  # (N, H, W)
            elif self.reads == "colours":
                read = self.shown(pixels.float() / 255)
            else:
                read = features
            fused = torch.cat([fused, self.sequence(read).float()], 1)
        return self.logits(fused)


class FeatureBatches(Batches):
    """The pixels (or none), features and targets of one role, by position.

    Args:
        pixels: the pixel cache, but None where the branch reads features alone.
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
        # Pooled features are small enough to lie side by side; maps stay on the disk, but where
        # a GPU has room for them.
        kept = bool(hashes) and (cache.kind == "pooled" or fits(cache.size_of(hashes), device))
        self._features = cache.gather(hashes).to(device) if kept else None

    @property
    def resident(self) -> bool:
        """Whether all of it lies on a GPU."""
        features = self._features is not None and self._features.is_cuda
        return features and (super().resident or not self._shows_pixels)

    def images(self, positions: NDArray[np.int64]) -> Any:
        """The `Inputs` at these positions, on the device."""
        if self._features is not None:
            at = torch.from_numpy(positions)
            features = self._features[at.to(self.device, non_blocking=self._features.is_cuda)]
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


def run_cached(trial: NetworkTrial, context: Context) -> Row:
    """Train a trial's branch, its last block and its heads, over cached features.

    A backbone that cannot be cut before its last block is trained from images.
    """
    if trial.train.trainable == "last-block" and cut_trunk(build_trial(trial)) is None:
        context.tell(f"{trial.backbone} cannot be cut before its last block; from images instead")
        return run_images(trial, context)

    def answer(split: Split) -> Answered:
        fit, test, used = prepare_cached(trial, split, context)
        fit.tell = context.tell
        digest = hashlib.sha256(f"{trial.key}{digest_of(split.rows, split.plan)}".encode())
        with checkpoint.alone_in(fit.out):
            begin(fit, digest.hexdigest(), resume=True)
            run_epochs(fit)
            best, _ = checkpoint.load_tensors(fit.out / checkpoint.MODEL)
        fit.model.load_state_dict(best)
        held = predict_logits(fit.model, fit.validation)
        truth = {name: values.numpy() for name, values in fit.validation.targets.items()}
        found = calibrate(held, truth, predict_logits(fit.model, test))
        curves = log.read(fit.out / checkpoint.METRICS, fit.progress.metrics_bytes)
        weights = fit.model.config.weights.model_dump()
        return Answered(split, used, found, curves, fit.progress.best_epoch + 1, weights)

    return run_folds(trial, context.library, answer, device=context.machine)


def prepare_cached(
    trial: NetworkTrial, split: Split, context: Context
) -> tuple[Fit, FeatureBatches, tuple[int, ...]]:
    """A training of what is not frozen, ready to run.

    Returns:
        the training, the test's batches, and the rows that these hold.

    Raises:
        WbczooError: if the backbone cannot be cut before its last block.
    """
    model = build_trial(trial)
    trunk = rest = None
    kind: Kind = "map" if model.sequence is not None and model.reads == "features" else "pooled"
    if trial.train.trainable == "last-block":
        cut = cut_trunk(model)
        if cut is None:
            raise WbczooError(f"{trial.backbone} cannot be cut before its last block.")
        (trunk, rest), kind = cut, "trunk"
    cache = context.features(model, kind, trunk)
    fill_features(cache, split, context)
    pixels = None
    if model.sequence is not None and model.reads != "features":
        for rows, numbers in split.everyone():
            fill(cache.pixels, rows, numbers, context.tell)
        pixels = cache.pixels.pixels()
    used = used_rows(cache, split)

    def batches(role: Role) -> FeatureBatches:
        hashes = [split.rows_of(role).hashes[row] for row in used[role]]
        places = np.zeros(len(hashes), np.int64) if pixels is None else cache.pixels.rows(hashes)
        targets = split.targets(role, used[role])
        return FeatureBatches(pixels, places, cache, hashes, targets, context.device)

    fit = prepare_fit(
        CachedClassifier(model, rest),
        trial.train,
        batches("train"),
        batches("validation"),
        context.run_folder(trial, split),
        Accelerator(cpu=context.device.type == "cpu", mixed_precision="no"),
    )
    return fit, batches("test"), used["test"]

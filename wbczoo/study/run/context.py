"""What the trials of networks share in one process: data, features, models to start from."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import nn

from wbczoo import machine
from wbczoo.config import ModelConfig
from wbczoo.data.classes import ROLES
from wbczoo.data.plan import Role, digest_of
from wbczoo.data.prepared import readers
from wbczoo.errors import UsageError
from wbczoo.metrics import fit_temperature
from wbczoo.model.build import build
from wbczoo.model.compose import compose
from wbczoo.model.fused import FusedClassifier
from wbczoo.progress import Tell
from wbczoo.study.plan.trial import NetworkTrial, Trial
from wbczoo.study.run.features import FeatureCache, Kind
from wbczoo.study.run.roles import Library, Split
from wbczoo.tasks import parse as parse_tasks
from wbczoo.training.inference import Logits, choose_device


@dataclass
class Context:
    """What the trials of one process share: data, device, and where unfinished trainings lie.

    `cache` is the folder of pixels and features; the user's own if None.
    """

    library: Library
    device: torch.device
    folder: Path
    tell: Tell
    cache: Path | None = None
    _caches: dict[str, FeatureCache] = field(default_factory=dict)

    def features(
        self, model: FusedClassifier, kind: Kind, trunk: nn.Module | None = None
    ) -> FeatureCache:
        """The cache of a model's backbone or of its trunk; one for all models that share it.

        Raises:
            UsageError: if the backbone has adapters, which train and so change its features.
        """
        if getattr(model.backbone, "adapters", ()):
            raise UsageError(
                f"{model.config.backbone.name} has adapters that train, so that features of it "
                "which are kept would be stale. Name the option that puts them there in the "
                "block's backbone_options: such trials are trained from their images."
            )
        cache = FeatureCache(model, kind, self.cache, trunk)
        return self._caches.setdefault(cache.folder.name, cache)

    @property
    def machine(self) -> str:
        """The name of what computes, for a result's record."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return machine.processor()

    def run_folder(self, trial: Trial, split: Split) -> Path:
        """Where the training of a fold may be taken up again."""
        return self.folder / f"{trial.key[:16]}-{digest_of(split.rows, split.plan)[:8]}"

    def forget(self, trial: Trial) -> None:
        """Remove the trainings of a trial whose result is written down."""
        for folder in self.folder.glob(f"{trial.key[:16]}-*"):
            shutil.rmtree(folder, ignore_errors=True)

    def free_memory(self) -> None:
        """Give a GPU's memory back between two jobs: other processes train on it too."""
        if self.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()


def open_context(library: Library, out: Path, device: str, tell: Tell) -> Context:
    """A process's context; raises WbczooError for a device that is not there."""
    return Context(library, choose_device(device), out / "unfinished", tell)


def compose_trial(trial: NetworkTrial) -> ModelConfig:
    """The composition of a trial; raises UsageError as `compose` does."""
    side = trial.image_size
    return compose(
        trial.backbone,
        trial.sequence,
        tasks=parse_tasks(trial.tasks),
        hidden=trial.hidden,
        image_size=(side, side) if side else None,
        crop=trial.crop or "none",
        backbone_options=trial.backbone_options,
    )


def build_trial(trial: NetworkTrial) -> FusedClassifier:
    """The untrained model of a trial, as `wbczoo train` starts from it."""
    model = build(compose_trial(trial), weights=trial.weights, seed=trial.train.seed)
    model.open_for_training(trial.train.trainable)
    return model.eval()


def fill_features(cache: FeatureCache, split: Split, context: Context) -> None:
    """Compute what a split's images lack; refusals are told, and kept by the cache."""
    for rows, numbers in split.everyone():
        refused = cache.fill(readers(rows, numbers), context.device, context.tell)
        for digest, reason in refused.items():
            context.tell(f"refused {rows.samples[rows.index_of[digest]].path}: {reason}")


def used_rows(cache: FeatureCache, split: Split) -> dict[Role, tuple[int, ...]]:
    """The rows of each role whose images were not refused."""
    return {
        role: tuple(n for n in split.numbers(role) if split.rows_of(role).hashes[n] in cache)
        for role in ROLES
    }


def calibrate(
    held: Logits, truth: Mapping[str, NDArray[np.int64]], logits: Logits
) -> dict[str, NDArray[np.floating[Any]]]:
    """Probabilities of logits at the temperatures that the validation's fit best.

    Args:
        held, truth: of the validation images; there may be none.
        logits: task -> (N, classes) of the test.
    """
    found = {}
    for name, values in logits.items():
        temperature = fit_temperature(held[name], truth[name]) if len(held[name]) else 1.0
        found[name] = softmax(values / temperature, axis=1)
    return found

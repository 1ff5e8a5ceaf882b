"""A model's batch norms come to answer by the statistics of other images than they trained on."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.modules.batchnorm import _BatchNorm

from wbczoo.data.batches import Batches
from wbczoo.model.fused import FusedClassifier
from wbczoo.training.inference import predict_logits

_BATCH = 64

# Of each class that a model answers: so many images at least, drawn more than once where it has
# fewer, and at most; what is answered less often than the rarest is taken for a mistake.
_LEAST, _MOST, _RAREST = 16, 128, 3
_ROUNDS = 2


def restate_evenly(
    model: FusedClassifier, pixels: NDArray[np.uint8], rows: NDArray[np.int64], device: torch.device
) -> bool:
    """Estimate running means and variances anew from images that show each class alike.

    A model learned from even classes; where one prevails, as neutrophils do in blood, statistics
    of all images move with it and harm. Nobody knows the classes, so the model's own answers to
    its first task stand for them, and once more after they have become better.

    Args:
        model, pixels, rows, device: as `restate` takes them.

    Returns:
        whether the model has any, that is, a batch norm.
    """
    if not _batch_norms(model):
        return False
    model.move_to(device)
    task = model.config.tasks[0].name
    for _ in range(_ROUNDS):
        logits = predict_logits(model, Batches(pixels, rows, {}, device))[task]
        answers = logits.argmax(1)
        each = min(max(len(rows) // logits.shape[1], _LEAST), _MOST)
        draw = np.random.default_rng(0)
        found = [np.flatnonzero(answers == one) for one in np.unique(answers)]
        chosen = [draw.choice(one, each) for one in found if len(one) >= _RAREST]
        restate(model, pixels, rows[np.concatenate(chosen)] if chosen else rows, device)
    return True


def restate(
    model: FusedClassifier, pixels: NDArray[np.uint8], rows: NDArray[np.int64], device: torch.device
) -> None:
    """Estimate all running means and variances anew, from images without labels.

    Every batch counts alike (Schneider et al. 2020, Improving robustness against common
    corruptions by covariate shift adaptation, with no part of the old statistics); the images
    come in an order that does not follow their names, or a batch would show one class.

    Args:
        model: in evaluation mode, and left so.
        pixels, rows: a cache's pixels (M, H, W, 3) and the rows of the images, (N,).
    """
    norms = _batch_norms(model)
    momenta = [module.momentum for module in norms]
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # a cumulative mean
        module.training = True
    model.move_to(device)
    images = Batches(pixels, rows, {}, device)
    order = np.random.default_rng(0).permutation(len(rows))
    with torch.inference_mode():
        for batch in np.array_split(order, max(1, len(order) // _BATCH)):
            model(images.images(batch))
    for module, momentum in zip(norms, momenta, strict=True):
        module.momentum = momentum
        module.training = False


def _batch_norms(model: FusedClassifier) -> list[_BatchNorm]:
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]

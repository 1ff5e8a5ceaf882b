"""What a model says of images that it does not know is fitted here, once its training has ended."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wbczoo.data.batches import Batches, draw_order
from wbczoo.data.samples import LEFT_OUT
from wbczoo.metrics.limits import KNOWN, least_probability, quantile
from wbczoo.model.fused import FusedClassifier
from wbczoo.model.novelty import Novelty, condense
from wbczoo.runtime.flags import LIMIT, Limits

# Of the space in which distances are measured. More find little more, and cost bytes.
DIMENSIONS = 32

# Training images of a class, on average, from which its spread can be told at all. Of a class of
# one image every distance is rounding.
FEWEST = 4

# So many training images tell the covariance well, and more only take time.
MOST = 2048

_BATCH = 64

_LEAST = 1e-6  # of a variance of features of unit length

# Of a distance in units of a class's spread, of an energy in nats, and of their sum: what spreads
# less is rounding, as among equal images, and is not made larger.
_NARROWEST = 0.05

Floats = NDArray[np.float64]


def fit_novelty(
    model: FusedClassifier, training: Batches, validation: Batches, weights: Floats, seed: int
) -> Limits:
    """Give a model its novelty, and find the limits past which its answers are flagged.

    What the tasks say together is a class. The median of the validation's novelty becomes 0, and
    `KNOWN` of it lies below `LIMIT`. Where there is no validation it is the training's; its own
    images say little of others, so that there are no limits then. Of fewer than `FEWEST` training
    images for each class there is no novelty either.

    Args:
        model: in evaluation mode, on the device of the batches.
        training, validation: as they are, without augmentation; there may be no validation.
        weights: (N,) of the validation images.
        seed: of the choice among more than `MOST` training images.
    """
    chosen = np.sort(draw_order(seed, 0, len(training))[:MOST])
    known = np.stack([values.numpy()[chosen] for values in training.targets.values()], 1)
    if len(known) < FEWEST * len(np.unique(known, axis=0)):
        return Limits()
    features, logits = _read(model, training, chosen)
    model.novelty = _place(features, known, model.widths)
    if not len(validation):
        _scale(model.novelty, features, logits, np.ones(len(chosen)))
        return Limits()
    features, logits = _read(model, validation, np.arange(len(validation)))
    _scale(model.novelty, features, logits, weights)
    unsure = {}
    for name, values in model.probabilities(logits).items():
        truth = validation.targets[name].numpy()
        asked = truth != LEFT_OUT
        confidences, answers = (each.cpu().numpy()[asked] for each in values.max(1))
        if asked.any():
            wrong = answers != truth[asked]
            unsure[name] = least_probability(confidences.astype(float), wrong, weights[asked])
    return Limits(LIMIT, unsure)


def _place(features: Tensor, known: NDArray[np.int64], widths: tuple[int, int]) -> Novelty:
    """The classes' means and their common covariance, along the principal axes and beyond.

    Args:
        features: (N, D) of training images, condensed.
        known: (N, tasks) their classes.
    """
    # Not at the top: it takes seconds to import.
    from sklearn.covariance import LedoitWolf
    from sklearn.utils.extmath import randomized_svd

    found = features.cpu().double().numpy()
    centre = found.mean(0)
    moved = found - centre
    _, classes = np.unique(known, axis=0, return_inverse=True)
    dimensions = min(DIMENSIONS, *found.shape)
    _, _, axes = randomized_svd(moved, dimensions, random_state=0)  # (K, D)
    placed = moved @ axes.T  # (N, K)
    means = np.stack([placed[classes == each].mean(0) for each in range(classes.max() + 1)])
    within = LedoitWolf(assume_centered=True).fit(placed - means[classes]).covariance_
    # Of few images, or equal ones, no direction is without any spread.
    within += (1e-3 * np.trace(within) / dimensions + _LEAST) * np.eye(dimensions)
    whiten = np.linalg.cholesky(np.linalg.inv(within))
    # What lies beyond the axes counts as much as all that lies along them.
    beyond = ((moved**2).sum(1) - (placed**2).sum(1)).mean()
    scales = np.array([dimensions / max(beyond, _LEAST), 1.0, 1.0, 0.0])
    parts = {
        "centre": centre,
        "axes": axes.T,
        "whiten": whiten,
        "means": means @ whiten,
        "scales": scales,
    }
    tensors = {n: torch.from_numpy(part).float().contiguous() for n, part in parts.items()}
    return Novelty(**tensors, widths=widths).to(features.device)


def _scale(novelty: Novelty, features: Tensor, logits: dict[str, Tensor], weights: Floats) -> None:
    """Bring distance and energy to one scale, and their sum to that of `fit_novelty`."""

    def spread(values: Floats) -> tuple[float, float]:
        median = quantile(values, weights, 0.5)
        return median, max(quantile(values, weights, KNOWN) - median, _NARROWEST)

    terms = [each.cpu().double().numpy() for each in novelty.terms(features, logits)]
    found = [spread(each) for each in terms]
    together = np.sum([(each - a) / b for each, (a, b) in zip(terms, found, strict=True)], axis=0)
    at, by = spread(together)
    by *= (1 + 1e-5) / LIMIT  # what rounds otherwise elsewhere is still below
    slopes = [1 / (b * by) for _, b in found]
    offset = -at / by - sum(slope * a for slope, (a, _) in zip(slopes, found, strict=True))
    novelty.scales[1:] = torch.tensor([*slopes, offset])


def _read(
    model: FusedClassifier, batches: Batches, positions: NDArray[np.int64]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Condensed features (N, D) and each task's logits (N, classes), as an export computes them."""
    features, logits = [], []
    with torch.inference_mode():
        for start in range(0, len(positions), _BATCH):
            fused = model.fuse(batches.images(positions[start : start + _BATCH]))
            features.append(condense(fused, model.widths))
            logits.append(model.logits(fused))
        whole = {name: torch.cat([each[name] for each in logits]) for name in logits[0]}
        return torch.cat(features), whole

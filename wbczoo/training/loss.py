"""Logits and targets become one number to minimise here: the sum over tasks of cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from wbczoo.config import ClassWeights
from wbczoo.data.samples import LEFT_OUT


def class_weights(targets: Tensor, classes: int, kind: ClassWeights) -> Tensor:
    """Ones, or weights under which each class that occurs counts alike and whose mean is 1.

    Args:
        targets: class indices of all training images, (N,), -1 left out.
    """
    if kind == "none":
        return torch.ones(classes)
    counts = torch.bincount(targets[targets != LEFT_OUT], minlength=classes).float()
    present = int((counts > 0).sum())
    return torch.where(counts > 0, counts.sum() / (max(present, 1) * counts.clamp(min=1)), 0.0)


@dataclass(frozen=True)
class Blend:
    """What mixup made of a batch: each image's mate in it, and the image's own share, (N,)."""

    mates: Tensor
    shares: Tensor


def summed_cross_entropy(
    logits: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    share: slice,
    smoothing: float = 0.0,
    blend: Blend | None = None,
) -> Tensor:
    """The loss of one device's share of a batch, so that the shares add up to the batch's mean.

    A batch that a task leaves out entirely adds nothing, where a plain mean would be NaN.

    Args:
        logits: task -> (n, classes), of the share.
        targets: task -> (N,) on the CPU, of the whole batch.
        weights: task -> (classes,).
        share: which of the batch's images are this device's.
        smoothing: of each target, what is spread evenly over all classes (Szegedy et al. 2016,
            section 7).
        blend: of images that were blended, whose target counts by the share of each (Zhang et al.
            2018).
    """
    if blend is not None:
        mates = {name: values[blend.mates] for name, values in targets.items()}
        parts = ((targets, blend.shares), (mates, 1 - blend.shares))
        return _sum_shares(logits, parts, weights, share, smoothing)
    device = next(iter(logits.values())).device
    ahead = device.type == "cuda"  # where the copy need not wait for what the GPU still computes
    loss = torch.zeros((), device=device)
    for name, answered in logits.items():
        known = targets[name][targets[name] != LEFT_OUT]
        whole = float(weights[name][known].sum())
        right = targets[name][share].to(device, non_blocking=ahead)
        weight = weights[name].to(device, non_blocking=ahead)
        summed = F.cross_entropy(
            answered,
            right,
            weight,
            ignore_index=LEFT_OUT,
            reduction="sum",
            label_smoothing=smoothing,
        )
        loss = loss + summed / max(whole, 1e-12)
    return loss


def _sum_shares(
    logits: Mapping[str, Tensor],
    parts: tuple[tuple[Mapping[str, Tensor], Tensor], ...],
    weights: Mapping[str, Tensor],
    share: slice,
    smoothing: float,
) -> Tensor:
    """`summed_cross_entropy` of images that have several targets, each with its share (N,)."""
    device = next(iter(logits.values())).device
    loss = torch.zeros((), device=device)
    for name, answered in logits.items():
        weight, summed, whole = weights[name].to(device), torch.zeros((), device=device), 0.0
        for targets, counts in parts:
            known = targets[name] != LEFT_OUT
            whole += float((weights[name][targets[name][known]] * counts[known]).sum())
            each = F.cross_entropy(
                answered,
                targets[name][share].to(device),
                weight,
                ignore_index=LEFT_OUT,
                reduction="none",
                label_smoothing=smoothing,
            )
            summed = summed + (each * counts[share].to(device)).sum()
        loss = loss + summed / max(whole, 1e-12)
    return loss

"""What a training says of an epoch: the sums of its steps, and its validation figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from wbczoo.data.samples import LEFT_OUT


def step_sums(
    logits: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    share: slice,
    loss: Tensor,
    steps: float,
) -> Tensor:
    """What a step adds to an epoch's sums: loss, steps, then right and known for each task.

    Args:
        logits: task -> (n, classes) of this device's share of the batch.
        targets: task -> (N,) of the whole batch, on the CPU.
        steps: 1 over the number of devices, which all add theirs.

    Returns:
        (2 + 2 tasks,), on the device; nothing waits for it.
    """
    found = [loss, torch.full_like(loss, steps)]
    for name, answered in logits.items():
        right = targets[name][share].to(answered.device, non_blocking=loss.is_cuda)
        found += [(answered.argmax(1) == right).sum(), (right != LEFT_OUT).sum()]
    return torch.stack([number.to(loss.dtype) for number in found])


def of_training(sums: Tensor, tasks: Sequence[str]) -> dict[str, float]:
    """Mean loss and accuracies of an epoch, from its sums over all devices."""
    row = {"train_loss": float(sums[0] / sums[1])}
    for place, task in enumerate(tasks):
        right, known = sums[2 + 2 * place], sums[3 + 2 * place]
        row[f"train_{task}_accuracy"] = float(right / known.clamp(min=1))
    return row


def of_validation(
    logits: Mapping[str, NDArray[np.float32]], targets: Mapping[str, Tensor]
) -> dict[str, float]:
    """Loss, accuracy and balanced accuracy of each task, and what chooses the best epoch.

    `validation_score` is the mean of the tasks' balanced accuracies: a rare class counts as much
    as a common one. `validation_loss` decides between equal scores.
    """
    row: dict[str, float] = {}
    losses, scores = [], []
    for task, answers in logits.items():
        known = targets[task] != LEFT_OUT
        if not bool(known.any()):
            continue
        answered, right = torch.from_numpy(answers)[known], targets[task][known]
        hits = answered.argmax(1) == right
        recalls = [float(hits[right == c].double().mean()) for c in sorted(set(right.tolist()))]
        losses.append(float(F.cross_entropy(answered, right)))
        scores.append(sum(recalls) / len(recalls))
        row[f"validation_{task}_loss"] = losses[-1]
        row[f"validation_{task}_accuracy"] = float(hits.double().mean())
        row[f"validation_{task}_balanced_accuracy"] = scores[-1]
    row["validation_loss"] = sum(losses)
    row["validation_score"] = sum(scores) / max(len(scores), 1)
    return row

"""Many dense heads over the same cached features train together here, as `wbczoo train` would.

Over a frozen backbone a task's head is a linear layer on constant features, so that the heads of
many settings and seeds are slices of one stacked layer: one batched product answers all of them,
and the gradient of cross-entropy has a closed form. Each head keeps its own order of images, its
own learning rate and its own best epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wbczoo.data.batches import draw_order
from wbczoo.data.samples import LEFT_OUT
from wbczoo.training import epoch_metrics

# Kingma and Ba 2015, algorithm 1, with the constants of torch.optim.Adam.
_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


@dataclass
class Head:
    """One setting of the heads of all tasks: how it starts, what it learns from, what comes out.

    Attributes:
        weight: (D, K) over the K classes of all tasks side by side, at the start; afterwards of
            the best epoch.
        bias: (K,) likewise.
        train, validation: places in the features.
        curves: one row for each epoch, as a run's `metrics.jsonl` has them.
        best_epoch: from 0.
    """

    weight: Tensor
    bias: Tensor
    lr: float
    seed: int
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    curves: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    best_score: tuple[float, float] = (0.0, 0.0)
    failure: str = ""


class Stack:
    """The heads of one batch size as stacked parameters with their Adam moments.

    Args:
        heads: those with the most training images first.
        features: (R, D) float32, on the device.
        targets: task -> (R,) class indices, -1 left out, on the device.
        classes: task -> number of classes, in the order of the heads' columns.
    """

    def __init__(
        self,
        heads: Sequence[Head],
        features: Tensor,
        targets: Mapping[str, Tensor],
        classes: Mapping[str, int],
    ) -> None:
        device = features.device
        self.features, self.targets, self.classes = features, targets, classes
        self.weight = torch.stack([head.weight for head in heads]).to(device)  # (M, D, K)
        self.bias = torch.stack([head.bias for head in heads]).to(device)[:, None]  # (M, 1, K)
        self.rates = torch.tensor([head.lr for head in heads], device=device).double()
        self.steps = torch.zeros(len(heads), dtype=torch.float64, device=device)
        self._moments = [
            [torch.zeros_like(parameter) for _ in _BETAS] for parameter in (self.weight, self.bias)
        ]

    def step(self, chosen: Tensor, real: Tensor, sums: Tensor) -> None:
        """One step of Adam of the first heads, those whose epoch still has images.

        Args:
            chosen: (m, B) places in the features.
            real: (m, B) whether a place is an image, and not the filling of a last batch.
            sums: (M, 2 + 2 tasks), to which each head's loss, steps, right and known are added.
        """
        active = len(chosen)
        images = self.features[chosen]  # (m, B, D)
        logits = torch.baddbmm(self.bias[:active], images, self.weight[:active])  # (m, B, K)
        gradient = torch.empty_like(logits)
        found = sums[:active]
        for place, (task, columns) in enumerate(self.columns()):
            targets = self.targets[task][chosen]  # (m, B)
            known = real & (targets != LEFT_OUT)
            truth = targets.clamp(min=0)[..., None]
            likely = logits[..., columns].log_softmax(2)  # (m, B, C)
            share = known / known.sum(1, keepdim=True).clamp(min=1)  # (m, B)
            ours = likely.gather(2, truth)[..., 0]
            slopes = likely.exp()
            slopes.scatter_add_(2, truth, torch.full_like(ours, -1.0)[..., None])
            gradient[..., columns] = slopes * share[..., None]
            found[:, 0] -= (ours * share).sum(1)
            right = (likely.argmax(2) == targets) & known
            found[:, 2 + 2 * place] += right.sum(1)
            found[:, 3 + 2 * place] += known.sum(1)
        found[:, 1] += 1
        self.steps[:active] += 1
        self._descend(0, self.weight, images.transpose(1, 2) @ gradient)
        self._descend(1, self.bias, gradient.sum(1, keepdim=True))

    def answer(self, number: int, places: Tensor) -> dict[str, NDArray[np.float32]]:
        """Logits of one head for images at these places: task -> (N, classes)."""
        return answer(
            self.features[places], self.weight[number], self.bias[number, 0], self.classes
        )

    def columns(self) -> list[tuple[str, slice]]:
        """Each task with its columns."""
        return columns_of(self.classes)

    def _descend(self, kind: int, parameter: Tensor, gradient: Tensor) -> None:
        active = len(gradient)
        first, second = (moment[:active] for moment in self._moments[kind])
        first.lerp_(gradient, 1 - _BETAS[0])
        second.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
        done = self.steps[:active, None, None]
        rate = (self.rates[:active, None, None] / (1 - _BETAS[0] ** done)).float()
        spread = (1 - _BETAS[1] ** done).sqrt().float()
        parameter[:active] -= rate * first / (second.sqrt() / spread + _EPSILON)


def train_heads(
    heads: Sequence[Head],
    features: Tensor,
    targets: Mapping[str, Tensor],
    classes: Mapping[str, int],
    *,
    batch_size: int,
    epochs: int,
    advance: Callable[[int], object] = lambda count: None,
) -> None:
    """Train heads of one batch size together; each ends as `wbczoo train` would leave it.

    Order of images, loss, optimiser and choice of the best epoch are those of
    `wbczoo.training.train`, so a head differs from an ordinary training by the rounding of sums
    alone. A head whose loss becomes no number gets a `failure`, and the others go on.

    Args:
        features, targets, classes: as `Stack` takes them.
        advance: called with 1 after each epoch.
    """
    heads = sorted(heads, key=lambda head: -len(head.train))
    stack = Stack(heads, features, targets, classes)
    device = features.device
    counts = [len(head.train) for head in heads]
    most = math.ceil(counts[0] / batch_size)
    held = [torch.from_numpy(head.validation).to(device) for head in heads]
    for epoch in range(epochs):
        # (M, steps x B): each head's order, filled up to the longest with a place that is no image
        order = np.zeros((len(heads), most * batch_size), np.int64)
        for row, head in zip(order, heads, strict=True):
            row[: len(head.train)] = head.train[draw_order(head.seed, epoch, len(head.train))]
        places = torch.from_numpy(order).to(device)
        real = torch.arange(most * batch_size, device=device) < torch.tensor(
            counts, device=device
        ).view(-1, 1)
        sums = torch.zeros((len(heads), 2 + 2 * len(classes)), dtype=torch.float64, device=device)
        for start in range(0, most * batch_size, batch_size):
            active = sum(count > start for count in counts)
            batch = slice(start, start + batch_size)
            stack.step(places[:active, batch], real[:active, batch], sums)
        for number, head in enumerate(heads):
            _close_epoch(stack, number, head, epoch, held[number], sums[number].cpu())
        advance(1)


def _close_epoch(
    stack: Stack, number: int, head: Head, epoch: int, held: Tensor, sums: Tensor
) -> None:
    """Validate, write the row down, and keep the parameters if this is the best epoch."""
    if head.failure:
        return
    row = {"epoch": float(epoch + 1), **epoch_metrics.of_training(sums, list(stack.classes))}
    if len(held):
        answered = stack.answer(number, held)
        truth = {name: values[held].cpu() for name, values in stack.targets.items()}
        row.update(epoch_metrics.of_validation(answered, truth))
    if strange := [name for name, value in row.items() if not math.isfinite(value)]:
        head.failure = (
            f"In epoch {epoch + 1} {strange[0]} became no number; try a smaller learning rate."
        )
        return
    score = (row.get("validation_score", 1.0), -row.get("validation_loss", 0.0))
    if head.best_epoch < 0 or score > head.best_score or not len(held):
        head.best_epoch, head.best_score = epoch, score
        head.weight = stack.weight[number].clone()
        head.bias = stack.bias[number, 0].clone()
    head.curves.append(row)


def answer(
    features: Tensor, weight: Tensor, bias: Tensor, classes: Mapping[str, int]
) -> dict[str, NDArray[np.float32]]:
    """Logits of a head for features (N, D): task -> (N, classes) float32."""
    logits = (features @ weight + bias).cpu().numpy()
    return {name: logits[:, columns] for name, columns in columns_of(classes)}


def columns_of(classes: Mapping[str, int]) -> list[tuple[str, slice]]:
    """Each task with its columns among the classes of all tasks side by side."""
    ends = np.cumsum([*classes.values()]).tolist()
    return [
        (name, slice(end - size, end))
        for (name, size), end in zip(classes.items(), ends, strict=True)
    ]

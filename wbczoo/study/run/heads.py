"""Many dense heads over the same cached features train together here, as `wbczoo train` would.

Over a frozen backbone the heads of all tasks are one linear layer on constant features, so that
those of many settings and seeds are slices of one batched product. Each keeps its own order of
images, its own learning rate, its own state of Adam and its own best epoch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from wbczoo.data.batches import draw_order
from wbczoo.data.plan import Role
from wbczoo.data.samples import LEFT_OUT
from wbczoo.model.fused import FusedClassifier
from wbczoo.progress import bar
from wbczoo.study.plan.trial import NetworkTrial
from wbczoo.study.run.context import Context, build_trial, calibrate, fill_features, used_rows
from wbczoo.study.run.features import FeatureCache
from wbczoo.study.run.roles import Split
from wbczoo.study.run.row import Answered, Row, make_row
from wbczoo.training import epoch_metrics
from wbczoo.training.checkpoint import Progress
from wbczoo.training.inference import Logits


@dataclass
class Head:
    """The heads of all tasks of one trial's fold, side by side.

    Attributes:
        cache: of the features that they read.
        used: the rows of each role whose images could be read.
        weight: (D, K) over the K classes of all tasks; it trains.
        bias: (K,), likewise.
        best: both as they were in the best epoch.
        curves: one row for each epoch, as a run's `metrics.jsonl` has them.
        failure: why it has no result; empty if it has.
    """

    trial: NetworkTrial
    split: Split
    cache: FeatureCache
    used: dict[Role, tuple[int, ...]]
    weight: nn.Parameter
    bias: nn.Parameter
    best: tuple[Tensor, Tensor]
    progress: Progress = field(default_factory=Progress)
    curves: list[dict[str, float]] = field(default_factory=list)
    failure: str = ""

    def close_epoch(self, sums: Tensor, features: Tensor, targets: Mapping[str, Tensor]) -> None:
        """Validate, write the epoch down, and keep the parameters if it is the best so far.

        Args:
            sums: of its steps, as `epoch_metrics.of_training` reads them.
            features: (N, D) of the validation rows, on the device; there may be none.
            targets: task -> (N,) of the same rows, on the CPU.
        """
        if self.failure:
            return
        row = {"epoch": self.progress.epoch + 1.0}
        row.update(epoch_metrics.of_training(sums, list(targets)))
        if len(features):
            answered = self.answer(features, self.weight.detach(), self.bias.detach())
            row.update(epoch_metrics.of_validation(answered, targets))
        if strange := [name for name, value in row.items() if not math.isfinite(value)]:
            self.failure = (
                f"In epoch {self.progress.epoch + 1} {strange[0]} became no number; try a smaller "
                "learning rate."
            )
            return
        if self.progress.improves(row):
            self.best = self.weight.detach().clone(), self.bias.detach().clone()
        self.curves.append(row)
        self.progress.epoch += 1

    def answer(self, features: Tensor, weight: Tensor, bias: Tensor) -> Logits:
        """Logits for features (N, D): task -> (N, classes) float32."""
        logits = (features @ weight + bias).cpu().numpy()
        sizes = [len(task.classes) for task in self.split.tasks]
        pieces = np.split(logits, np.cumsum(sizes)[:-1], axis=1)
        return {task.name: piece for task, piece in zip(self.split.tasks, pieces, strict=True)}

    def test(self, weights: Mapping[str, Any]) -> Answered:
        """The test's answers by the best epoch; `weights` tell where the backbone's came from."""
        weight, bias = (tensor.cpu() for tensor in self.best)

        def logits(role: Role) -> Logits:
            hashes = self.split.rows_of(role).hashes
            used = [hashes[row] for row in self.used[role]]
            features = self.cache.gather(used) if used else weight.new_zeros(0, len(weight))
            return self.answer(features, weight, bias)

        truth = self.split.targets("validation", self.used["validation"])
        found = calibrate(logits("validation"), truth, logits("test"))
        best_epoch = self.progress.best_epoch + 1
        return Answered(self.split, self.used["test"], found, self.curves, best_epoch, weights)


def run_heads(
    trials: Sequence[NetworkTrial], context: Context
) -> Iterator[tuple[NetworkTrial, Row | str]]:
    """Train trials of a frozen backbone and no branch, together; equal but for seed, size and rate.

    Yields:
        each trial with its row, or with the reason why it has none.
    """
    started = time.perf_counter()
    stacks: dict[tuple[int, str], list[Head]] = {}
    weights = {}
    for seed in dict.fromkeys(trial.train.seed for trial in trials):
        mine = [trial for trial in trials if trial.train.seed == seed]
        model = build_trial(mine[0])
        weights[seed] = model.config.weights.model_dump()
        cache = context.features(model, "pooled")
        for trial in mine:
            stack = stacks.setdefault((trial.train.batch_size, cache.folder.name), [])
            for fold in trial.folds:
                split = context.library.split(trial, fold)
                fill_features(cache, split, context)
                stack.append(start_head(model, trial, split, cache))
    epochs = trials[0].train.epochs
    with bar(epochs * len(stacks), f"heads of {trials[0].model}", unit="epoch") as advance:
        for stack in stacks.values():
            train_stack(stack, context.device, advance)
    share = (time.perf_counter() - started) / len(trials)
    for trial in trials:
        folds = [head for stack in stacks.values() for head in stack if head.trial is trial]
        if failure := next((head.failure for head in folds if head.failure), ""):
            yield trial, failure
            continue
        tested = [head.test(weights[trial.train.seed]) for head in folds]
        yield trial, make_row(trial, tested, seconds=share, device=context.machine)


def start_head(
    model: FusedClassifier, trial: NetworkTrial, split: Split, cache: FeatureCache
) -> Head:
    """The heads of a model, as an ordinary training of the trial would start from them."""
    state = model.heads.state_dict()
    weight, bias = (
        torch.cat([state[f"{task.name}_head.{name}"] for task in split.tasks])
        for name in ("weight", "bias")
    )
    weight = weight.T.contiguous()
    return Head(
        trial, split, cache, used_rows(cache, split), nn.Parameter(weight), nn.Parameter(bias),
        (weight, bias),
    )  # fmt: skip


def train_stack(
    heads: Sequence[Head], device: torch.device, advance: Callable[[int], object]
) -> None:
    """Train heads of one batch size over one cache; each ends as `wbczoo train` would leave it.

    Order of images, loss, optimiser and choice of the best epoch are those of
    `wbczoo.training.train`, so a head differs from an ordinary training by the rounding of sums
    alone. A head whose loss becomes no number gets a `failure`, and the others go on.

    Args:
        advance: called with 1 after each epoch.
    """
    # MPS has no float64, in which sums are kept; the heads are small.
    device = device if device.type == "cuda" else torch.device("cpu")
    heads = sorted(heads, key=lambda head: -len(head.used["train"]))
    split, train = heads[0].split, heads[0].trial.train
    shown = sorted({row for head in heads for role in ("train", "validation")
                    for row in head.used[role]})  # fmt: skip
    # The last place holds no image: what fills up a batch, and no task knows its class.
    features = heads[0].cache.gather([split.rows.hashes[row] for row in shown])
    features = F.pad(features, (0, 0, 0, 1)).to(device)
    targets = {
        name: F.pad(torch.from_numpy(values[shown]), (0, 1), value=LEFT_OUT).to(device)
        for name, values in split.rows.targets(split.tasks).items()
    }
    place = np.zeros(len(split.rows), np.int64)
    place[shown] = np.arange(len(shown))
    sides = [[place[list(head.used[role])] for head in heads] for role in ("train", "validation")]
    training, held = sides
    truth = [{name: values[places].cpu() for name, values in targets.items()} for places in held]
    for head in heads:
        head.weight.data, head.bias.data = head.weight.data.to(device), head.bias.data.to(device)
    rates: dict[float, list[nn.Parameter]] = {}
    for head in heads:
        rates.setdefault(head.trial.train.lr, []).extend((head.weight, head.bias))
    # One kernel for a group's parameters: these steps are so short that calls are half of one.
    groups = [{"params": group, "lr": rate} for rate, group in rates.items()]
    optimizer = torch.optim.Adam(groups, fused=True)
    size = train.batch_size
    for _ in range(train.epochs):
        order = torch.from_numpy(_orders(heads, training, size, len(shown))).to(device)
        sums = torch.zeros((len(heads), 2 + 2 * len(targets)), dtype=torch.float64, device=device)
        for start in range(0, order.shape[1], size):
            active = sum(len(places) > start for places in training)
            chosen = order[:active, start : start + size]
            batch = {name: values[chosen] for name, values in targets.items()}
            sums[:active] += _step(heads[:active], features[chosen], batch, optimizer)
        for head, own, places, known in zip(heads, sums.cpu(), held, truth, strict=True):
            head.close_epoch(own, features[places], known)
        advance(1)


def _orders(
    heads: Sequence[Head], training: Sequence[NDArray[np.int64]], size: int, blank: int
) -> NDArray[np.int64]:
    """(M, steps x size) the places that each head meets in its epoch, filled up with the blank."""
    steps = math.ceil(len(training[0]) / size)
    order = np.full((len(heads), steps * size), blank)
    for row, head, places in zip(order, heads, training, strict=True):
        epoch, seed = head.progress.epoch, head.trial.train.seed
        row[: len(places)] = places[draw_order(seed, epoch, len(places))]
    return order


def _step(
    heads: Sequence[Head],
    features: Tensor,
    targets: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> Tensor:
    """One step of the heads whose epoch still has images.

    Args:
        features: (M, B, D).
        targets: task -> (M, B).

    Returns:
        (M, 2 + 2 tasks) what each adds to its epoch's sums.
    """
    weight = torch.stack([head.weight for head in heads])  # (M, D, K)
    bias = torch.stack([head.bias for head in heads])[:, None]  # (M, 1, K)
    logits = torch.baddbmm(bias, features, weight)  # (M, B, K)
    losses, counts = torch.zeros(len(heads), device=logits.device), []
    sizes = [len(task.classes) for task in heads[0].split.tasks]
    for truth, answered in zip(targets.values(), torch.split(logits, sizes, 2), strict=True):
        each = F.cross_entropy(answered.flatten(0, 1), truth.flatten(), ignore_index=LEFT_OUT,
                               reduction="none").view_as(truth)  # fmt: skip
        known = (truth != LEFT_OUT).sum(1)
        losses = losses + each.sum(1) / known.clamp(min=1)
        counts += [(answered.argmax(2) == truth).sum(1), known]
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(losses.sum())
    optimizer.step()
    return torch.stack([losses.detach(), torch.ones_like(losses), *counts], 1)

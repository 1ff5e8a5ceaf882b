"""Several classifiers answer as one: the mean of their calibrated probabilities."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from wbczoo.config import ModelConfig
from wbczoo.errors import UsageError
from wbczoo.model.fused import FusedClassifier


class Ensemble(nn.Module):
    """Classifiers of the same tasks that read the same pixels.

    Probabilities are averaged and not logits, for only they are on one scale (Lakshminarayanan et
    al. 2017, section 2.4). The logits are their logarithms, so that a softmax gives them again.

    Args:
        members: in evaluation mode, at least two.

    Raises:
        UsageError: if there are fewer, or one answers or reads otherwise than the first.
    """

    def __init__(self, members: Sequence[FusedClassifier]) -> None:
        super().__init__()
        refuse_unlike([member.config for member in members])
        self.members = nn.ModuleList(members)
        self.config: ModelConfig = members[0].config
        self.name = name_of([member.config.name for member in members])
        self.has_novelty = all(member.novelty is not None for member in members)

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """What the exported graph answers images (N, 3, H, W), uint8, by its outputs' names."""
        members = cast(Sequence[FusedClassifier], self.members)
        answers = [member.outputs(images) for member in members]
        found = {}
        for place, task in enumerate(self.config.tasks):
            logs = [
                (answer[f"{task.name}_logits"] / member.temperatures[place]).log_softmax(1)
                for answer, member in zip(answers, members, strict=True)
            ]
            # Of the logarithms, for a probability may be too small to be told from 0.
            logits = torch.stack(logs).logsumexp(0) - math.log(len(logs))
            found[f"{task.name}_logits"] = logits  # (N, classes)
            found[f"{task.name}_probabilities"] = logits.softmax(1)
        if self.has_novelty:
            found["novelty"] = torch.stack([answer["novelty"] for answer in answers]).mean(0)
        return found

    def merged(self) -> Ensemble:
        """This ensemble, or a copy whose members have their adapters in their layers."""
        return Ensemble(
            [member.merged() for member in cast(Sequence[FusedClassifier], self.members)]
        )


def refuse_unlike(configs: Sequence[ModelConfig]) -> None:
    """See that models can answer together.

    Raises:
        UsageError: if there are fewer than two, or one answers or reads otherwise than the first.
    """
    if len(configs) < 2:
        raise UsageError(f"An ensemble is of two runs or more, and there are {len(configs)}.")
    first = configs[0]
    for place, other in enumerate(configs[1:], 2):
        # Each normalises the pixels within the graph, by a mean of its own.
        mean, std = first.preprocessing.mean, first.preprocessing.std
        pixels = replace(other.preprocessing, mean=mean, std=std)
        for what, one, two in (
            ("tasks", first.tasks, other.tasks),
            ("preprocessing", first.preprocessing, pixels),
            ("finder of cells", first.finder_sha256, other.finder_sha256),
        ):
            if one != two:
                raise UsageError(
                    f"The members of an ensemble answer the same tasks about the same pixels, and "
                    f"the {what} of member {place} ({other.name}) differs from the first's "
                    f"({first.name}): {two} for {one}. Train it with the first's options."
                )


def name_of(names: Sequence[str]) -> str:
    """The ensemble's name of its members' in their order, such as `2 x resnet18 & densenet121`."""
    counted = Counter(names)
    return " & ".join(name if of == 1 else f"{of} x {name}" for name, of in counted.items())

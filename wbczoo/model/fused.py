"""A uint8 image goes in here and logits for each task come out (the report's Figure 1)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from wbczoo.config import ModelConfig, Norm, Trainable
from wbczoo.model.novelty import Novelty
from wbczoo.model.parts import find_last_block
from wbczoo.model.pretrained import HubModel
from wbczoo.specs import Reads

# ITU-R BT.601 luma, the grey of Pillow's and OpenCV's conversions.
GREY = (0.299, 0.587, 0.114)


class FusedClassifier(nn.Module, HubModel):
    """A backbone and a sequence branch side by side, and one dense layer for each task.

    Args:
        config: the composition; its preprocessing gives mean and std.
        backbone: (N, 3, H, W) -> (N, num_features, h, w), or None.
        sequence: what it reads -> (N, num_features), or None.
        reads: what the branch reads: `pixels`, grey (N, H, W); `colours`, RGB (N, 3, H, W), both
            in [0, 1]; or `features`, the feature map (N, C, h, w).

    Attributes:
        novelty: tells how far an image lies from all that the model learned; None before that is
            fitted, after training.
        initial: the digest of its state when it was built; empty where nobody noted it.
    """

    mean: Tensor
    std: Tensor
    grey: Tensor
    temperatures: Tensor

    def __init__(
        self,
        config: ModelConfig,
        backbone: nn.Module | None,
        sequence: nn.Module | None,
        reads: Reads,
    ) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.sequence = sequence
        self.reads = reads
        self.backbone_features = _width(backbone)
        self.sequence_features = _width(sequence)
        fused = self.backbone_features + self.sequence_features
        # The suffix keeps a task named `type` or `train` from meeting ModuleDict's own names.
        self.heads = nn.ModuleDict(
            {f"{task.name}_head": nn.Linear(fused, len(task.classes)) for task in config.tasks}
        )
        # One for each task, fitted on validation groups after training (Guo et al. 2017).
        self.register_buffer("temperatures", torch.ones(len(config.tasks)))
        self.novelty: Novelty | None = None
        self.initial = ""
        for name, values in (
            ("mean", config.preprocessing.mean),
            ("std", config.preprocessing.std),
            ("grey", GREY),
        ):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        self._open_prefixes: tuple[str, ...] = ("",)
        self._norm: Norm = "trained"

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Answer images.

        Args:
            images: uint8 RGB, (N, 3, H, W).

        Returns:
            task name -> logits (N, classes), before temperature.

        Raises:
            TypeError: if the images are of another type or laid out otherwise.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise TypeError(
                "The model reads uint8 RGB images (N, 3, H, W), not "
                f"{images.dtype} {tuple(images.shape)}: it scales and normalises them itself. Make "
                "them by PILToTensor instead of ToTensor, without Normalize; of images in [0, 1] "
                "by (images * 255).round().to(torch.uint8), of (N, H, W, 3) by "
                "images.permute(0, 3, 1, 2)."
            )
        return self.logits(self.fuse(images))

    def fuse(self, images: Tensor) -> Tensor:
        """What the heads read of images (N, 3, H, W), uint8 RGB: (N, C + S)."""
        scaled = images.float() / 255  # (N, 3, H, W) in [0, 1]
        features = []
        feature_map = None
        if self.backbone is not None:
            normalised = (scaled - self.mean) / self.std
            feature_map = self.backbone(normalised)  # (N, C, h, w)
            features.append(feature_map.float().mean((2, 3)))  # (N, C)
        if self.sequence is not None:
            read = feature_map if self.reads == "features" else self.shown(scaled)
            features.append(self.sequence(read).float())  # (N, S)
        return torch.cat(features, 1)  # (N, C + S)

    def shown(self, scaled: Tensor) -> Tensor:
        """What of images (N, 3, H, W) in [0, 1] a branch is shown that reads no feature map."""
        return (scaled * self.grey).sum(1) if self.reads == "pixels" else scaled

    @property
    def widths(self) -> tuple[int, int]:
        """The backbone's and the branch's part (C, S) of the fused features."""
        return self.backbone_features, self.sequence_features

    def logits(self, fused: Tensor) -> dict[str, Tensor]:
        """The logits (N, classes) of each task by its name, for fused features (N, C + S)."""
        return {
            task.name: self.heads[f"{task.name}_head"](fused).float() for task in self.config.tasks
        }

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """All that the exported graph answers images (N, 3, H, W), by its outputs' names."""
        fused = self.fuse(images)
        logits = self.logits(fused)
        probabilities = self.probabilities(logits)
        found = {}
        for task in self.config.tasks:
            found[f"{task.name}_logits"] = logits[task.name]
            found[f"{task.name}_probabilities"] = probabilities[task.name]
        if self.novelty is not None:
            found["novelty"] = self.novelty(fused, logits)
        return found

    def probabilities(self, logits: dict[str, Tensor]) -> dict[str, Tensor]:
        """Calibrated probabilities (N, classes) of each task's logits."""
        return {
            task.name: (logits[task.name] / self.temperatures[place]).softmax(1)
            for place, task in enumerate(self.config.tasks)
        }

    def open_for_training(self, trainable: Trainable, norm: Norm = "trained") -> None:
        """Choose what of the backbone trains; its adapters, the branch and the heads always do.

        A frozen part is frozen whole: its parameters, and its batch-norm statistics too. With
        `norm` frozen the open parts normalise by the statistics that they came with as well.

        Raises:
            WbczooError: if the last block is wanted of a backbone that names none.
        """
        self._norm = norm
        adapters = cast(tuple[str, ...], getattr(self.backbone, "adapters", ()))
        if self.backbone is None or trainable == "all":
            self._open_prefixes = ("",)
        elif trainable == "head":
            self._open_prefixes = adapters
        else:
            opened = find_last_block(self.config.backbone.name, self.backbone)
            self._open_prefixes = (*opened, *adapters)
        if self.backbone is not None:
            for name, parameter in self.backbone.named_parameters():
                parameter.requires_grad_(name.startswith(self._open_prefixes))
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set the training mode of all that trains; a frozen part stays in evaluation mode."""
        super().train(mode)
        if mode and self.backbone is not None and "" not in self._open_prefixes:
            self.backbone.train(False)
            for name, module in self.backbone.named_modules():
                if f"{name}.".startswith(self._open_prefixes):
                    module.training = True
        if mode and self.backbone is not None and self._norm == "frozen":
            for module in self.backbone.modules():
                if isinstance(module, _BatchNorm):
                    module.training = False
        return self

    @property
    def has_novelty(self) -> bool:
        """Whether its novelty was fitted."""
        return self.novelty is not None

    def merged(self) -> FusedClassifier:
        """This model, or where its backbone has adapters a copy that has them in its layers."""
        if not getattr(self.backbone, "adapters", ()):
            return self
        twin = copy.deepcopy(self)
        cast(Any, twin.backbone).merge_adapters(twin.backbone)
        return twin

    def move_to(self, device: torch.device) -> Self:
        """Move to a device, laid out channels last: half as fast again on a CPU in bf16."""
        return self.to(device).to(memory_format=torch.channels_last)

    def named_trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and parameters that an optimiser should change."""
        return (pair for pair in self.named_parameters() if pair[1].requires_grad)


def _width(part: nn.Module | None) -> int:
    return 0 if part is None else int(cast(int, part.num_features))

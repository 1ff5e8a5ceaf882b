"""A network's batch norms become group norms here, with all that they had learned."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_GROUPS = 32  # Wu and He 2018, arXiv:1803.08494, section 4.1


class FoldedGroupNorm(nn.Module):
    """Group norm of channels that a batch norm's running statistics have brought to one scale.

    Without that a group's mean and variance would be those of its loudest channel, and weights
    learned with batch norm would mean nothing. Its parameters and buffers have the batch norm's
    names, so that the same files fit.

    Args:
        norm: what it stands for; timm's own carry an activation with them.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        for name, buffer in norm.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        self.groups = math.gcd(norm.num_features, _GROUPS)
        self.drop = cast(nn.Module, getattr(norm, "drop", nn.Identity()))
        self.act = cast(nn.Module, getattr(norm, "act", nn.Identity()))

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise feature maps (N, C, h, w) within each image."""
        scale = torch.rsqrt(self.running_var + self.eps)
        maps = (maps - self.running_mean[:, None, None]) * scale[:, None, None]
        maps = F.group_norm(maps, self.groups, self.weight, self.bias, self.eps)
        return cast(Tensor, self.act(self.drop(maps)))


def fold_batch_norms(model: nn.Module) -> int:
    """Replace every two-dimensional batch norm of a model.

    Returns:
        how many there were.
    """
    found = 0
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, FoldedGroupNorm(child))
                found += 1
    return found

"""A small network and branch that keep the contract, and one that breaks it in each way."""

from __future__ import annotations

import socket
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Net(nn.Module):
    """(N, 3, H, W) -> (N, 24, H / 32, W / 32), as it should be."""

    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 16, stride=16)
        self.norm = nn.BatchNorm2d(16)
        self.last = nn.Conv2d(16, 24, 2, stride=2)
        self.num_features: Any = 24
        self.last_block: Any = ("last.",)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.last(F.gelu(self.norm(self.first(images))))
        return found


class FixedScale(Net):
    """A parameter that trains nowhere and is used is no fault."""

    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__(image_size)
        self.scale = nn.Parameter(torch.ones(24, 1, 1), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * self.scale


class Dialling(Net):
    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__(image_size)
        socket.socket().close()


class Raising(Net):
    def __init__(self, image_size: tuple[int, int]) -> None:
        raise RuntimeError("no network today")


class WidthLies(Net):
    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__(image_size)
        self.num_features = 7


class BatchBaked(Net):
    def forward(self, images: Tensor) -> Tensor:
        found = super().forward(images)
        return found.view(2, len(images) // 2, *found.shape[1:]).flatten(0, 1)


class ReadsNeighbours(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images - 0.3 * images.mean(0))


class DividesByNothing(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images / images.std((2, 3), keepdim=True))


class AnswersNaN(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * float("nan")


class Spare(Net):
    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__(image_size)
        self.classifier = nn.Linear(24, 1000)


class CutOff(Net):
    """Its token takes part in the forward, and is cut off from the answer."""

    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__(image_size)
        self.token = nn.Parameter(torch.zeros(1, 24, 1))

    def forward(self, images: Tensor) -> Tensor:
        found = super().forward(images)
        joined = torch.cat([self.token.expand(found.shape[0], -1, -1), found.flatten(2)], 2)
        return joined[:, :, 1:].unflatten(2, found.shape[2:])


class Forgets(Net):
    """What it multiplies with is no part of its state."""

    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__(image_size)
        self.scale = torch.rand(24, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * self.scale


class OtherDice(Net):
    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__(image_size)
        drawn = np.random.default_rng().normal(0, 0.1, self.last.weight.shape)
        self.last.weight.data = torch.tensor(drawn, dtype=torch.float32)


class NoSuchBlock(Net):
    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__(image_size)
        self.last_block = ("layer4.",)


class AllIsLast(Net):
    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__(image_size)
        self.last_block = ("first.", "norm.", "last.")


class Counts(Net):
    """A counter in its state moves with every forward, frozen or not."""

    seen: Tensor

    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__(image_size)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        if not torch.compiler.is_exporting():
            self.seen.add_(1)
        return super().forward(images)


class OneSize(Net):
    """Its positions are those of 64 x 64 pixels, whatever it is built for."""

    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__(image_size)
        self.positions = nn.Parameter(torch.randn(24, 2, 2))

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + self.positions


class AnotherGraph(Net):
    """The exporter sees another network than PyTorch runs."""

    def forward(self, images: Tensor) -> Tensor:
        found = super().forward(images)
        return found * 1.1 if torch.compiler.is_exporting() else found


class Reader(nn.Module):
    """Feature map (N, C, h, w) -> (N, 8): the last state of a GRU over its positions."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.positions = nn.GRU(in_channels, 8, batch_first=True)
        self.num_features = 8

    def forward(self, feature_map: Tensor) -> Tensor:
        states: Tensor = self.positions(feature_map.flatten(2).transpose(1, 2))[0]
        return states[:, -1]


class Orderless(nn.Module):
    """Feature map (N, C, h, w) -> (N, 8): the mean of what each position gives alone."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.each = nn.Linear(in_channels, 8)
        self.num_features = 8

    def forward(self, feature_map: Tensor) -> Tensor:
        return F.gelu(self.each(feature_map.flatten(2).transpose(1, 2))).mean(1)

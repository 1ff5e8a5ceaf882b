"""An RGB image goes in here; nucleus and cytoplasm are measured, and one vector comes out."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from wbczoo_nucleus.measures import COUNT, measure
from wbczoo_nucleus.regions import find_regions, shrink

_FURTHEST = 4.0  # standard deviations; what lies beyond is as far away as this


class Measured(nn.Module):
    """The measures of a cell, each on the scale of the training's images, and two dense layers.

    The measures hold no weights and need no gradient. They are computed in the image's own
    precision, and an exported graph has them in fp32 whatever the network's precision is.

    Args:
        image_size: (H, W) in pixels.
        hidden: half as many units as each dense layer has.
    """

    def __init__(self, image_size: tuple[int, int], hidden: int) -> None:
        super().__init__()
        self.factor = max(1, min(image_size) // 64)
        self.scale = Standardised(COUNT)
        self.layers = nn.Sequential(
            nn.Linear(COUNT, 2 * hidden), nn.ReLU(), nn.Linear(2 * hidden, 2 * hidden), nn.ReLU()
        )
        self.num_features = 2 * hidden

    def forward(self, colours: Tensor) -> Tensor:
        """RGB images (N, 3, H, W) in [0, 1] -> (N, num_features)."""
        return cast(Tensor, self.layers(self.scale(self.measures(colours))))

    def measures(self, colours: Tensor) -> Tensor:
        """The measures of images (N, 3, H, W) in [0, 1], (N, `COUNT`)."""
        return measure(find_regions(shrink(colours.detach().float(), self.factor)))


class Standardised(nn.Module):
    """Subtracts the mean of all that it met in training and divides by their spread.

    In training too it answers by the running figures and not by the batch's own, so that a batch
    of one image can be trained on, and no image's answer hangs on its neighbours in the batch.
    """

    mean: Tensor
    variance: Tensor
    met: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))
        self.register_buffer("met", torch.zeros(()))

    def forward(self, values: Tensor) -> Tensor:
        """Values (N, width) -> as many standard deviations from the mean, at most 4."""
        if self.training:
            self._meet(values.detach())
        scaled = (values - self.mean) / self.variance.clamp(min=1e-5).sqrt()
        return scaled.clamp(-_FURTHEST, _FURTHEST)

    @torch.no_grad()
    def _meet(self, values: Tensor) -> None:
        """Take a batch into the mean and the variance (Chan, Golub and LeVeque 1979)."""
        self.met += len(values)
        share = len(values) / self.met
        apart = values.mean(0) - self.mean
        spread = values.var(0, unbiased=False) + (1 - share) * apart**2
        self.variance += share * (spread - self.variance)
        self.mean += share * apart

"""How far an image lies from all that a model learned, as a number from its features and logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# A wider branch is averaged over neighbouring features, so that the axes stay few bytes.
_WIDEST = 1024

_NAMES = ("centre", "axes", "whiten", "means", "scales")


class Novelty(nn.Module):
    """The distance to the nearest class that was learned, and the energy of the logits, added.

    The distance is Mahalanobis' with one covariance for all classes (Lee et al. 2018), whole
    along a few principal axes and of one variance beyond them, of features whose parts have unit
    length. It finds what lies outside; the energy (Liu et al. 2020) finds what lies between
    classes. `docs/decisions/novelty.md` has the choice and its figures.

    Args:
        centre: (D,) the mean of the features.
        axes: (D, K) orthonormal.
        whiten: (K, K) after which the covariance within classes is the unit.
        means: (C, K) of the classes, whitened.
        scales: (4,) of what lies beyond the axes, squared; of the distance; of the energy; and
            what is added.
        widths: of the backbone's and the branch's part of the fused features; either may be 0.
    """

    centre: Tensor
    axes: Tensor
    whiten: Tensor
    means: Tensor
    scales: Tensor

    def __init__(
        self,
        centre: Tensor,
        axes: Tensor,
        whiten: Tensor,
        means: Tensor,
        scales: Tensor,
        widths: tuple[int, int],
    ) -> None:
        super().__init__()
        self.widths = widths
        for name, values in zip(_NAMES, (centre, axes, whiten, means, scales), strict=True):
            self.register_buffer(name, values)

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor], widths: tuple[int, int]) -> Self | None:
        """One of the shapes that a model's state holds, to be loaded; None where it holds none."""
        if not all(f"novelty.{name}" in state for name in _NAMES):
            return None
        shapes = {name: torch.zeros_like(state[f"novelty.{name}"]) for name in _NAMES}
        return cls(**shapes, widths=widths)

    def forward(self, fused: Tensor, logits: Mapping[str, Tensor]) -> Tensor:
        """(N,) for what the heads read of images, (N, C + S), and what they answered."""
        distance, energy = self.terms(condense(fused, self.widths), logits)
        return self.scales[1] * distance + self.scales[2] * energy + self.scales[3]

    def terms(self, features: Tensor, logits: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The distance and the energy, (N,) each, of condensed features (N, D)."""
        moved = features - self.centre
        placed = moved @ self.axes  # (N, K)
        # Not a difference of squares: where little lies beyond, it would be rounding alone.
        beyond = (moved - placed @ self.axes.T).square().sum(1)  # (N,)
        within = ((placed @ self.whiten)[:, None] - self.means).square().sum(2).amin(1)  # (N,)
        energy = -torch.stack([values.logsumexp(1) for values in logits.values()]).sum(0)
        return (within + self.scales[0] * beyond).sqrt(), energy


def condense(fused: Tensor, widths: tuple[int, int]) -> Tensor:
    """Fused features (N, C + S) whose parts have unit length, a wide branch averaged: (N, D)."""
    pooled, sequence = torch.split(fused, [*widths], 1)
    if widths[1] > _WIDEST:
        sequence = F.avg_pool1d(sequence[:, None], widths[1] // _WIDEST).squeeze(1)
    return torch.cat([F.normalize(part) for part in (pooled, sequence) if part.shape[1]], 1)

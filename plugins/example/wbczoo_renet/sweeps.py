"""A feature map goes in here and one vector comes out, after sweeps over columns and rows."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


class Sweeps(nn.Module):
    """One layer of ReNet: a sweep down and up each column, then one along each row.

    Args:
        in_channels: channels of the map that comes in.
        hidden: units in each direction.
    """

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__()
        self.columns = nn.GRU(in_channels, hidden, batch_first=True, bidirectional=True)
        self.rows = nn.GRU(2 * hidden, hidden, batch_first=True, bidirectional=True)

    def forward(self, grid: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, 2 hidden, h, w)."""
        height, width = grid.shape[2:]
        columns = grid.permute(0, 3, 2, 1).flatten(0, 1)  # (N w, h, C)
        swept, _ = self.columns(columns)  # (N w, h, 2 hidden)
        rows = swept.unflatten(0, (-1, width)).transpose(1, 2).flatten(0, 1)  # (N h, w, 2 hidden)
        swept, _ = self.rows(rows)  # (N h, w, 2 hidden)
        across: Tensor = swept.unflatten(0, (-1, height)).permute(0, 3, 1, 2)
        return across


class ReNet(nn.Module):
    """Layers of sweeps, and the mean over positions of what the last one leaves.

    Args:
        in_channels: channels of the feature map.
        hidden: units in each direction.
        layers: how many pairs of sweeps.
    """

    def __init__(self, in_channels: int, hidden: int, layers: int) -> None:
        super().__init__()
        widths = [in_channels] + layers * [2 * hidden]
        self.layers = nn.Sequential(*(Sweeps(width, hidden) for width, _ in pairwise(widths)))
        self.num_features = 2 * hidden

    def forward(self, feature_map: Tensor) -> Tensor:
        """Feature map (N, C, h, w) -> (N, num_features)."""
        swept: Tensor = self.layers(feature_map)  # (N, 2 hidden, h, w)
        # Each position has read the whole map in order, so their mean still depends on the order.
        return swept.mean((2, 3))

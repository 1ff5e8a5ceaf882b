"""Recurrent branches as torch modules: a grey image or a feature map in, one vector out."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn


class TwoPass(nn.Module):
    """Two bidirectional layers, the second across the first's axes (Gür and Kaya 2020).

    Args:
        cell: kind of recurrent layer.
        image_size: (H, W) in pixels.
        hidden: units in each direction.
    """

    def __init__(
        self, cell: Literal["LSTM", "GRU"], image_size: tuple[int, int], hidden: int
    ) -> None:
        super().__init__()
        height, width = image_size
        kind = nn.LSTM if cell == "LSTM" else nn.GRU
        self.rows = kind(width, hidden, batch_first=True, bidirectional=True)
        self.columns = kind(height, hidden, batch_first=True, bidirectional=True)
        self.num_features = (2 * hidden) ** 2

    def forward(self, grey: Tensor) -> Tensor:
        """Grey images (N, H, W) in [0, 1] -> (N, num_features)."""
        along_rows, _ = self.rows(grey)  # (N, H, 2 hidden)
        across, _ = self.columns(along_rows.transpose(1, 2))  # (N, 2 hidden, 2 hidden)
        return cast(Tensor, across.flatten(1))


class OverFeatures(nn.Module):
    """A bidirectional LSTM that reads a feature map's positions in raster order.

    Args:
        in_channels: channels of the feature map.
        hidden: units in each direction.
    """

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__()
        self.positions = nn.LSTM(in_channels, hidden, batch_first=True, bidirectional=True)
        self.num_features = 2 * hidden

    def forward(self, feature_map: Tensor) -> Tensor:
        """Feature map (N, C, h, w) -> (N, 2 hidden): both directions' last states."""
        sequence = feature_map.flatten(2).transpose(1, 2)  # (N, h w, C)
        states, _ = self.positions(sequence)  # (N, h w, 2 hidden)
        # The final states, read from the sequence of states: torch 2.11 exports the tensor of
        # final states itself with a batch of one.
        hidden = self.positions.hidden_size
        return torch.cat([states[:, -1, :hidden], states[:, 0, hidden:]], 1)

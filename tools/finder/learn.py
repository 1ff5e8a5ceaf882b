"""The finder's network and its loss."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (12, 20, 32, 48, 64)


def _layer(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Finder(nn.Module):
    """Middles and sides of the white and red cells that are 9 to 36 pixels wide.

    Absorbed light (N, 3, h, w) -> heat (N, 2, h/4, w/4) of white and of red cells, in training its
    logits, and strides to the left, top, right and bottom of the cell (N, 8, h/4, w/4), first of
    the white one. Fully convolutional: h and w are multiples of 32. A path down to 1/32 sees the
    red cells around, and a path up brings it back to each place (a U-net; Ronneberger, Fischer and
    Brox 2015); middles as in Zhou, Wang and Kraehenbuehl 2019.
    """

    def __init__(self) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth, last = WIDTHS
        self.stem = _layer(3, half, 2)
        self.down4 = nn.Sequential(_layer(half, quarter, 2), _layer(quarter, quarter))
        self.down8 = nn.Sequential(_layer(quarter, eighth, 2), _layer(eighth, eighth))
        self.down16 = nn.Sequential(_layer(eighth, sixteenth, 2), _layer(sixteenth, sixteenth))
        self.down32 = nn.Sequential(
            _layer(sixteenth, last, 2), _layer(last, last), _layer(last, last)
        )
        self.narrow16, self.up16 = _layer(last, sixteenth, kernel=1), _layer(sixteenth, sixteenth)
        self.narrow8, self.up8 = _layer(sixteenth, eighth, kernel=1), _layer(eighth, eighth)
        self.narrow4, self.up4 = _layer(eighth, quarter, kernel=1), _layer(quarter, quarter)
        self.answer = nn.Conv2d(quarter, 10, 1)
        self.head = _layer(quarter, quarter)
        with torch.no_grad():  # cells are rare, and two strides wide
            self.answer.bias.copy_(torch.tensor([-4.0] * 2 + [1.0] * 8))

    def forward(self, light: Tensor) -> tuple[Tensor, Tensor]:
        four = self.down4(self.stem(light))
        eight = self.down8(four)
        sixteen = self.down16(eight)
        up = self.up16(sixteen + _twice(self.narrow16(self.down32(sixteen))))
        up = self.up8(eight + _twice(self.narrow8(up)))
        up = self.up4(four + _twice(self.narrow4(up)))
        answer = self.answer(self.head(up))
        middles = answer[:, :2] if self.training else answer[:, :2].sigmoid()
        return middles, functional.softplus(answer[:, 2:])


def _twice(maps: Tensor) -> Tensor:
    return functional.interpolate(maps, scale_factor=2.0, mode="nearest")


def heat_loss(logits: Tensor, heat: Tensor, counts: Tensor) -> Tensor:
    """The focal loss of middles (Law and Deng 2018): (N, h, w) each."""
    likely = logits.sigmoid()
    middle = ((heat == 1) & (counts > 0)).float()
    right = functional.logsigmoid(logits) * (1 - likely) ** 2 * middle
    wrong = functional.logsigmoid(-logits) * likely**2 * (1 - heat) ** 4 * (1 - middle) * counts
    return -(right.sum() + wrong.sum()) / middle.sum().clamp(min=1)


def reach_loss(answer: Tensor, reach: Tensor, near: Tensor) -> Tensor:
    """1 - GIoU (Rezatofighi et al. 2019) of boxes around one place: (N, 4, h, w) each."""
    area, truth = ((box[:, 0] + box[:, 2]) * (box[:, 1] + box[:, 3]) for box in (answer, reach))
    least, most = torch.minimum(answer, reach), torch.maximum(answer, reach)
    both = (least[:, 0] + least[:, 2]) * (least[:, 1] + least[:, 3])
    around = (most[:, 0] + most[:, 2]) * (most[:, 1] + most[:, 3]) + 1e-6
    either = area + truth - both + 1e-6
    loss = 1 - both / either + (around - either) / around
    return (loss * near).sum() / near.sum().clamp(min=1)


def export(network: Finder, target: Path) -> None:
    """Write the network as ONNX with batch, height and width left open."""
    axes = {name: {0: "n", 2: f"{name}_h", 3: f"{name}_w"} for name in ("x", "heat", "reach")}
    network = network.eval().to(memory_format=torch.contiguous_format)
    torch.onnx.export(
        network,
        (torch.zeros(2, 3, 64, 96),),
        target,
        dynamo=False,
        input_names=["x"],
        output_names=["heat", "reach"],
        dynamic_axes=axes,
        opset_version=17,
    )

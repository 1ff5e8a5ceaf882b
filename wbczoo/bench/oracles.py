"""What others say of the same answers: Grad-CAM and occlusion, as captum computes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wbczoo.cells.crop import WHITE
from wbczoo.errors import UsageError
from wbczoo.images import Pixels
from wbczoo.runtime.maps import Floats, MappedNetwork
from wbczoo.runtime.session import Session

_BATCH = 16
_WINDOWS = 4  # along a side


def check_captum() -> None:
    """UsageError if captum is not installed."""
    try:
        import captum  # noqa: F401
    except ImportError:
        raise UsageError(
            "Grad-CAM and occlusion are computed by captum, which is not installed: pip install "
            "'wbczoo[bench]', or leave them out by --no-oracles."
        ) from None


class _Head(nn.Module):
    """A feature map (N, C, h, w) -> what speaks for each class rather than for the others."""

    def __init__(self, weights: Floats) -> None:
        super().__init__()
        self.map = nn.Identity()
        self.weights = torch.from_numpy((weights - weights.mean(0)).astype(np.float64))

    def forward(self, feature_map: Tensor) -> Tensor:
        pooled: Tensor = self.map(feature_map).mean((2, 3))
        return pooled @ self.weights.T


def grad_cam(network: MappedNetwork, task: str, pixels: Pixels, best: int) -> Floats:
    """Grad-CAM (Selvaraju et al. 2017) of a class at the backbone's last layer, with its signs.

    Args:
        network: whose head reads one feature map.
        pixels: uint8 (1, 3, H, W).
        best: the class's place in the task.

    Returns:
        (h, w).
    """
    from captum.attr import LayerGradCam

    ((tensor, weights),) = network.heads[task].maps.items()
    (feature_map,) = network.run([tensor], pixels)
    head = _Head(weights)
    read = torch.from_numpy(feature_map.astype(np.float64)).requires_grad_()
    found: Any = LayerGradCam(head, head.map).attribute(read, target=best)
    maps: Floats = found.detach().numpy()[0, 0]
    return maps


def occlusion(session: Session, task: str, pixels: Pixels, best: int) -> Floats:
    """How much a class's evidence falls where a window of empty slide covers the image.

    Zeiler and Fergus 2014; the window's side is a quarter of the image's, and it moves by half
    of that.

    Args:
        pixels: uint8 (1, 3, H, W).

    Returns:
        (H, W).
    """
    from captum.attr import Occlusion

    def evidence(shown: Tensor) -> Tensor:
        logits = session.run(shown.numpy().astype(np.uint8))[f"{task}_logits"]
        return torch.from_numpy(logits - logits.mean(1, keepdims=True))

    window = [max(2, side // _WINDOWS) for side in pixels.shape[2:]]
    found: Any = Occlusion(evidence).attribute(
        torch.from_numpy(pixels.astype(np.float32)),
        target=best,
        sliding_window_shapes=(3, *window),
        strides=(3, *(side // 2 for side in window)),
        baselines=float(WHITE),
        perturbations_per_eval=_BATCH,
    )
    fall: Floats = found.detach().numpy()[0].mean(0).astype(np.float64)
    return fall

"""A composition goes the whole way here, from names to an ONNX file that answers as it does."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wbczoo.errors import WbczooError
from wbczoo.exporting.graph import DEFAULT_OPSET, write_graph
from wbczoo.exporting.parity import BATCHES, compare
from wbczoo.exporting.trained import bare
from wbczoo.model.build import build
from wbczoo.model.compose import compose
from wbczoo.model.fused import FusedClassifier
from wbczoo.specs import Size
from wbczoo.training.loss import summed_cross_entropy


def steps(backbone: str, sequence: str, size: Size) -> Iterator[tuple[str, dict[str, Any]]]:
    """Go from step to step; each yields the next one's name and what the last one found.

    The steps are build, forward, train, export and parity.

    Raises:
        WbczooError: from the step that the composition does not take.
    """
    model = build(compose(backbone, sequence, image_size=size), seed=1)
    yield "forward", {"parameters": sum(value.numel() for value in model.parameters())}
    model.eval()
    images = noise_images(2, size)
    with torch.inference_mode():
        require_finite(model(torch.from_numpy(images)), "an answer")
    yield "train", {}
    model.open_for_training("all")
    make_step(model, torch.from_numpy(images))
    yield "export", {}
    model.eval()
    if model.sequence is not None:
        make_large(model.sequence)
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "model.onnx"
        write_graph(bare(model), graph, DEFAULT_OPSET)
        yield "parity", {}
        images = noise_images(max(BATCHES), size)
        parity = compare(model, graph, images, "noise images")
    if math.isnan(parity.difference):
        raise WbczooError("The exported graph answers with something that is no number.")
    yield "parity", {"difference": parity.difference, "bound": parity.bound}
    if not parity.holds:
        raise WbczooError(
            f"The exported graph differs from PyTorch by {parity.difference:.3g} in a logit, and "
            f"{parity.bound:.3g} is allowed."
        )


def noise_images(count: int, size: Size) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Images of noise, uint8 (count, 3, H, W), the same each time."""
    return np.random.default_rng(count).integers(0, 256, (count, 3, *size), np.uint8)


def make_step(model: FusedClassifier, images: Tensor) -> None:
    """One step of training on images (N, 3, H, W), labelled 0, 1, 0, 1...

    Raises:
        WbczooError: if a gradient is missing or no number.
    """
    model.train()
    optimizer = torch.optim.Adam((value for _, value in model.named_trainable()), lr=1e-3)
    targets = {task.name: torch.arange(len(images)) % 2 for task in model.config.tasks}
    weights = {task.name: torch.ones(len(task.classes)) for task in model.config.tasks}
    logits = model(images)
    torch.autograd.backward(summed_cross_entropy(logits, targets, weights, slice(None)))
    for name, value in model.named_trainable():
        if value.grad is None:
            raise WbczooError(f"No gradient reaches the parameter {name}.")
        require_finite({name: value.grad}, "the gradient")
    optimizer.step()


def make_large(module: nn.Module, spread: float = 0.25) -> None:
    """Draw all parameters anew, so large that gates saturate: small ones hide a wrong gate.

    Twice as large, a recurrent layer over hundreds of steps is chaotic: rounding alone parts
    float32 from float64 by more than the parity gate allows.
    """
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for value in module.parameters():
            value.copy_(torch.randn(value.shape, generator=generator) * spread)


def require_finite(found: dict[str, Tensor], what: str) -> None:
    """Raise WbczooError unless every value of every tensor is a number."""
    for name, values in found.items():
        if not bool(torch.isfinite(values).all()):
            raise WbczooError(f"The values of {what} ({name}) are not all finite.")

"""A model in PyTorch answers cached pixels here, for validation, evaluation and parity."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from wbczoo import machine
from wbczoo.data.batches import Batches
from wbczoo.errors import WbczooError
from wbczoo.model.fused import FusedClassifier
from wbczoo.text import first_line

Logits = dict[str, NDArray[np.float32]]


def choose_device(name: str) -> torch.device:
    """The device of a name: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        WbczooError: if it was asked for by name and is not there; never a silent other one.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        built = torch.version.cuda
        why = "no CUDA device or driver answers" if built else "this PyTorch is built without CUDA"
        raise WbczooError(
            f"CUDA was asked for, and {why}. Use --device cpu, or see `wbczoo doctor`."
        )
    if name == "mps" and not torch.backends.mps.is_available():
        raise WbczooError("MPS was asked for, and this machine has none. Use --device cpu.")
    return torch.device(name)


def use_bf16(model: FusedClassifier, precision: str, device: torch.device) -> bool:
    """Whether to compute in bfloat16; `auto` does where the hardware has it and each layer too.

    Args:
        model: on the device already.

    Raises:
        WbczooError: if bf16 was asked for by name, and a layer of the model has none here.
    """
    if precision == "fp32" or (precision == "auto" and not _has_bf16(device)):
        return False
    refusal = _refusal_of_bf16(model, device)
    if refusal is not None and precision == "bf16":
        raise WbczooError(
            f"{model.config.name} cannot be computed in bf16 on this {device.type}: {refusal}. "
            "Use --precision fp32, or auto, which takes bf16 only where it can."
        )
    return refusal is None


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and machine.has_bf16()


def _refusal_of_bf16(model: FusedClassifier, device: torch.device) -> str | None:
    """Why a layer refuses; asked by an image, for it depends on layer, processor and torch."""
    was_training = model.training
    image = torch.zeros(1, 3, *model.config.preprocessing.size, dtype=torch.uint8, device=device)
    try:
        # In evaluation mode nothing is learned of this image, and no random number is drawn.
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
            model.eval()(image)
    except RuntimeError as error:
        return first_line(error).partition(". ")[0]
    finally:
        model.train(was_training)
    return None


def predict_logits(
    model: FusedClassifier,
    batches: Batches,
    *,
    batch_size: int = 64,
    bf16: bool = False,
    advance: Callable[[int], object] = lambda count: None,
) -> Logits:
    """Logits of every image of `batches`, in order: task -> (N, classes) float32.

    The model is left in the mode that it was in.
    """
    was_training = model.training
    model.eval()
    found: dict[str, list[NDArray[np.float32]]] = {task.name: [] for task in model.config.tasks}
    with torch.inference_mode(), torch.autocast(batches.device.type, torch.bfloat16, enabled=bf16):
        for start in range(0, len(batches), batch_size):
            positions = np.arange(start, min(start + batch_size, len(batches)))
            for name, logits in model(batches.images(positions)).items():
                found[name].append(logits.float().cpu().numpy())
            advance(len(positions))
    model.train(was_training)
    return {
        task.name: np.concatenate(found[task.name])
        if found[task.name]
        else np.zeros((0, len(task.classes)), np.float32)
        for task in model.config.tasks
    }


def predict_outputs(
    model: FusedClassifier,
    batches: Batches,
    *,
    batch_size: int = 64,
    advance: Callable[[int], object] = lambda count: None,
) -> dict[str, NDArray[np.float32]]:
    """What the exported graph would answer every image of `batches`, in order, by its outputs.

    The model is in evaluation mode.
    """
    found: dict[str, list[NDArray[np.float32]]] = {}
    with torch.inference_mode():
        for start in range(0, len(batches), batch_size):
            positions = np.arange(start, min(start + batch_size, len(batches)))
            for name, values in model.outputs(batches.images(positions)).items():
                found.setdefault(name, []).append(values.cpu().numpy())
            advance(len(positions))
    return {name: np.concatenate(parts) for name, parts in found.items()}

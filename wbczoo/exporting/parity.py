"""The gate of every export: the ONNX file must answer as PyTorch does, at several batch sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from wbczoo.errors import WbczooError
from wbczoo.exporting.agreement import TOLERANCE
from wbczoo.model.ensemble import Ensemble
from wbczoo.model.fused import FusedClassifier
from wbczoo.runtime.model_file import NOVELTY
from wbczoo.runtime.session import Session

# An exporter that bakes the batch in is found by a batch of 1, an odd one and a larger one.
BATCHES = (1, 3, 17)


@dataclass(frozen=True)
class Parity:
    """How far the two may differ and do.

    Attributes:
        difference: the largest absolute difference of any logit.
        bound: `TOLERANCE` times the larger of 1 and the largest logit.
        images: how many were compared, and what they are.
        novelty: the largest difference of a novelty, in shares of what is allowed; 0 of a model
            that has none.
    """

    difference: float
    bound: float
    batches: tuple[int, ...]
    images: int
    source: str
    novelty: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether the export answers as the model does."""
        return self.difference <= self.bound and self.novelty <= 1  # False for NaN


def compare(
    model: FusedClassifier | Ensemble,
    graph: Path,
    pixels: NDArray[np.uint8],
    source: str,
    batches: Sequence[int] = BATCHES,
) -> Parity:
    """Ask both about the same images, `pixels` (N, 3, H, W) uint8, cycled to fill each batch.

    Raises:
        WbczooError: if onnxruntime refuses the graph, or a batch of it.
    """
    session = Session(graph, device="cpu")
    gaps, sizes = {"logits": 0.0, NOVELTY: 0.0}, {"logits": 1.0, NOVELTY: 1.0}
    for size in batches:
        images = pixels[np.arange(size) % len(pixels)]
        with torch.inference_mode():
            expected = model.outputs(torch.from_numpy(images))
        try:
            found = session.run(images)
        except Exception as error:  # onnxruntime's own exceptions share no public base
            raise WbczooError(f"The exported graph fails on a batch of {size}: {error}") from error
        for name, values in expected.items():
            kind = name.rpartition("_")[2]
            if kind in gaps:  # probabilities follow from logits
                reference = values.numpy()
                gap = float(np.abs(found[name] - reference).max())
                gaps[kind] = max(gaps[kind], gap) if np.isfinite(gap) else float("nan")
                sizes[kind] = max(sizes[kind], float(np.abs(reference).max()))
    bound = TOLERANCE * sizes["logits"]
    novelty = gaps[NOVELTY] / (TOLERANCE * sizes[NOVELTY])
    return Parity(gaps["logits"], bound, tuple(batches), len(pixels), source, novelty)

"""A model's two passes over a batch are recorded here once and replayed: a CUDA graph.

Of a small batch the GPU computes faster than Python launches its hundreds of kernels one by one.
A graph launches them all at once, and they are the same kernels on the same numbers.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree

from wbczoo.model.fused import FusedClassifier
from wbczoo.text import describe_error
from wbczoo.training.fit import Fit

# Recording takes about a second, so it is for trainings of many steps; and of a large batch the
# kernels take longer than their launches.
_WORTH_STEPS = 100
_LARGEST_BATCH = 64


class Passes(nn.Module):
    """A model as a function of tensors alone, which is what can be recorded."""

    def __init__(self, model: FusedClassifier, images: Any, bf16: bool) -> None:
        super().__init__()
        self.model = model
        self.bf16 = bf16
        leaves, self._shape = _pytree.tree_flatten(images)
        self._places = [place for place, leaf in enumerate(leaves) if leaf is not None]
        self._count = len(leaves)

    def tensors(self, images: Any) -> list[Tensor]:
        """What of a batch is a tensor; a branch that reads features is shown no pixels."""
        leaves, _ = _pytree.tree_flatten(images)
        return [leaves[place] for place in self._places]

    def forward(self, *tensors: Tensor) -> dict[str, Tensor]:
        """The model's logits."""
        leaves: list[Tensor | None] = [None] * self._count
        for place, tensor in zip(self._places, tensors, strict=True):
            leaves[place] = tensor
        images = _pytree.tree_unflatten(leaves, self._shape)
        # A cache of weights in bf16 would outlive the recording.
        with torch.autocast("cuda", torch.bfloat16, enabled=self.bf16, cache_enabled=False):
            answered: dict[str, Tensor] = self.model(images)
        return answered


def capture(fit: Fit) -> Callable[[Any], dict[str, Tensor]] | None:
    """Record the passes of a training, where that can be done and pays; None where not.

    Returns:
        a function that answers a batch of the training's full size as its model does, and through
        which gradients flow, of one batch at a time: logits and gradients hold until the next.
    """
    size, resident = fit.config.batch_size, fit.training.resident
    steps = fit.steps * (fit.config.epochs - fit.progress.epoch)
    if not resident or fit.accelerator.num_processes > 1 or len(fit.training) < size:
        return None
    if not worth_capturing(size, steps):
        return None
    fit.wrapped.train()
    images = fit.training.images(np.arange(size))
    passes = Passes(fit.model, images, fit.bf16)
    # The rounds that warm up move the statistics of an opened batch norm.
    before = {name: buffer.clone() for name, buffer in fit.model.named_buffers()}
    # The recording keeps its own stream, and so do the parameters' gradients with it. Autograd
    # waits for one on the other, which is meant here, and would warn of it once.
    torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
    try:
        with warnings.catch_warnings():
            # A first backward pass may say that its thread has met no GPU yet, and meets it.
            warnings.simplefilter("ignore", UserWarning)
            recorded: Any = torch.cuda.make_graphed_callables(
                passes, tuple(passes.tensors(images)), allow_unused_input=True
            )
    except Exception as error:  # whatever a plugin's module does that no graph can hold
        fit.tell(f"no CUDA graph of this model ({describe_error(error)}); it trains without")
        return None
    finally:
        with torch.no_grad():
            for name, buffer in fit.model.named_buffers():
                buffer.copy_(before[name])

    def answer(shown: Any) -> dict[str, Tensor]:
        answered: dict[str, Tensor] = recorded(*passes.tensors(shown))
        return answered

    return answer


def worth_capturing(batch_size: int, steps: int) -> bool:
    """Whether so many steps of such batches repay a recording.

    `WBCZOO_CUDA_GRAPHS=0` in the environment says that none does, and `=1` that all do.
    """
    asked = os.environ.get("WBCZOO_CUDA_GRAPHS")
    if asked in ("0", "1"):
        return asked == "1"
    return batch_size <= _LARGEST_BATCH and steps >= _WORTH_STEPS

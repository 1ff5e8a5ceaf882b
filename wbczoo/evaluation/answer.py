"""Rows of the pixel cache are answered here, by a run in PyTorch or by an export without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wbczoo.data.cache import PixelCache
from wbczoo.errors import UsageError
from wbczoo.progress import bar
from wbczoo.runtime.model_file import NOVELTY

if TYPE_CHECKING:
    from wbczoo.runtime.session import Session

# task -> (N, classes), and the novelty (N,) by its own name where the model tells it.
Probabilities = dict[str, NDArray[np.float32]]
Predict = Callable[[PixelCache, NDArray[np.int64]], Probabilities]


def predict_with_torch(model: Any, device: str) -> Predict:
    """How a run's model answers rows of the pixel cache, calibrated, and its novelty if any."""
    from wbczoo.data.batches import Batches
    from wbczoo.training.inference import choose_device, predict_outputs

    where = choose_device(device)
    model.move_to(where)

    def predict(cache: PixelCache, places: NDArray[np.int64]) -> Probabilities:
        batches = Batches(cache.pixels(), places, {}, where)
        with bar(len(places), "answering", unit="image") as advance:
            found = predict_outputs(model, batches, advance=advance)
        return _answers_of([task.name for task in model.config.tasks], found)

    return predict


def _answers_of(tasks: Sequence[str], outputs: Mapping[str, NDArray[np.float32]]) -> Probabilities:
    answers = {task: outputs[f"{task}_probabilities"] for task in tasks}
    return answers | ({NOVELTY: outputs[NOVELTY]} if NOVELTY in outputs else {})


def predict_with_session(session: Session, batch_size: int = 32) -> Predict:
    """How an export answers rows of the pixel cache, without torch.

    Raises:
        UsageError: if it resizes by itself and reads another size than the cache holds.
    """
    file = session.file
    if file.embedded and file.size not in (None, file.preprocessing.size):
        raise UsageError(
            f"{session.path} reads images as they come from its camera, which the pixel cache "
            "does not hold. Evaluate the run, or an export without --embed-preprocess."
        )

    def predict(cache: PixelCache, places: NDArray[np.int64]) -> Probabilities:
        pixels = cache.pixels()
        found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in file.outputs}
        with bar(len(places), "answering", unit="image") as advance:
            for start in range(0, len(places), batch_size):
                batch = pixels[places[start : start + batch_size]]  # (N, H, W, 3)
                outputs = session.run(batch if file.embedded else batch.transpose(0, 3, 1, 2))
                for name, kept in found.items():
                    kept.append(outputs[name])
                advance(len(batch))
        whole = {name: np.concatenate(kept) for name, kept in found.items()}
        return _answers_of([task.name for task in session.tasks], whole)

    return predict

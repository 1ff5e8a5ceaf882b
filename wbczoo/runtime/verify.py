"""An export's frozen example is replayed here, and its files are held against their hashes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wbczoo import files
from wbczoo.errors import UsageError, WbczooError
from wbczoo.images import Pixels
from wbczoo.runtime import devices
from wbczoo.runtime.session import INPUT, MODEL, Device, Session

Recorded = dict[str, NDArray[np.float64]]

CARD = "card.json"
EXAMPLE = "example.npz"

# Of the largest logit, where that is above 1. On the CPU the same arithmetic runs in another order
# at most. CUDA's libraries choose their algorithms, and in recurrent layers their precision; a
# wrong graph or wrong weights miss this bound all the same.
TOLERANCE = {devices.CPU: 1e-4, devices.CUDA: 1e-2}


@dataclass(frozen=True)
class Verification:
    """What a replay found.

    Attributes:
        model: the file that was replayed.
        provider: what computed.
        images: how many examples there are.
        logit_difference: the largest difference of any logit from the recorded one.
        probability_difference: likewise of the probabilities.
        bound: what neither may exceed: the provider's tolerance times the larger of 1 and the
            largest recorded logit.
        checked_files: whose hash the card gives, and which were held against it.
        problems: a sentence for each thing that does not hold.
    """

    model: str
    provider: str
    images: int
    logit_difference: float
    probability_difference: float
    bound: float
    checked_files: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether everything holds."""
        return not self.problems


def verify(model: str | Path, device: Device = "auto") -> Verification:
    """Replay the example beside a model, as one batch and image by image.

    Args:
        model: an export's folder, or its `model.onnx`, with `example.npz` beside it; if
            `card.json` is there too, the hashes that it gives are checked.
        device: as of `Session`.

    Raises:
        UsageError: if there is no such model.
        WbczooError: if the model cannot be opened, or the example is missing or no example.
    """
    session = Session(model, device=device)
    folder = session.path.parent
    checked, problems = _check_hashes(folder)
    images, recorded = _read_example(folder / EXAMPLE)
    try:
        together = session.run(images)
    except UsageError as error:
        raise WbczooError(f"{folder / EXAMPLE} does not fit the model. {error}") from None
    one_by_one = [session.run(images[i : i + 1]) for i in range(len(images))]
    alone = {name: np.concatenate([found[name] for found in one_by_one]) for name in together}
    if _shapes(recorded) != _shapes(alone):
        raise WbczooError(
            f"{folder / EXAMPLE} records {_shapes(recorded)}, and the model gives "
            f"{_shapes(alone)}: they are not of one export. Export the run again."
        )

    def difference(kind: str) -> float:
        names = [name for name in recorded if name.endswith(kind)]
        found = (np.abs(f[n] - recorded[n]).max() for f in (together, alone) for n in names)
        return float(np.max(list(found)))  # NaN if any is

    logits, probabilities = difference("_logits"), difference("_probabilities")
    largest = max(np.abs(recorded[name]).max() for name in recorded if name.endswith("_logits"))
    bound = TOLERANCE[session.provider] * max(1.0, float(largest))
    for what, found in (("logits", logits), ("probabilities", probabilities)):
        if not found <= bound:
            problems.append(
                f"The {what} differ from the recorded ones by {found:.2g}, and at most "
                f"{bound:.2g} is allowed: this model does not answer as it did when exported."
            )
    return Verification(
        model=str(session.path),
        provider=session.provider,
        images=len(images),
        logit_difference=logits,
        probability_difference=probabilities,
        bound=bound,
        checked_files=tuple(checked),
        problems=tuple(problems),
    )


def _check_hashes(folder: Path) -> tuple[list[str], list[str]]:
    """The files that the card gives a hash of, and a sentence for each that does not have it."""
    card = folder / CARD
    if not card.exists():
        return [], []
    hashes = files.read_json(card).get("files")
    if not isinstance(hashes, dict) or MODEL not in hashes:
        raise WbczooError(f"{card} gives no hash of {MODEL}. Export the run again.")
    problems = []
    for name, expected in hashes.items():
        path = folder / name
        if path.name != name:
            raise WbczooError(f"{card} names {name!r}, which is no file beside it.")
        if not path.is_file():
            problems.append(f"{path} is missing, although the card names it.")
        elif files.sha256_of(path) != expected:
            problems.append(f"{path} is not the file that was exported: its SHA-256 differs.")
    return list(hashes), problems


def _read_example(path: Path) -> tuple[Pixels, Recorded]:
    """The example's images, (N, 3, H, W), and what each output was, (N, classes) by its name."""
    if not path.is_file():
        raise WbczooError(
            f"{path} is not there, and without an example nothing can be replayed. "
            "Give an export's whole folder, or export the run again."
        )
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            images = archive[INPUT]
            recorded = {
                name: np.asarray(archive[name], np.float64) for name in archive if name != INPUT
            }
    except Exception as error:  # of a damaged archive numpy and zipfile make a dozen exceptions
        raise WbczooError(f"{path} is no readable example: {error}. Export the run again.") from (
            None
        )
    if (
        images.ndim == 0
        or len(images) == 0
        or not all(np.isfinite(v).all() for v in recorded.values())
    ):
        raise WbczooError(f"{path} holds no image, or no numbers. Export the run again.")
    return images, recorded


def _shapes(outputs: Mapping[str, NDArray[Any]]) -> str:
    return ", ".join(f"{name} {outputs[name].shape}" for name in sorted(outputs))

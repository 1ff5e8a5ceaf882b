"""An export's files are held against their hashes here, and then its frozen example is replayed."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wbczoo import files
from wbczoo.errors import UsageError, WbczooError
from wbczoo.images import Pixels
from wbczoo.runtime import devices
from wbczoo.runtime.card import Card
from wbczoo.runtime.folder import CARD, EXAMPLE, MODEL, find_model, folder_of
from wbczoo.runtime.model_file import INPUT, NOVELTY
from wbczoo.runtime.named import resolve
from wbczoo.runtime.opening import Device
from wbczoo.runtime.session import Session
from wbczoo.runtime.stopping import TIME_LIMIT
from wbczoo.text import one_line

Recorded = dict[str, NDArray[np.float64]]

# An export has eight examples. Beyond these a file is no mistake.
EXAMPLES = 64
EXAMPLE_BYTES = 1 << 30  # unpacked

# Of the largest logit, where that is above 1. On the CPU the same arithmetic runs in another order
# at most. CUDA's libraries choose their algorithms, and in recurrent layers their precision; a
# wrong graph or wrong weights miss this bound all the same.
TOLERANCE = {devices.CPU: 1e-4, devices.CUDA: 1e-2, devices.TENSORRT: 1e-2}

# What flows between the layers is rounded too, and a sum in another processor's order may round to
# the other side: by 2^-10 of a value in fp16, by 1/255 of a layer's range in int8.
ROUNDING = {"fp32": 0.0, "fp16": 1e-3, "int8": 1e-2}


@dataclass(frozen=True)
class Verification:
    """What a replay found, or why there was none.

    Attributes:
        model: the file that was replayed.
        provider: what computed; None if nothing was replayed, because the card disowns the model
            or the example. The differences and the bound are then NaN.
        images: how many examples were replayed.
        logit_difference: the largest difference of any logit from the recorded one.
        probability_difference: likewise of the probabilities.
        bound: what neither may exceed: the larger of the provider's and the precision's tolerance
            times the larger of 1 and the largest recorded logit.
        checked_files: whose hash the card gives, and which were held against it.
        problems: a sentence for each thing that does not hold.
    """

    model: str
    provider: str | None
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


def verify(
    model: str | os.PathLike[str], device: Device = "auto", time_limit: float = TIME_LIMIT
) -> Verification:
    """Hold an export's files against its card, then replay its example, as a batch and one by one.

    The hashes come first: a file that is not the exported one is not opened.

    Args:
        model: an export's folder, also one in a Triton repository, or its `model.onnx`, with
            `example.npz` beside it; if `card.json` is there too, the hashes that it gives are
            checked. Or a published model's name, or the address of an export on a hub, as
            `resolve` takes it.
        device, time_limit: as of `Session`.

    Raises:
        UsageError: if there is no such model.
        WbczooError: if the model cannot be opened; if the example is missing or no example; if the
            card is none, or names anything but files beside it; if any of them is a link that
            leads out of the folder.
    """
    path = find_model(resolve(model))
    folder = folder_of(path)
    for each in (path, folder / EXAMPLE, folder / CARD):
        _refuse_link_out(folder, each)
    if not (folder / EXAMPLE).is_file():
        raise WbczooError(
            f"{folder / EXAMPLE} is not there, and without an example nothing can be replayed. "
            "Give an export's whole folder, or export the run again."
        )
    checked, wrong = _check_hashes(folder, path)
    problems = [*wrong.values()]
    if {MODEL, EXAMPLE} & {*wrong}:
        problems.append("Nothing was replayed: a file that is not the exported one is not opened.")
        nan = float("nan")
        return Verification(str(path), None, 0, nan, nan, nan, checked, tuple(problems))
    session = Session(path, device=device, time_limit=time_limit)
    images, recorded = _read_example(folder / EXAMPLE, session.file.outputs)
    try:
        together = session.run(images)
    except UsageError as error:
        raise WbczooError(f"{folder / EXAMPLE} does not fit the model. {error}") from None
    one_by_one = [session.run(images[i : i + 1]) for i in range(len(images))]
    alone = {name: np.concatenate([found[name] for found in one_by_one]) for name in together}

    def difference(kind: str) -> float:
        names = [name for name in recorded if name.endswith(kind)]
        found = (np.abs(f[n] - recorded[n]).max() for f in (together, alone) for n in names)
        return float(np.max(list(found)))  # NaN if any is

    logits, probabilities = difference("_logits"), difference("_probabilities")
    largest = max(np.abs(recorded[name]).max() for name in recorded if name.endswith("_logits"))
    tolerance = max(TOLERANCE[session.provider], ROUNDING.get(session.file.precision, 0.0))
    bound = tolerance * max(1.0, float(largest))
    told = [("logits differ", logits, bound), ("probabilities differ", probabilities, bound)]
    if NOVELTY in recorded:
        own = tolerance * max(1.0, float(np.abs(recorded[NOVELTY]).max()))
        told.append(("novelties differ", difference(NOVELTY), own))
    for what, found, allowed in told:
        if not found <= allowed:
            problems.append(
                f"The {what} from the recorded ones by {found:.2g}, and at most "
                f"{allowed:.2g} is allowed: this model does not answer as it did when exported."
            )
    return Verification(
        model=str(path),
        provider=session.provider,
        images=len(images),
        logit_difference=logits,
        probability_difference=probabilities,
        bound=bound,
        checked_files=checked,
        problems=tuple(problems),
    )


def _refuse_link_out(folder: Path, path: Path) -> None:
    """WbczooError if a file of the folder is a link, or behind one, to a place outside it."""
    target = os.path.realpath(path)  # of links in a circle pathlib raises what is no OSError
    if not Path(target).is_relative_to(os.path.realpath(folder)):
        raise WbczooError(
            f"{path} is a link that leads out of its folder, and is not followed. Put the file "
            "itself in its place."
        )


def _check_hashes(folder: Path, model: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """The files that the card gives a hash of, and a sentence for each that does not have it."""
    card = Card.read(folder / CARD)
    if card is None:
        return (), {}
    hashes = card.hashes
    if missing := [name for name in (MODEL, EXAMPLE) if name not in hashes]:
        raise WbczooError(
            f"{card.path} gives no hash of {' and '.join(missing)}. Export the run again."
        )
    wrong = {}
    for name, expected in hashes.items():
        path = model if name == MODEL else folder / name
        _refuse_link_out(folder, path)
        if not path.is_file():
            wrong[name] = f"{path} is missing, although the card names it."
        elif files.sha256_of(path) != expected:
            wrong[name] = f"{path} is not the file that was exported: its SHA-256 differs."
    return tuple(hashes), wrong


def _read_example(path: Path, outputs: Mapping[str, tuple[int, ...]]) -> tuple[Pixels, Recorded]:
    """The example's images (N, ...), and what each output was, (N, ...) by its name."""
    try:
        with path.open("rb") as stream:
            with zipfile.ZipFile(stream) as archive:
                sizes = [(member.filename, member.file_size) for member in archive.infolist()]
            if sorted(name for name, _ in sizes) != sorted(f"{n}.npy" for n in (INPUT, *outputs)):
                raise _not_of(path, f"has to hold {', '.join((INPUT, *outputs))} and no more")
            # Said before it is unpacked; zipfile unpacks no more than was said.
            if (unpacked := sum(size for _, size in sizes)) > EXAMPLE_BYTES:
                raise WbczooError(
                    f"{path} would unpack to {unpacked} bytes, and an example to at most "
                    f"{EXAMPLE_BYTES}. Export the run again."
                )
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as arrays:
                images = arrays[INPUT]
                recorded = {name: arrays[name] for name in outputs}
            if not all(isinstance(each, np.ndarray) for each in (images, *recorded.values())):
                raise ValueError("a member is no array")  # numpy gives its bytes
    except WbczooError:
        raise
    except Exception as error:  # of a damaged archive numpy and zipfile make a dozen exceptions
        raise WbczooError(
            f"{path} is no readable example: {one_line(error)}. Export the run again."
        ) from None
    if images.ndim == 0 or not 0 < len(images) <= EXAMPLES:
        raise WbczooError(f"{path} holds no image, or more than {EXAMPLES}. Export the run again.")
    for name, shape in outputs.items():
        found = recorded[name]
        if found.dtype.kind != "f" or found.shape != (len(images), *shape):
            raise _not_of(path, f"records {name} as {found.dtype} {found.shape}")
        if not np.isfinite(found).all():
            raise WbczooError(f"{path} records no numbers as {name}. Export the run again.")
    return images, {name: each.astype(np.float64) for name, each in recorded.items()}


def _not_of(path: Path, why: str) -> WbczooError:
    return WbczooError(
        f"{path} and the model beside it are not of one export: it {why}. Export the run again."
    )

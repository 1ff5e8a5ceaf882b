"""What is an export already, as a published model, is laid out anew here, or in less precision."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from wbczoo import __version__, files, machine
from wbczoo.errors import UsageError, WbczooError
from wbczoo.exporting import bioimageio, place, triton, wsinfer
from wbczoo.exporting.card_page import to_markdown
from wbczoo.exporting.flags import FLAGS, drop_flags, write_flags
from wbczoo.exporting.maps import add_maps, drop_maps
from wbczoo.exporting.precision import Precision, lower_precision
from wbczoo.exporting.sources import real_images
from wbczoo.exporting.speed import Speed, measure_speed
from wbczoo.progress import Tell
from wbczoo.runtime.folder import CARD, EXAMPLE, FILES, MODEL, find_model, folder_of
from wbczoo.runtime.model_file import INPUT, ModelFile
from wbczoo.runtime.named import resolve
from wbczoo.runtime.session import Session
from wbczoo.runtime.verification import verify
from wbczoo.training import checkpoint


def find_export(path: str | os.PathLike[str]) -> Path | None:
    """The folder of an export by its path, its published name or its address; None of a run.

    Raises:
        UsageError, WbczooError: as `resolve` does.
    """
    folder = resolve(path)
    is_run = (folder / checkpoint.CONFIG).is_file()
    return folder if not is_run and (folder / CARD).is_file() else None


@dataclass(frozen=True)
class Lower:
    """How an export is put into less precision; the fields are arguments of `export`."""

    precision: Precision
    images: Path | None
    agreement: float | None
    speed: Speed


def lay_out_again(
    folder: Path, out: Path, lower: Lower, *, layout: place.Layout, overwrite: bool, tell: Tell
) -> dict[str, Any]:
    """Copy an export that answers as its card says, byte for byte where its precision stays.

    Args:
        folder: of the export.
        out: a new folder, a model repository or a file, as `export` takes it for the layout.
        lower: fp32 leaves any precision as it is.

    Returns:
        what `card.json` holds.

    Raises:
        UsageError: if `out` is taken, the layout wants PyTorch, or the precision cannot be had of
            this export, or not on these images.
        BoundMissed: if another precision answers otherwise than fp32; then nothing is written.
        WbczooError: if the export is damaged.
    """
    model = find_model(folder)
    replayed = verify(folder, device="cpu")
    if not replayed.ok:
        raise WbczooError(f"{folder} is damaged. {' '.join(replayed.problems)}")
    file = Session(model, device="cpu").file
    if layout == "wsinfer":
        wsinfer.refuse_crop(file.preprocessing)
        raise UsageError(
            f"{folder} is an export, and the TorchScript of --layout wsinfer is traced from "
            "PyTorch. Export the run that it was made from, with this layout."
        )
    changes = lower.precision not in ("fp32", file.precision)
    if changes:
        _refuse_lower(file, lower)
    elif lower.images is not None:
        raise UsageError(
            f"{folder} is copied as it is, which asks about no --images; leave it out."
        )
    document: dict[str, Any] = files.read_json(folder_of(model) / CARD)
    target, pack = out, None
    if layout == "triton":
        target = triton.claim(out, document["name"], overwrite)
    elif layout == "bioimageio":
        place.claim_file(out, overwrite)
        pack = bioimageio.pack
    else:
        place.claim(out, overwrite)
    with place.put_in_place(target, beside=out, pack=pack) as aside:
        for name in FILES:
            source = model if name == model.name else folder_of(model) / name
            if source.is_file():
                shutil.copyfile(source, aside / name)
        if changes:
            document = _lower(file, document, lower, aside, tell)
        if layout == "triton":
            triton.arrange(aside, file.tasks)
    return document


def _refuse_lower(file: ModelFile, lower: Lower) -> None:
    """See that a graph can be put into another precision."""
    if file.precision != "fp32":
        raise UsageError(
            f"{file.path} is in {file.precision}, and {lower.precision} is made of fp32. Export "
            f"the run that it was made from: wbczoo export RUN --precision {lower.precision} --out "
            "FOLDER. A published model is trained anew by its plan (docs/models.md)."
        )
    if file.embedded:
        raise UsageError(
            f"{file.path} resizes photographs itself, which stays in fp32. Export the run that it "
            f"was made from: wbczoo export RUN --embed-preprocess --precision {lower.precision} "
            "--out FOLDER."
        )
    if lower.images is None:
        raise UsageError(
            f"{lower.precision} is measured against fp32 on real images, which an export does not "
            "have. Name a folder of them by --images."
        )


def _lower(
    file: ModelFile, card: dict[str, Any], lower: Lower, aside: Path, tell: Tell
) -> dict[str, Any]:
    """Put a copy of an export into less precision, with its example; what its card then holds."""
    graph, example = aside / MODEL, aside / EXAMPLE
    (aside / CARD).unlink()  # it speaks of the graph as it was
    real = real_images(file.path.parent, file.preprocessing, lower.precision, lower.images)
    proto = onnx.load(graph)
    had_flags = FLAGS in {each.name for each in proto.graph.output}
    drop_flags(proto)
    had_maps = drop_maps(proto.graph)
    onnx.save(proto, graph)
    changed: dict[str, Any] = {"precision": lower.precision}
    changed["agreement"] = lower_precision(graph, lower.precision, real, lower.agreement, tell)
    if had_flags and file.limits is not None:
        write_flags(graph, file.tasks, file.limits)
    with np.load(example) as held:
        images = held[INPUT]
    if had_maps:
        changed["maps"] = add_maps(graph, images)
    session = Session(graph, device="cpu")
    arrays: dict[str, Any] = {INPUT: images, **session.run(images)}
    np.savez_compressed(example, **arrays)
    if lower.speed != "none":
        tell("measuring its speed")
    document = {
        **{name: value for name, value in card.items() if name != "wsinfer"},
        **changed,
        "speed": measure_speed(session, images, lower.speed),
        "files": {path.name: files.sha256_of(path) for path in (graph, example)},
        "bytes": graph.stat().st_size,
        "wbczoo": __version__,
        "versions": machine.describe()["packages"],
    }
    files.write_json(aside / CARD, document)
    files.write_text(aside / "card.md", to_markdown(document))
    return document

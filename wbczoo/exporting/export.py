"""One export, start to end: graph, gates, example, figures, card; one rename puts it in place."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wbczoo import files, progress
from wbczoo.errors import UsageError, WbczooError
from wbczoo.exporting import bioimageio, card, example, parity, place, trained, triton, wsinfer
from wbczoo.exporting.again import Lower, find_export, lay_out_again
from wbczoo.exporting.card_page import to_markdown
from wbczoo.exporting.flags import write_flags
from wbczoo.exporting.graph import DEFAULT_OPSET, write_graph
from wbczoo.exporting.maps import add_maps
from wbczoo.exporting.precision import Precision, lower_precision
from wbczoo.exporting.resize import compare_resize, embed, refuse_crop
from wbczoo.exporting.sources import cached_images, given_images, real_images
from wbczoo.exporting.speed import Speed, measure_speed
from wbczoo.exporting.trained import Trained
from wbczoo.images import Pixels
from wbczoo.model.fused import FusedClassifier
from wbczoo.progress import Tell
from wbczoo.runtime.session import Session
from wbczoo.specs import Preprocessing
from wbczoo.training.statistics import restate_evenly

_PARITY_IMAGES = max(parity.BATCHES)

# Each of the two passes may round a value that lies between two numbers to the other side.
_RESIZE_STEPS = 2

# Of a laboratory's images: so many tell statistics well, and fewer than these do not.
_STATISTICS, _FEWEST_STATISTICS = 2048, 50

_CAMERA = (480, 640)  # on which speed is measured where any size is read


def export(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    fold: int | None = None,
    ensemble: bool = False,
    images: str | os.PathLike[str] | None = None,
    statistics_from: str | os.PathLike[str] | None = None,
    trained_elsewhere: str | None = None,
    precision: Precision = "fp32",
    agreement: float | None = None,
    embed_preprocess: bool = False,
    camera: tuple[int, int] | None = None,
    layout: place.Layout = "folder",
    um_per_pixel: float | None = None,
    opset: int = DEFAULT_OPSET,
    speed: Speed = "full",
    maps: bool = False,
    overwrite: bool = False,
    tell: Tell = progress.tell,
) -> dict[str, Any]:
    """Export a run as `model.onnx`, `card.json`, `card.md` and `example.npz`.

    Args:
        run: a trained run or its folder, or one that `build --out` saved; or an export as
            `wbczoo.load` takes it, which is copied byte for byte, but for another precision.
        out: a new folder; an earlier export is replaced if `overwrite`. With the layout `triton`
            a model repository, which may hold other models; with `bioimageio` a file.
        fold: of a folder of several folds' runs, which one.
        ensemble: export all runs of the folder as one model, whose probabilities are the mean of
            theirs.
        images: real images for the gates; the run's own cached ones if None.
        statistics_from: images of the laboratory that will ask, without labels; batch norms then
            answer by their statistics (`restate_evenly`), and no evaluation stands on the card.
        trained_elsewhere: of a model that an own loop trained, what it was trained on, in words
            for the card; as `save_run` was told if None.
        precision: of the weights; another than fp32 is measured against it.
        agreement: the share of answers equal to fp32's that is enough, however far a probability
            is off; the precision's own bound if None.
        embed_preprocess: let the graph read photographs and resize them itself.
        camera: the one size (H, W) of photographs that it then reads; any if None.
        layout: what is written; `wsinfer` is an export's folder with TorchScript for QuPath in it.
        um_per_pixel: with `wsinfer`: micrometres that a pixel of what the model reads spans.
        opset: of the ONNX standard's default domain, at least 18.
        speed: how it is measured for the card; `short` is one round, `none` not at all.
        maps: let the graph tell what each position adds to a logit (`add_maps`).

    Returns:
        what `card.json` holds.

    Raises:
        UsageError: if there is no run or its training has not ended, `out` is taken, too few
            images are there to measure another precision or to tell statistics, the model has
            none, images that are cropped are to be resized in the graph, or maps are wanted of a
            model without positions.
        BoundMissed: if another precision answers otherwise than fp32; then nothing is written.
        WbczooError: if the graph cannot be made or misses parity; then nothing is written.
    """
    if camera is not None and not embed_preprocess:
        raise UsageError("--camera-size says what --embed-preprocess reads; give both.")
    if agreement is not None and precision == "fp32":
        raise UsageError("--agreement is with fp32; give --precision fp16 or int8 too.")
    if um_per_pixel is not None and layout != "wsinfer":
        raise UsageError("--um-per-pixel is for --layout wsinfer; give both.")
    out = Path(out).resolve()
    images = None if images is None else Path(images)
    if (made_before := find_export(run)) is not None:
        changes = {
            "--fold": fold, "--ensemble": ensemble, "--statistics-from": statistics_from,
            "--trained-elsewhere": trained_elsewhere, "--embed-preprocess": embed_preprocess,
            "--opset": opset != DEFAULT_OPSET, "--maps": maps,
        }  # fmt: skip
        if asked := [option for option, value in changes.items() if value not in (None, False)]:
            raise UsageError(
                f"{run} is an export already, whose graph stays; {asked[0]} is for the run that it "
                "was made from. Leave it out, or export that run."
            )
        lower = Lower(precision, images, agreement, speed)
        return lay_out_again(made_before, out, lower, layout=layout, overwrite=overwrite, tell=tell)
    run = Path(run)
    if layout in ("folder", "wsinfer"):
        place.claim(out, overwrite)
    elif layout == "bioimageio":
        place.claim_file(out, overwrite)
    if ensemble:
        of_one = {
            "--fold": fold,
            "--statistics-from": statistics_from,
            "--trained-elsewhere": trained_elsewhere,
        }
        if given := [option for option, value in of_one.items() if value is not None]:
            raise UsageError(
                f"--ensemble exports all runs of a folder as they are; leave out {given[0]}."
            )
    made = trained.load_ensemble(run) if ensemble else trained.load(run, fold, trained_elsewhere)
    model, target = made.model, out
    if layout == "triton":
        target = triton.claim(out, made.name, overwrite)
    preprocessing = model.config.preprocessing
    if embed_preprocess:
        refuse_crop(preprocessing)
    if layout == "wsinfer":
        wsinfer.refuse(preprocessing, um_per_pixel)
    statistics = None
    if statistics_from is not None and isinstance(model, FusedClassifier):
        statistics = _restate(model, preprocessing, Path(statistics_from), tell)
    real = None
    if precision != "fp32":
        real = real_images(made.cached, preprocessing, precision, images)
    photographs = example.drawn_photographs()
    drawn = example.read_by_model(photographs, preprocessing)
    compared, source = _for_parity(made.cached, preprocessing, images, drawn, tell)
    pack = bioimageio.pack if layout == "bioimageio" else None
    with place.put_in_place(target, beside=out, pack=pack) as aside:
        graph = aside / "model.onnx"
        tell("writing the graph")
        write_graph(made, graph, opset)
        tell(f"comparing it with PyTorch on {len(compared)} {source}")
        found = _check_parity(made, graph, compared, source)
        measured: dict[str, Any] = {"precision": precision, "agreement": None, "embedded": None}
        measured |= {"statistics": statistics} if statistics else {}
        if um_per_pixel is not None:
            tell("writing TorchScript")
            measured["wsinfer"] = wsinfer.write_scripts(
                model, made.name, um_per_pixel, compared, aside / place.WSINFER
            )
        if real is not None:
            measured["agreement"] = lower_precision(graph, precision, real, agreement, tell)
        if embed_preprocess:
            embed(graph, preprocessing, camera)
            drawn = example.of_camera(photographs, camera) if camera else photographs
            measured["embedded"] = _check_resize(drawn, preprocessing, camera)
        if made.limits is not None:
            write_flags(graph, model.config.tasks, made.limits)
        if maps:
            measured["maps"] = add_maps(graph, drawn)
        # The example holds what this file answers, so that a replay elsewhere tells that place.
        session = Session(graph, device="cpu")
        arrays: dict[str, Any] = {"images": drawn, **session.run(drawn)}
        np.savez_compressed(aside / "example.npz", **arrays)
        if speed != "none":
            tell("measuring its speed")
        timed = example.of_camera(drawn, _CAMERA) if embed_preprocess and not camera else drawn
        measured["speed"] = measure_speed(session, timed, speed)
        document = card.describe(made, aside, found, opset, measured)
        files.write_json(aside / "card.json", document)
        try:
            files.write_text(aside / "card.md", to_markdown(document))
        except (KeyError, TypeError, AttributeError) as error:
            raise WbczooError(
                f"A summary or evaluation in {made.folder} is damaged: {error} is missing or "
                "strange. Delete that file, or evaluate the run again."
            ) from None
        if layout == "triton":
            triton.arrange(aside, model.config.tasks)
    return document


def _restate(
    model: FusedClassifier, preprocessing: Preprocessing, images: Path, tell: Tell
) -> dict[str, Any]:
    """Let a model's batch norms answer by the statistics of images; what the card says of it."""
    pixels = given_images(images, preprocessing, _STATISTICS)
    if len(pixels) < _FEWEST_STATISTICS:
        raise UsageError(
            f"Statistics want at least {_FEWEST_STATISTICS} different images, and {images} has "
            f"{len(pixels)}. Name a folder with more of them; they need no labels."
        )
    tell(f"estimating statistics on {len(pixels)} images")
    rows = np.arange(len(pixels))
    if not restate_evenly(model, pixels.transpose(0, 2, 3, 1), rows, torch.device("cpu")):
        raise UsageError(
            f"{model.config.name} has no batch norm, so that it answers by no statistics. Export "
            "it without them."
        )
    return {"images": len(pixels)}


def _for_parity(
    run_folder: Path, preprocessing: Preprocessing, images: Path | None, drawn: Pixels, tell: Tell
) -> tuple[Pixels, str]:
    """The images that the graph and PyTorch are asked about, and what they are."""
    if images is not None:
        return given_images(images, preprocessing, _PARITY_IMAGES), "given images"
    cached = cached_images(run_folder, preprocessing, _PARITY_IMAGES)
    if len(cached):
        return cached, "training images"
    tell(
        "parity is measured on synthetic images, for the run has no cached ones; "
        "--images PATH measures it on real ones"
    )
    return drawn, "synthetic images"


def _check_parity(made: Trained, graph: Path, compared: Pixels, source: str) -> parity.Parity:
    found = parity.compare(made.model, graph, compared, source)
    if math.isnan(found.difference):
        raise WbczooError(
            f"{made.folder} answers with NaN: its weights are no numbers. Train it again with a "
            "smaller --lr."
        )
    if not found.holds:
        raise WbczooError(
            f"The exported graph differs from PyTorch by {found.difference:.3g} in a logit, "
            f"and {found.bound:.3g} is allowed, or by {found.novelty:.3g} times what is allowed "
            "in a novelty; it was not written. Another --opset may help; "
            "the part that differs should be reported to its author."
        )
    return found


def _check_resize(
    drawn: Pixels, preprocessing: Preprocessing, camera: tuple[int, int] | None
) -> dict[str, Any]:
    """What the card says of the resize within the graph: it must be the runtime's own."""
    steps = compare_resize(drawn, preprocessing, camera)
    if steps > _RESIZE_STEPS:
        raise WbczooError(
            f"The resize in the graph differs from Pillow's by {steps} of 255 steps, and "
            f"{_RESIZE_STEPS} are allowed; it was not written. Another version of Pillow may be "
            "installed than the one whose resize it follows, 13; leave out --embed-preprocess."
        )
    return {
        "camera": list(camera) if camera else None,
        "largest_difference": steps,
        "of": 255,
        "images": len(drawn),
        "source": "drawn images",
        "size": list(drawn.shape[1:3]),
    }

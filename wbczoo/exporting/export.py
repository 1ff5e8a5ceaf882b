"""One export, start to end: graph, gates, example, figures, card; one rename puts it in place."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from wbczoo import files, progress
from wbczoo.errors import UsageError, WbczooError
from wbczoo.exporting import card, example, parity, place, triton
from wbczoo.exporting.card_page import to_markdown
from wbczoo.exporting.flags import write_flags
from wbczoo.exporting.graph import DEFAULT_OPSET, write_graph
from wbczoo.exporting.precision import Precision, lower_precision
from wbczoo.exporting.resize import compare_resize, embed, refuse_crop
from wbczoo.exporting.sources import cached_images, given_images, real_images
from wbczoo.exporting.speed import Speed, measure_speed
from wbczoo.images import Pixels
from wbczoo.model.fused import FusedClassifier
from wbczoo.progress import Tell
from wbczoo.runtime.flags import Limits
from wbczoo.runtime.session import Session
from wbczoo.specs import Preprocessing
from wbczoo.training import checkpoint
from wbczoo.training.statistics import restate_evenly

Layout = Literal["folder", "triton"]

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
    images: str | os.PathLike[str] | None = None,
    statistics_from: str | os.PathLike[str] | None = None,
    trained_elsewhere: str | None = None,
    precision: Precision = "fp32",
    agreement: float | None = None,
    embed_preprocess: bool = False,
    camera: tuple[int, int] | None = None,
    layout: Layout = "folder",
    opset: int = DEFAULT_OPSET,
    speed: Speed = "full",
    overwrite: bool = False,
    tell: Tell = progress.tell,
) -> dict[str, Any]:
    """Export a run as `model.onnx`, `card.json`, `card.md` and `example.npz`.

    Args:
        run: a trained run or its folder, or one that `build --out` saved.
        out: a new folder; an earlier export is replaced if `overwrite`. With the layout `triton`
            a model repository, which may hold other models.
        fold: of a folder of several folds' runs, which one.
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
        opset: of the ONNX standard's default domain, at least 18.
        speed: how it is measured for the card; `short` is one round, `none` not at all.

    Returns:
        what `card.json` holds.

    Raises:
        UsageError: if there is no run or its training has not ended, `out` is taken, too few
            images are there to measure another precision or to tell statistics, the model has
            none, or images that are cropped are to be resized in the graph.
        BoundMissed: if another precision answers otherwise than fp32; then nothing is written.
        WbczooError: if the graph cannot be made or misses parity; then nothing is written.
    """
    if camera is not None and not embed_preprocess:
        raise UsageError("--camera-size says what --embed-preprocess reads; give both.")
    if agreement is not None and precision == "fp32":
        raise UsageError("--agreement is with fp32; give --precision fp16 or int8 too.")
    run_folder, out = _fold_of(Path(run), fold), Path(out).resolve()
    images = None if images is None else Path(images)
    if layout == "folder":
        place.claim(out, overwrite)
    config, model = checkpoint.load_model(run_folder)
    if config.train is not None and not (run_folder / checkpoint.SUMMARY).is_file():
        # Its best epoch so far would go out uncalibrated, under a card that says “never trained”.
        raise UsageError(
            f"{run_folder} is a training that has not ended: it has no {checkpoint.SUMMARY}, and "
            "its probabilities are not calibrated. Let it end, or go on by its `wbczoo train` "
            "command with --resume."
        )
    if trained_elsewhere is not None:
        if config.train is not None:
            raise UsageError(
                f"{run_folder} was trained by wbczoo, and its card says on what. Leave out "
                "--trained-elsewhere."
            )
        config = config.model_copy(update={"trained_on": trained_elsewhere.strip()})
    target = out
    if layout == "triton":
        target = triton.claim(out, config.model.name, overwrite)
    limits = _limits_of(run_folder, model)
    preprocessing = config.model.preprocessing
    if embed_preprocess:
        refuse_crop(preprocessing)
    statistics = None
    if statistics_from is not None:
        statistics = _restate(model, preprocessing, Path(statistics_from), tell)
    real = None
    if precision != "fp32":
        real = real_images(run_folder, preprocessing, precision, images)
    photographs = example.drawn_photographs()
    drawn = example.read_by_model(photographs, preprocessing)
    compared, source = _for_parity(run_folder, preprocessing, images, drawn, tell)
    weights_sha256 = files.sha256_of(run_folder / checkpoint.MODEL)
    with place.put_in_place(target, beside=out) as aside:
        graph = aside / "model.onnx"
        tell("writing the graph")
        write_graph(model, config, graph, weights_sha256, opset, limits)
        tell(f"comparing it with PyTorch on {len(compared)} {source}")
        found = _check_parity(run_folder, model, graph, compared, source)
        measured: dict[str, Any] = {"precision": precision, "agreement": None, "embedded": None}
        measured |= {"statistics": statistics} if statistics else {}
        if real is not None:
            measured["agreement"] = lower_precision(graph, precision, real, agreement, tell)
        if embed_preprocess:
            embed(graph, preprocessing, camera)
            drawn = example.of_camera(photographs, camera) if camera else photographs
            measured["embedded"] = _check_resize(drawn, preprocessing, camera)
        if limits is not None:
            write_flags(graph, config.model.tasks, limits)
        # The example holds what this file answers, so that a replay elsewhere tells that place.
        session = Session(graph, device="cpu")
        arrays: dict[str, Any] = {"images": drawn, **session.run(drawn)}
        np.savez_compressed(aside / "example.npz", **arrays)
        if speed != "none":
            tell("measuring its speed")
        timed = example.of_camera(drawn, _CAMERA) if embed_preprocess and not camera else drawn
        measured["speed"] = measure_speed(session, timed, speed)
        document = card.describe(config, run_folder, aside, found, weights_sha256, opset, measured)
        files.write_json(aside / "card.json", document)
        try:
            files.write_text(aside / "card.md", to_markdown(document))
        except (KeyError, TypeError, AttributeError) as error:
            raise WbczooError(
                f"A summary or evaluation in {run_folder} is damaged: {error} is missing or "
                "strange. Delete that file, or evaluate the run again."
            ) from None
        if layout == "triton":
            triton.arrange(aside, config.model.tasks)
    return document


def _fold_of(run: Path, fold: int | None) -> Path:
    """A run's folder, or that of one of several folds' runs in it."""
    folds = sorted(run.glob(f"fold-*/{checkpoint.CONFIG}"))
    if fold is None:
        if folds and not (run / checkpoint.CONFIG).is_file():
            raise UsageError(
                f"{run} holds {len(folds)} runs, each with another fold left out. Name one, as by "
                "--fold 0; its card then has the figures of all folds pooled."
            )
        return run
    if run / f"fold-{fold}" / checkpoint.CONFIG not in folds:
        held = ", ".join(path.parent.name.removeprefix("fold-") for path in folds) or "none"
        raise UsageError(f"{run} has no run of fold {fold}; it has those of: {held}.")
    return run / f"fold-{fold}"


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


def _limits_of(run_folder: Path, model: FusedClassifier) -> Limits | None:
    """The limits that were fitted with a model's novelty; None of a model that has none."""
    if model.novelty is None:
        return None
    found: Any = files.read_json(run_folder / checkpoint.SUMMARY).get("limits")
    try:
        return Limits(found["unknown_above"], found["unsure_below"])
    except (KeyError, TypeError):
        raise WbczooError(
            f"{run_folder / checkpoint.SUMMARY} lacks the limits that were fitted with the "
            "novelty of this model; it is of another training. Train the run again."
        ) from None


def _check_parity(
    run_folder: Path, model: FusedClassifier, graph: Path, compared: Pixels, source: str
) -> parity.Parity:
    found = parity.compare(model, graph, compared, source)
    if math.isnan(found.difference):
        raise WbczooError(
            f"{run_folder} answers with NaN: its weights are no numbers. Train it again with a "
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

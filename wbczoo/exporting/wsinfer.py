"""A model becomes TorchScript for each task here, described as WSInfer and QuPath read it."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wbczoo import files
from wbczoo.errors import UsageError, WbczooError
from wbczoo.exporting.agreement import TOLERANCE
from wbczoo.exporting.parity import BATCHES
from wbczoo.exporting.triton import model_name
from wbczoo.images import Pixels
from wbczoo.model.ensemble import Ensemble
from wbczoo.model.fused import FusedClassifier
from wbczoo.specs import Preprocessing
from wbczoo.text import first_line

CONFIG, SCRIPT = "config.json", "torchscript_model.pt"  # by WSInfer's and QuPath's own names

_WRITERS_OWN = ("version", "byteorder", ".data/serialization_id")  # of a TorchScript file


class PatchLogits(nn.Module):
    """One task's calibrated logits, for programs that scale pixels and take a softmax themselves.

    Args:
        model: in evaluation mode on the CPU.
        place: of the task among the model's.
    """

    def __init__(self, model: FusedClassifier | Ensemble, place: int) -> None:
        super().__init__()
        self.model = model
        self.output = f"{model.config.tasks[place].name}_logits"
        # An ensemble's logits are those of its members' calibrated probabilities.
        self.temperature = torch.ones(())
        if isinstance(model, FusedClassifier):
            self.temperature = model.temperatures[place]

    def forward(self, patches: Tensor) -> Tensor:
        """RGB in [0, 1], float32 (N, 3, H, W) -> (N, classes)."""
        return self.model.outputs((patches * 255).round())[self.output] / self.temperature


def refuse(preprocessing: Preprocessing, um_per_pixel: float | None) -> None:
    """See that a model's images can be cut from a slide as they are.

    Raises:
        UsageError: if nobody said how large a pixel is, or the images are cropped or not square.
    """
    if um_per_pixel is None:
        raise UsageError(
            "--layout wsinfer wants --um-per-pixel: how many micrometres one pixel spans of the "
            "images that the model reads, so that patches of a slide have their scale. It is the "
            "width of a training photograph in micrometres, divided by the "
            f"{preprocessing.size[1]} pixels that the model resizes it to."
        )
    if not 0 < um_per_pixel < 1000:
        raise UsageError(f"A pixel spans some micrometres, such as .1, and not {um_per_pixel:g}.")
    refuse_crop(preprocessing)
    if preprocessing.size[0] != preprocessing.size[1]:
        height, width = preprocessing.size
        raise UsageError(
            f"The patches of WSInfer are square, and the model reads {height} x {width} pixels. "
            "Train it with a square --image-size."
        )


def refuse_crop(preprocessing: Preprocessing) -> None:
    """See that a model reads images as they are; UsageError if it crops cells."""
    if preprocessing.crop != "none":
        raise UsageError(
            f"The model reads the crop {preprocessing.crop}: a square as wide as each cell asks "
            "for, on a slide made white, while WSInfer and QuPath cut patches of one width, as "
            "they are. Let wbczoo answer the image and import its answers: wbczoo predict --cells "
            "all --format geojson."
        )


def write_scripts(
    model: FusedClassifier | Ensemble, name: str, um_per_pixel: float, compared: Pixels, out: Path
) -> dict[str, Any]:
    """Write a folder for each task, with its TorchScript and its `config.json`, in fp32.

    Args:
        model: in evaluation mode on the CPU.
        um_per_pixel: micrometres that a pixel of its images spans.
        compared: images (N, 3, H, W) on which each file, as it lies there, must answer as the
            model does, in several batches.
        out: a new folder.

    Returns:
        what the card says of it.

    Raises:
        WbczooError: if the model cannot be traced, or a file answers otherwise.
    """
    side = model.config.preprocessing.size[0]
    gaps = [0.0]
    bounds = [TOLERANCE]
    for place, task in enumerate(model.config.tasks):
        folder = out / f"{model_name(name)}_{task.name}"
        folder.mkdir(parents=True)
        network = PatchLogits(model, place).eval()
        with files.written_aside(folder / SCRIPT) as aside:
            _write_script(network, side, name, aside)
        gap, bound = _compare(network, folder / SCRIPT, compared)
        if not gap <= bound:
            raise WbczooError(
                f"The TorchScript of {task.name} differs from PyTorch by {gap:.3g} in a logit, and "
                f"{bound:.3g} is allowed; it was not written."
            )
        gaps.append(gap)
        bounds.append(bound)
        config = {
            "spec_version": "1.0",
            "architecture": model.config.backbone.name,
            "num_classes": len(task.classes),
            "class_names": [*task.classes],
            "patch_size_pixels": side,
            "spacing_um_px": um_per_pixel,
            "transform": [{"name": "Resize", "arguments": {"size": side}}, {"name": "ToTensor"}],
        }
        files.write_json(folder / CONFIG, config)
    return {"um_per_pixel": um_per_pixel, "difference": max(gaps), "bound": max(bounds)}


def _write_script(network: PatchLogits, side: int, name: str, path: Path) -> None:
    """Trace a network into a file, without the notes that hold the paths of whoever exported."""
    written = io.BytesIO()
    network.requires_grad_(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            example = torch.zeros(2, 3, side, side)
            script = torch.jit.trace(  # type: ignore[no-untyped-call]
                network, example, check_trace=False
            )
            torch.jit.save(script, written)
    except Exception as error:
        raise WbczooError(
            f"{name} cannot be traced to TorchScript: {first_line(error)}."
        ) from error
    written.seek(0)
    read, write = torch._C.PyTorchFileReader(written), torch._C.PyTorchFileWriter(str(path))
    write.set_min_version(int(read.get_record("version")))
    for record in read.get_all_records():
        if record not in _WRITERS_OWN and not record.endswith(".debug_pkl"):
            content = read.get_record(record)
            write.write_record(record, content, len(content))
    write.write_end_of_file()


def _compare(network: PatchLogits, path: Path, pixels: Pixels) -> tuple[float, float]:
    """The largest difference of a logit, and what is allowed."""
    gap, bound = 0.0, TOLERANCE
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        script = torch.jit.load(path)  # type: ignore[no-untyped-call]
        for size in BATCHES:
            images = torch.from_numpy(pixels[np.arange(size) % len(pixels)])
            expected = network.model.outputs(images)[network.output] / network.temperature
            found = script(images.float() / 255)
            gap = max(gap, float((found - expected).abs().nan_to_num(nan=torch.inf).max()))
            bound = max(bound, TOLERANCE * float(expected.abs().max()))
    return gap, bound

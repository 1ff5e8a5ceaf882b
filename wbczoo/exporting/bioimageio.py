"""An export becomes one package of the BioImage Model Zoo here: a zip that its tools run."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from wbczoo import files
from wbczoo.errors import WbczooError
from wbczoo.exporting.flags import NAMES
from wbczoo.registry import datasets
from wbczoo.runtime.devices import import_onnxruntime
from wbczoo.runtime.folder import CARD, EXAMPLE, MODEL
from wbczoo.text import name_source

FORMAT = "0.5.12"  # of the description (bioimage-io/spec-bioimage-io, model 0.5)
DESCRIPTION, PACKAGE, PAGE = "rdf.yaml", "bioimageio.zip", "README.md"

_CATEGORIES = ("transmission-light-microscopy", "2d", "cells", "image-classification", "pytorch")
_ENDS = ("value", "low", "high")


def pack(folder: Path) -> Path:
    """Write the package of an export into the export's own folder.

    The test tensors are those of the export's example. What the format has no field for stands in
    the card, which is attached. Authors, licence and citation are for whoever uploads it to say.

    Returns:
        the package.
    """
    card = files.read_json(folder / CARD)
    page = (folder / "card.md").read_text(encoding="utf-8").partition("\n---\n")[2].lstrip()
    files.write_text(folder / PAGE, page.replace("## How well it does", "## Validation"))
    tensors = _test_tensors(folder)
    for name, values in tensors.items():
        np.save(folder / f"{name}.npy", values)
    described = _describe(card, tensors, folder)
    text = yaml.safe_dump(described, sort_keys=False, allow_unicode=True, width=100)
    files.write_text(folder / DESCRIPTION, text)
    held = (DESCRIPTION, MODEL, PAGE, CARD, EXAMPLE, *(f"{name}.npy" for name in tensors))
    with zipfile.ZipFile(folder / PACKAGE, "w", zipfile.ZIP_DEFLATED) as package:
        for name in held:
            package.write(folder / name, name)
    return folder / PACKAGE


def _test_tensors(folder: Path) -> dict[str, NDArray[Any]]:
    """The example's images, and the graph's outputs in its order: the example lacks the flags."""
    with np.load(folder / EXAMPLE) as arrays:
        example = {name: arrays[name] for name in arrays.files}
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # else it warns of the inputs that have defaults
    session = onnxruntime.InferenceSession(
        str(folder / MODEL), options, providers=["CPUExecutionProvider"]
    )
    images = example["images"]
    answers = session.run(None, {"images": images})
    outputs = {
        each.name: values for each, values in zip(session.get_outputs(), answers, strict=True)
    }
    return {"images": images, **outputs, **example}


def _describe(
    card: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], folder: Path
) -> dict[str, Any]:
    """The content of `rdf.yaml`."""

    def source(name: str) -> dict[str, str]:
        return {"source": name, "sha256": files.sha256_of(folder / name)}

    embedded, preprocessing = card["embedded"], card["preprocessing"]
    classes = "; ".join(f"{task}: {', '.join(names)}" for task, names in card["tasks"].items())
    limitations = [card["not_for"], _what_is_read(preprocessing, embedded)]
    return {
        "type": "model",
        "format_version": FORMAT,
        "name": f"wbczoo {re.sub(r'[^A-Za-z0-9_+ ()-]', '-', card['name'])}"[:128],
        "description": f"White blood cell classifier. It answers {classes}."[:1024],
        "documentation": source(PAGE),
        "attachments": [source(CARD), source(EXAMPLE)],
        "tags": [
            *("white-blood-cells", "haematology", *_CATEGORIES, "onnx", *card["tasks"]),
            *([] if card["trained"] else ["untrained"]),
            *(["leaky"] if _is_leaky(card) else []),
        ],
        "inputs": [
            {
                "id": "images",
                "description": "RGB; scaling and normalisation are inside the graph",
                "axes": _image_axes(tensors["images"].shape, embedded),
                "data": {"type": "uint8", "range": [0, 255]},
                "test_tensor": source("images.npy"),
                "preprocessing": [{"id": "ensure_dtype", "kwargs": {"dtype": "uint8"}}],
            }
        ],
        "outputs": [
            _output(name, values, card) | {"test_tensor": source(f"{name}.npy")}
            for name, values in tensors.items()
            if name != "images"
        ],
        "weights": {"onnx": {**source(MODEL), "opset_version": card["opset"]}},
        "config": {
            "bioimageio": {
                "modality": "bright-field microscopy of stained blood smears",
                "target_structure": ["white blood cell"],
                "task": "image-classification",
                "out_of_scope_use": card["not_for"],
                "bias_risks_limitations": {"limitations": " ".join(limitations)},
                "evaluations": [*_evaluations(card)],
            },
            "wbczoo": {"preprocessing": preprocessing, "intended_use": card["intended_use"]},
        },
    }


def _is_leaky(card: Mapping[str, Any]) -> bool:
    return bool(card["leaky"]) or any(found["leaky"] for found in card["evaluations"])


def _what_is_read(preprocessing: Mapping[str, Any], embedded: object) -> str:
    height, width = preprocessing["size"]
    if embedded:
        return "It reads whole photographs, upright, and resizes them itself."
    crop = preprocessing["crop"]
    told = "" if crop == "none" else f" after the crop `{crop}` that wbczoo makes"
    return f"It reads images resized to {height} x {width} pixels{told}."


def _image_axes(shape: tuple[int, ...], embedded: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The axes of what the graph reads: as a camera gives it, channels last, or resized before."""
    rows, columns = shape[1:3] if embedded else shape[2:4]
    free = embedded is not None and embedded["camera"] is None
    sides = [
        {"type": "space", "id": axis, "size": {"min": 16, "step": 1} if free else int(side)}
        for axis, side in (("y", rows), ("x", columns))
    ]
    colours: dict[str, Any] = {"type": "channel", "channel_names": ["red", "green", "blue"]}
    return [{"type": "batch"}, *([*sides, colours] if embedded else [colours, *sides])]


def _output(name: str, values: NDArray[Any], card: Mapping[str, Any]) -> dict[str, Any]:
    """An output of the graph; its second axis are the task's classes, or the flags."""
    task, _, kind = name.rpartition("_")
    axes: list[dict[str, Any]] = [{"type": "batch"}]
    if kind in ("logits", "probabilities"):
        axes.append({"type": "channel", "channel_names": [*card["tasks"][task]]})
    elif name == "flags":
        axes.append({"type": "channel", "channel_names": list(NAMES)})
    else:
        axes += [
            {"type": "index", "id": f"axis{place}", "size": int(side)}
            for place, side in enumerate(values.shape[1:])
        ]
    data: dict[str, Any] = {"type": str(values.dtype)}
    if kind == "probabilities":
        data["range"] = [0.0, 1.0]
    if name == "flags":
        data["values"] = [False, True]
    return {"id": name, "axes": axes, "data": data}


def _evaluations(card: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What was measured on data sets that have an address; the format has no place for others."""
    for found in card["evaluations"]:
        name = found["dataset"].split("+")[0]
        address = _address_of(name)
        if not address:
            continue
        protocol = found["protocol"]
        role = "independent" if protocol == "external" else "test"
        for task, figures in found["tasks"].items():
            scores = {each: figures[each] for each in ("accuracy", "macro_f1")}
            results = [[*(_number(score[end]) for end in _ENDS)] for score in scores.values()]
            shared = f"LEAKY: test images share {name_source(found['unit'])}s with training. "
            leaky = shared if found["leaky"] else ""
            yield {
                "dataset_id": name,
                "dataset_source": address,
                "dataset_role": "unknown" if found["leaky"] else role,
                "sample_count": figures["files"],
                "evaluation_factors": ["overall", "95 % low", "95 % high"],
                "evaluation_factors_long": ["all classes", *(2 * [found["interval"]])],
                "metrics": [*scores],
                "metrics_long": [f"{metric} of the task {task}" for metric in scores],
                "results": results,
                "results_summary": (
                    f"{leaky}{found['dataset']}, protocol {protocol}, {found['part']}: "
                    f"{found['files']} files of {found['groups']} groups."
                ),
            }


def _number(value: float | None) -> float | str:
    return "undefined" if value is None else round(value, 4)


def _address_of(dataset: str) -> str:
    try:
        return datasets.spec(dataset).url
    except WbczooError:
        return ""

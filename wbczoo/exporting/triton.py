"""An export becomes a model of a Triton model repository here: its config and its labels."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import onnx

from wbczoo import files
from wbczoo.errors import UsageError
from wbczoo.exporting import place
from wbczoo.runtime.folder import CARD, CONFIG, FILES, MODEL, VERSION
from wbczoo.tasks import Task

_TYPES: dict[int, str] = {
    onnx.TensorProto.UINT8: "TYPE_UINT8",
    onnx.TensorProto.FLOAT: "TYPE_FP32",
    onnx.TensorProto.BOOL: "TYPE_BOOL",
}

_HEAD = """\
# Written by wbczoo. The model's name is this folder's; rename the folder to rename the model.
backend: "onnxruntime"
platform: "onnxruntime_onnx"
max_batch_size: {largest}

# Requests that arrive within the delay are answered as one batch.
dynamic_batching {{
  preferred_batch_size: [ 8, 16, {largest} ]
  max_queue_delay_microseconds: 2000
}}

# One instance on each GPU. On a machine without one write `kind: KIND_CPU`.
instance_group [
  {{
    count: 1
    kind: KIND_GPU
  }}
]
"""

_LARGEST = 32


def model_name(name: str) -> str:
    """A model's name as Triton and its addresses take it: letters, digits, `_` and `-`."""
    return re.sub(r"[^A-Za-z0-9-]+", "_", name).strip("_") or "model"


def claim(repository: Path, name: str, overwrite: bool) -> Path:
    """The folder in a model repository that a model of that name goes to.

    Raises:
        UsageError: if it is taken, or the repository is something else.
    """
    if repository.exists() and not repository.is_dir():
        raise UsageError(f"{repository} is a file; --out wants a folder for the repository.")
    if (repository / CARD).exists():
        raise UsageError(
            f"{repository} holds an export that is no model repository. Name another folder."
        )
    folder = repository / model_name(name)
    place.claim(folder, overwrite, is_own)
    return folder


def is_own(name: str) -> bool:
    """Whether a model's folder in a repository has a file of that name."""
    return name in (*FILES, CONFIG, VERSION) or re.fullmatch(r"labels_\w+\.txt", name) is not None


def arrange(folder: Path, tasks: Sequence[Task]) -> None:
    """Turn a folder that holds `model.onnx` into a model of a repository, in place.

    The graph goes to `1/model.onnx`; `config.pbtxt` and a file of labels for each task are added
    (Triton's model repository and model configuration).
    """
    graph = onnx.load(folder / MODEL).graph
    (folder / VERSION).mkdir()
    (folder / MODEL).rename(folder / VERSION / MODEL)
    labels = {}
    for task in tasks:
        labels[f"{task.name}_probabilities"] = f"labels_{task.name}.txt"
        files.write_text(folder / f"labels_{task.name}.txt", "\n".join(task.classes) + "\n")
    lines = [_HEAD.format(largest=_LARGEST)]
    # An input that has a default is no part of a batch, and the server gives none.
    defaults = {each.name for each in graph.initializer}
    inputs = [each for each in graph.input if each.name not in defaults]
    for kind, values in (("input", inputs), ("output", graph.output)):
        blocks = [_block(value, labels.get(value.name)) for value in values]
        lines.append(f"{kind} [\n" + ",\n".join(blocks) + "\n]\n")
    files.write_text(folder / CONFIG, "\n".join(lines))


def _block(value: onnx.ValueInfoProto, labels: str | None) -> str:
    """An input or output; its shape without the batch, and -1 for a free side."""
    kind = value.type.tensor_type
    shape = [d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim][1:]
    lines = [
        f"name: {json.dumps(value.name)}",
        f"data_type: {_TYPES[kind.elem_type]}",
        f"dims: [ {', '.join(map(str, shape or [1]))} ]",
    ]
    if not shape:  # one number for each image; Triton wants a side to be named
        lines.append("reshape: { shape: [ ] }")
    if labels:
        lines.append(f"label_filename: {json.dumps(labels)}")
    return "  {\n" + "".join(f"    {line}\n" for line in lines) + "  }"

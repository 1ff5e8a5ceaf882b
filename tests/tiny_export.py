"""A real ONNX file in an export's shape, small enough to know its answers by hand."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from wbczoo.config import ModelConfig, RunConfig
from wbczoo.specs import Preprocessing
from wbczoo.tasks import CELL, NUCLEUS

SIZE = (24, 32)
TASKS = (CELL, NUCLEUS)

Logits = dict[str, NDArray[np.float64]]


def weights(task: str) -> NDArray[np.float32]:
    """From the mean of each channel to the task's logits, (3, classes)."""
    classes = {"cell": 4, "nucleus": 2}[task]
    random = np.random.default_rng(len(task))
    return (random.normal(size=(3, classes)) / 30).astype(np.float32)


def expected_logits(pixels: NDArray[np.uint8]) -> Logits:
    """What the model answers to pixels (N, 3, H, W), by arithmetic of its own."""
    means = pixels.astype(np.float64).mean(axis=(2, 3))  # (N, 3)
    return {task.name: means @ weights(task.name) for task in TASKS}


def metadata() -> dict[str, str]:
    preprocessing = Preprocessing(size=SIZE)
    config = RunConfig(model=ModelConfig(tasks=TASKS, preprocessing=preprocessing))
    return {
        "wbczoo.format": "1",
        "wbczoo.tasks": json.dumps([asdict(task) for task in TASKS]),
        "wbczoo.preprocessing": json.dumps(asdict(preprocessing)),
        "wbczoo.config": config.model_dump_json(),
        "wbczoo.version": "0.1.0",
        "wbczoo.weights_sha256": "ab" * 32,
    }


def write_model(
    path: Path,
    changed: dict[str, str | None] | None = None,
    scale: float = 1.0,
    camera: tuple[int | str, int | str] | None = None,
    company: bool = False,
) -> Path:
    """Write the model; `changed` metadata replace the right ones, None takes one away.

    The weights are multiplied by `scale`. With `camera` the graph reads (N, H, W, 3) of that size,
    as one that resizes by itself does. With `company` an image's answer depends on its whole batch,
    far more than rounding makes any network's do.
    """
    alone = "alone" if company else "means"
    nodes = [
        helper.make_node("Cast", ["images"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["values", "axes"], [alone], keepdims=0),
    ]
    if company:
        nodes += [
            helper.make_node("ReduceMean", ["alone", "first"], ["others"], keepdims=1),
            helper.make_node("Sub", ["alone", "others"], ["means"]),
        ]
    constants = [numpy_helper.from_array(np.array([1, 2] if camera else [2, 3]), "axes")]
    if company:
        constants.append(numpy_helper.from_array(np.array([0]), "first"))
    outputs = []
    for task in TASKS:
        name = task.name
        constants.append(
            numpy_helper.from_array(weights(name) * np.float32(scale), f"{name}_weights")
        )
        nodes += [
            helper.make_node("MatMul", ["means", f"{name}_weights"], [f"{name}_logits"]),
            helper.make_node("Softmax", [f"{name}_logits"], [f"{name}_probabilities"], axis=1),
        ]
        outputs += [
            helper.make_tensor_value_info(
                f"{name}_{kind}", TensorProto.FLOAT, ["batch", len(task.classes)]
            )
            for kind in ("logits", "probabilities")
        ]
    shape = ["batch", *camera, 3] if camera else ["batch", 3, *SIZE]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, shape)
    graph = helper.make_graph(nodes, "wbczoo", [images], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    stored = {**metadata(), **(changed or {})}
    helper.set_model_props(model, {k: v for k, v in stored.items() if v is not None})
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path

"""Small real networks of named layers, in an export's shape, and the features of their middle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tiny_export
from onnx import TensorProto, helper, numpy_helper

from wbczoo.exporting.adapting.graph import Adaptable
from wbczoo.exporting.adapting.middle import FEATURES
from wbczoo.runtime.model_file import INPUT
from wbczoo.runtime.onnx_graph import open_with

CHANNELS = 4


def network(path: Path, layers: list[str]) -> Path:
    """Write a model whose heads read the mean of the last of these layers.

    `conv` is a convolution, `/2` halves its map, `add` adds what it read, `Relu` and `Clip` follow;
    `gate` multiplies by a convolution of the mean, `last` sums with the channels last.
    """
    random = np.random.default_rng(0)
    nodes, constants = [], dict[str, Any]()
    nodes.append(helper.make_node("Cast", [INPUT], ["seen"], to=TensorProto.FLOAT))
    known, width = "seen", 3
    for number, layer in enumerate(layers):
        before, words = known, layer.split()
        if words[0] == "last":
            nodes.append(helper.make_node("Transpose", [known], ["turned"], perm=[0, 2, 3, 1]))
            nodes.append(helper.make_node("Add", ["turned", "turned"], ["twice"]))
            nodes.append(helper.make_node("Transpose", ["twice"], ["back"], perm=[0, 3, 1, 2]))
            known = "back"
            continue
        if words[0] == "gate":
            nodes.append(helper.make_node("GlobalAveragePool", [known], ["pooled"]))
            known = "pooled"
        kernel = 1 if words[0] == "gate" else 3
        constants[f"kernel_{number}"] = random.normal(size=(CHANNELS, width, kernel, kernel)) / 30
        step, edge = (2 if "/2" in words else 1), kernel // 2
        nodes.append(
            helper.make_node(
                "Conv", [known, f"kernel_{number}"], [f"conv_{number}"],
                strides=[step, step], pads=[edge] * 4,
            )
        )  # fmt: skip
        known, width = f"conv_{number}", CHANNELS
        if words[0] == "gate":
            nodes.append(helper.make_node("Mul", [before, known], ["gated"]))
            known = "gated"
        if "add" in words:
            nodes.append(helper.make_node("Add", [known, before], [f"add_{number}"]))
            known = f"add_{number}"
        if kind := next((word for word in words if word in ("Relu", "Clip")), None):
            nodes.append(helper.make_node(kind, [known], [f"active_{number}"]))
            known = f"active_{number}"
    constants["axes"] = np.array([2, 3], np.int64)
    nodes.append(helper.make_node("ReduceMean", [known, "axes"], ["features"], keepdims=0))
    plain = onnx.load(tiny_export.write_model(path))
    outputs = {each.name for each in plain.graph.output}
    for name, classes in (("cell", 4), ("nucleus", 2)):
        constants[f"{name}_weights"] = random.normal(size=(CHANNELS, classes))
        nodes.append(
            helper.make_node("MatMul", ["features", f"{name}_weights"], [f"{name}_logits"])
        )
        probabilities = f"{name}_probabilities"
        assert probabilities in outputs
        nodes.append(helper.make_node("Softmax", [f"{name}_logits"], [probabilities], axis=1))
    del plain.graph.node[:], plain.graph.initializer[:]
    plain.graph.node.extend(nodes)
    plain.graph.initializer.extend(
        numpy_helper.from_array(
            values if values.dtype == np.int64 else values.astype(np.float32), name
        )
        for name, values in constants.items()
    )
    onnx.checker.check_model(plain)
    onnx.save(plain, path)
    return path


def middle_features(given: Adaptable, pixels: Any) -> Any:
    """The features that a model is adapted by, (N, D)."""
    proto = onnx.ModelProto()
    proto.CopyFrom(given.proto)
    session = open_with(given.file.path, proto, [FEATURES], "CPUExecutionProvider", 1)
    return session.run([FEATURES], {INPUT: pixels})[0]

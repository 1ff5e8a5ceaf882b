"""A graph gets what each position of an image adds to its logits as outputs of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from wbczoo.errors import WbczooError
from wbczoo.exporting.agreement import BOUNDS, TOLERANCE
from wbczoo.images import Pixels
from wbczoo.runtime.maps import Head, MappedNetwork, open_maps, tiles
from wbczoo.runtime.model_file import INPUT
from wbczoo.runtime.providers import open_on_cpu
from wbczoo.runtime.session import Session

_PREFIX = "maps/"


def add_maps(path: Path, pixels: Pixels) -> dict[str, Any]:
    """Add `<task>_map` and `<task>_branch` to a graph's outputs, in place, in fp32.

    A map is a 1x1 convolution of the feature map by the head's weights. It is added last, to a
    graph of any precision that may resize by itself.

    Args:
        path: of an export's graph.
        pixels: images as it reads them.

    Returns:
        what a card says of it: `positions` (h, w), and the largest `difference` between a logit
        and the sum of its parts, of what the `bound` allows: as much as a logit may differ from
        PyTorch's, and in lower precision the largest logit times what a probability may.

    Raises:
        UsageError: if the model has no positions.
        WbczooError: if its logits are no sums over positions, or the parts miss the bound.
    """
    session = Session(path, device="cpu")
    network = open_maps(session.file, session.provider, None)
    proto = onnx.load(path)
    for task, head in network.heads.items():
        _add_head(proto.graph, task, head, network)
    onnx.checker.check_model(proto)
    onnx.save(proto, path)
    names = [*session.file.outputs, *network.shapes]
    found = dict(zip(names, open_on_cpu(path, None, None).run(names, pixels), strict=True))
    gap, largest = 0.0, 1.0
    for task in network.heads:
        whole, logits = found[f"{task}_map"].sum((2, 3)), found[f"{task}_logits"]
        gap = max(gap, float(np.abs(whole + found[f"{task}_branch"] - logits).max()))
        largest = max(largest, float(np.abs(logits).max()))
    precision = session.file.precision
    bound = largest * (TOLERANCE if precision == "fp32" else BOUNDS[precision].difference)
    if not gap <= bound:
        raise WbczooError(
            f"The maps of {path} and the branch sum up to logits that are {gap:.3g} off, and "
            f"{bound:.3g} is allowed; it was not written. Leave out --maps, or another precision."
        )
    return {"positions": list(network.positions), "difference": gap, "bound": bound}


def drop_maps(graph: onnx.GraphProto) -> bool:
    """Take such outputs out of a graph; whether there were any."""
    added = {name for node in graph.node if node.name.startswith(_PREFIX) for name in node.output}
    for listed in (graph.output, graph.initializer):
        kept = [each for each in listed if each.name not in added]
        kept = [each for each in kept if not each.name.startswith(_PREFIX)]
        del listed[:]
        listed.extend(kept)
    nodes = [node for node in graph.node if not node.name.startswith(_PREFIX)]
    del graph.node[:]
    graph.node.extend(nodes)
    return bool(added)


def _add_head(graph: onnx.GraphProto, task: str, head: Head, network: MappedNetwork) -> None:
    own, classes = f"{_PREFIX}{task}_", len(head.bias)

    def constant(name: str, values: Any) -> str:
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), own + name))
        return own + name

    def node(kind: str, reads: list[str], gives: str, **attributes: Any) -> str:
        name = f"{own}{kind}_{len(graph.node)}"
        graph.node.append(helper.make_node(kind, reads, [gives], name=name, **attributes))
        return gives

    def as_float(tensor: str, name: str) -> str:
        return node("Cast", [tensor], own + name, to=TensorProto.FLOAT)

    maps, parts = [], [_repeated_bias(own, head, constant, node)]
    for number, (tensor, weights) in enumerate(head.maps.items()):
        height, width = network.sizes[tensor]
        kernel = (weights / (height * width)).astype(np.float32)[..., None, None]
        read = as_float(tensor, f"read_{number}")
        laid = node("Conv", [read, constant(f"kernel_{number}", kernel)], f"{own}part_{number}")
        if (height, width) != network.positions:
            down = tiles(height, network.positions[0]).T.astype(np.float32)
            across = tiles(width, network.positions[1]).astype(np.float32)
            tall = [constant(f"down_{number}", down), laid]
            taller = node("MatMul", tall, f"{own}tall_{number}")
            wide = [taller, constant(f"across_{number}", across)]
            laid = node("MatMul", wide, f"{own}wide_{number}")
        maps.append(laid)
    for number, (tensor, weights) in enumerate(head.vectors.items()):
        read = as_float(tensor, f"vector_{number}")
        matrix = constant(f"matrix_{number}", weights.T.astype(np.float32))
        parts.append(node("MatMul", [read, matrix], f"{own}branch_{number}"))
    node("Sum", maps, f"{task}_map")
    node("Sum", parts, f"{task}_branch")
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param or "batch"
    for name, shape in ((f"{task}_map", network.positions), (f"{task}_branch", ())):
        told = [batch, classes, *shape]
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, told))


def _repeated_bias(own: str, head: Head, constant: Any, node: Any) -> str:
    """The bias for each image of a batch, (N, classes)."""
    batch = node("Shape", [INPUT], f"{own}batch", start=0, end=1)
    classes = constant("classes", np.array([len(head.bias)], np.int64))
    shape = node("Concat", [batch, classes], f"{own}shape", axis=0)
    bias = constant("bias", head.bias.astype(np.float32))
    repeated: str = node("Expand", [bias, shape], f"{own}bias_of_each")
    return repeated

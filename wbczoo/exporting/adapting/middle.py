"""An export's graph gets one vector of what its middle layers see of an image, to adapt by.

What a head reads was shaped for the laboratories that trained it, and the head has used it. Layers
before it still see stain and grain that no class there needed, and a hundred cells of another
laboratory may (Evci et al. 2022, Head2Toe: Utilizing intermediate representations for better
transfer learning).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from wbczoo.errors import WbczooError
from wbczoo.images import Pixels
from wbczoo.runtime import devices
from wbczoo.runtime.layers import ADAPTED, find_layers
from wbczoo.runtime.model_file import INPUT, ModelFile
from wbczoo.runtime.onnx_graph import STEPS, open_with
from wbczoo.runtime.providers import reason_of

FEATURES = f"{ADAPTED}features"

# What ends a block: a sum, a joint, or a convolution that no activation follows.
_ENDS = ("Add", "Concat", "Conv")
_ACTIVATIONS = ("Clip", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mul",
                "PRelu", "Relu", "Sigmoid", "Softplus", "Tanh")  # fmt: skip


def add_features(file: ModelFile, proto: onnx.ModelProto, images: Pixels) -> list[tuple[int, int]]:
    """Add the tensor `FEATURES`, (N, D) in fp32, to the graph of a model.

    Of the last map at each resolution it has each channel's mean and spread over all positions.
    A network with maps of fewer than two resolutions, as one of tokens or a branch alone is, gives
    what its heads read.

    Args:
        file: the model, whose graph `proto` is.
        images: as it reads them; the maps' sizes are seen on the first.

    Returns:
        the maps' (height, width) in positions, the finest first; none where the heads' own
        features are taken.

    Raises:
        WbczooError: if the model fails on an image, or what its heads read cannot be told.
    """
    graph = proto.graph
    maps = _last_maps(graph, _shapes(file.path, proto, images[:1]))
    if len(maps) < 2:
        read = find_layers(file, graph)["fused"]
        _node(graph, "Cast", [read], FEATURES, to=TensorProto.FLOAT)
        return []
    own = f"{ADAPTED}middle_"
    axes = numpy_helper.from_array(np.array([2, 3], np.int64), f"{own}axes")
    graph.initializer.append(axes)
    parts = []
    for number, tensor in enumerate(maps.values()):
        seen = _node(graph, "Cast", [tensor], f"{own}map_{number}", to=TensorProto.FLOAT)
        mean = _node(graph, "ReduceMean", [seen, axes.name], f"{own}mean_{number}", keepdims=0)
        middle = _node(graph, "ReduceMean", [seen, axes.name], f"{own}middle_{number}", keepdims=1)
        apart = _node(graph, "Sub", [seen, middle], f"{own}apart_{number}")
        square = _node(graph, "Mul", [apart, apart], f"{own}square_{number}")
        spread = [square, axes.name]
        variance = _node(graph, "ReduceMean", spread, f"{own}variance_{number}", keepdims=0)
        parts += [mean, _node(graph, "Sqrt", [variance], f"{own}spread_{number}")]
    _node(graph, "Concat", parts, FEATURES, axis=1)
    return [*maps]


def _shapes(path: Path, proto: onnx.ModelProto, image: Pixels) -> dict[str, tuple[int, ...]]:
    """The shape of what each node that may end a block gives for an image."""
    names = [name for node in proto.graph.node if node.op_type in _ENDS for name in node.output]
    if not names:
        return {}
    listed = onnx.ModelProto()
    listed.CopyFrom(proto)
    session = open_with(path, listed, names, devices.CPU, 1)
    try:
        found = session.run(names, {INPUT: image})
    except Exception as error:  # onnxruntime's exceptions share no base of their own
        raise WbczooError(f"{path} failed on an image: {reason_of(error)}.") from None
    return {name: values.shape for name, values in zip(names, found, strict=True)}


def _last_maps(
    graph: onnx.GraphProto, shapes: Mapping[str, tuple[int, ...]]
) -> dict[tuple[int, int], str]:
    """At each resolution the last map that ends a block, or the last of any kind."""
    ends: dict[tuple[int, int], str] = {}
    others: dict[tuple[int, int], str] = {}
    channels_first = _channels_first(graph.node)
    activated = _activated(graph.node)
    for node in graph.node:
        shape = shapes.get(node.output[0], ()) if node.op_type in _ENDS else ()
        if len(shape) != 4 or shape[2] * shape[3] < 2 or node.output[0] not in channels_first:
            continue
        chosen = others if node.op_type == "Conv" and node.output[0] in activated else ends
        chosen[shape[2], shape[3]] = node.output[0]
    last = others | ends
    return {size: last[size] for size in sorted(last, reverse=True)}


def _channels_first(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    """What convolutions give, and what is made of that place by place: (N, C, H, W)."""
    known: set[str] = set()
    for node in nodes:
        kept = node.op_type in (*_ENDS, *_ACTIVATIONS, *STEPS) and known.intersection(node.input)
        if node.op_type == "Conv" or kept:
            known.update(node.output)
    return known


def _activated(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    """What an activation reads, however it is stored in between."""
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    nodes = [*nodes]
    for node in nodes:
        for name in node.input:
            readers[name].append(node)
    found: set[str] = set()
    for node in reversed(nodes):
        for name in node.output:
            for reader in readers[name]:
                stored = reader.op_type in STEPS and found.intersection(reader.output)
                if reader.op_type in _ACTIVATIONS or stored:
                    found.add(name)
    return found


def _node(
    graph: onnx.GraphProto, kind: str, reads: list[str], gives: str, **attributes: Any
) -> str:
    graph.node.append(helper.make_node(kind, reads, [gives], name=gives, **attributes))
    return gives

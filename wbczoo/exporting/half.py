"""An fp32 graph becomes one of half precision here, whole or but for the layers that begin it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
from onnx import TensorProto, helper

from wbczoo.runtime.model_file import INPUT, NOVELTY

# What begins a network: layers with weights, and a shape or a constant that hangs on no pixel.
_BEGINS = frozenset(
    {"Conv", "Gemm", "MatMul", "LSTM", "GRU", "RNN", "BatchNormalization", "Shape", "Transpose"}
)


def half_graphs(proto: onnx.ModelProto) -> Iterator[tuple[str, onnx.ModelProto]]:
    """What is in fp16, and the graph, from the most to the least of it.

    A network's first convolutions hold few of its weights, and what they round is carried
    through all the others.
    """
    convolutions = [node for node in proto.graph.node if node.op_type == "Conv"]
    yield "all layers", convert(proto, None)
    for part, count in (("quarter", len(convolutions) // 4), ("half", len(convolutions) // 2)):
        if count:
            kept = convolutions[count - 1]
            yield f"all layers after the first {part} of the convolutions", convert(proto, kept)


def convert(proto: onnx.ModelProto, last_kept: onnx.NodeProto | None) -> onnx.ModelProto:
    """A copy in fp16 whose inputs, outputs, preparation of images and novelty stay as they are.

    Done by onnxruntime's converter. What stays in fp32 is taken out before it and put back after,
    for the converter would round between any two nodes that it is told to leave alone. Squared
    distances are beyond what fp16 can hold.

    Args:
        last_kept: this node, and all that leads to it, stay in fp32 as well.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    proto = onnx.shape_inference.infer_shapes(proto)
    graph = proto.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    kept = _preparing(graph) | (leading_to(graph, last_kept.output) if last_kept else set())
    end = for_novelty(graph)
    front = [node for place, node in enumerate(graph.node) if place in kept]
    back = [node for place, node in enumerate(graph.node) if place in end]
    rest = [node for place, node in enumerate(graph.node) if place not in kept | end]
    reads = {name for node in (*front, *back) for name in node.input}
    rest_reads = {name for node in rest for name in node.input}
    handed_over = {name for node in front for name in node.output} & rest_reads
    # Logits are read by the novelty, and handed back as the outputs that they are.
    handed_back = {name for node in rest for name in node.output} & reads
    handed_back -= {each.name for each in graph.output}
    shapes = {value.name: value for value in graph.value_info}
    own = [constants[name] for name in constants if name in reads]

    stripped = onnx.ModelProto()
    stripped.CopyFrom(proto)
    del stripped.graph.node[:], stripped.graph.initializer[:], stripped.graph.value_info[:]
    stripped.graph.node.extend(rest)
    stripped.graph.initializer.extend(constants[name] for name in constants if name in rest_reads)
    kept_outputs = [each for each in graph.output if each.name != NOVELTY]
    del stripped.graph.output[:]
    stripped.graph.output.extend(kept_outputs)
    for listed, names in (
        (stripped.graph.input, handed_over),
        (stripped.graph.output, handed_back),
    ):
        listed.extend(
            shapes.get(name) or helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            for name in sorted(names)
        )
    halved = convert_float_to_float16(stripped, keep_io_types=True)

    whole = halved.graph
    between = [*whole.node]
    del whole.node[:], whole.input[:], whole.output[:], whole.value_info[:]
    whole.input.extend(graph.input)
    whole.output.extend(graph.output)
    for node in (*front, *back):
        for place, name in enumerate(node.input):
            if name in constants:
                node.input[place] = f"fp32/{name}"
    for tensor in own:
        tensor.name = f"fp32/{tensor.name}"
    whole.node.extend([*front, *between, *back])
    whole.initializer.extend(own)
    model = OnnxModel(halved)
    model.topological_sort()
    onnx.checker.check_model(model.model)
    converted: onnx.ModelProto = model.model
    return converted


def _preparing(graph: onnx.GraphProto) -> set[int]:
    """Places of the nodes that scale, normalise and measure, before any layer with weights.

    They read the images and constants alone. They stay in fp32, for their constants have no exact
    halves, and what is measured in pixels is counted by the thousand.
    """
    constants = {tensor.name for tensor in graph.initializer}
    reached, places = {INPUT}, set()
    for place, node in enumerate(graph.node):
        reads = {name for name in node.input if name} - constants
        if node.op_type not in _BEGINS and reads and reads <= reached:
            reached |= set(node.output)
            places.add(place)
    return places


def for_novelty(graph: onnx.GraphProto) -> set[int]:
    """Places of the nodes whose results are of use to the novelty alone."""
    outputs = [each.name for each in graph.output]
    if NOVELTY not in outputs:
        return set()
    needed = leading_to(graph, [name for name in outputs if name != NOVELTY])
    return leading_to(graph, [NOVELTY]) - needed


def leading_to(graph: onnx.GraphProto, names: Iterable[str]) -> set[int]:
    """Places of the nodes that results of these names are made of, near or far."""
    wanted, places = {*names}, set()
    for place in reversed(range(len(graph.node))):
        node = graph.node[place]
        if wanted & set(node.output):
            wanted |= set(node.input)
            places.add(place)
    return places

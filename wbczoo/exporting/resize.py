"""The resize to what a model reads is put before its graph here, so that it reads photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from wbczoo import images
from wbczoo.errors import UsageError, WbczooError
from wbczoo.exporting.matrices import make_matrix, matrix_constants, matrix_lines, parse
from wbczoo.images import Pixels
from wbczoo.runtime.devices import import_onnxruntime
from wbczoo.runtime.model_file import INPUT
from wbczoo.specs import Preprocessing

Size = tuple[int, int]  # (H, W) in pixels

# Without antialias Pillow drops what follows the point, in double precision. A white field must not
# become 254 because float32 lands a hair below 255.
_HAIR = 1 / 1024


def embed(graph: Path, preprocessing: Preprocessing, camera: Size | None) -> None:
    """Let a graph that reads uint8 (N, 3, h, w) read uint8 (N, H, W, 3), in place.

    The resize is that of `images.preprocess` with Pillow 13, as two products with matrices. For
    one size these are constants, and what remains is what TensorRT takes: it refuses the operator
    Resize with antialias. For any size the graph computes them from the shape.

    Args:
        graph: a file that `write_graph` wrote, of any precision.
        camera: the photographs' size; any if None.

    Raises:
        UsageError: if the preprocessing crops.
        WbczooError: if the graph begins otherwise than `write_graph` lets it.
    """
    refuse_crop(preprocessing)
    proto = onnx.load(graph)
    body, front = proto.graph, _front(preprocessing, camera)
    resized = front.output[0].name
    rest, instead = [], {INPUT: resized}
    for node in body.node:
        if INPUT in node.input and node.op_type == "Cast":
            # What was resized is float already; TensorRT knows uint8 as a network's input alone.
            instead[node.output[0]] = resized
        elif INPUT in node.input and node.op_type != "Shape":
            raise WbczooError(f"The graph reads images by {node.op_type} and cannot resize them.")
        else:
            rest.append(node)
    for node in rest:
        for place, name in enumerate(node.input):
            node.input[place] = instead.get(name, name)
    nodes = [*front.node, *rest]
    del body.node[:], body.input[:]
    body.node.extend(nodes)
    body.input.extend(front.input)
    body.initializer.extend(front.initializer)
    onnx.checker.check_model(proto)
    onnx.save(proto, graph)


def refuse_crop(preprocessing: Preprocessing) -> None:
    """UsageError if a model's images are cropped, for which there is no operator here."""
    if preprocessing.crop != "none":
        raise UsageError(
            f"The model's images are cropped ({preprocessing.crop}), which no operator of a graph "
            "does. Leave out --embed-preprocess, and call wbczoo.images.pixels(path, "
            "preprocessing) before the graph, or wbczoo.cells.find and "
            "wbczoo.cells.crop.crop_cells for each cell of a field: docs/deployment.md has ten "
            "lines that do it, under “Before a model that crops”."
        )


def resize(
    photographs: Pixels, preprocessing: Preprocessing, camera: Size | None = None
) -> NDArray[np.float32]:
    """What the embedded part makes of photographs (N, H, W, 3): whole numbers, (N, 3, h, w)."""
    front = helper.make_model(
        _front(preprocessing, camera), opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    )
    session = import_onnxruntime().InferenceSession(
        front.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found: NDArray[np.float32] = session.run(None, {INPUT: photographs})[0]
    return found


def compare_resize(photographs: Pixels, preprocessing: Preprocessing, camera: Size | None) -> int:
    """By how many of 255 steps any pixel differs from what `images.preprocess` makes, at most."""
    expected = np.stack([images.preprocess(each, preprocessing) for each in photographs])
    found = resize(photographs, preprocessing, camera)
    return int(np.abs(found - expected.transpose(0, 3, 1, 2)).max())


def _front(preprocessing: Preprocessing, camera: Size | None) -> onnx.GraphProto:
    """From `images`, uint8 (N, H, W, 3), to the resized, float32 (N, 3, h, w)."""
    height, width = preprocessing.size
    sides = ("height", "width") if camera is None else camera
    reads = f"uint8[batch, {sides[0]}, {sides[1]}, 3] {INPUT}"
    gives = f"float[batch, 3, {height}, {width}]"
    lines = [
        f"floats = Cast <to = 1> ({INPUT})",  # (N, H, W, 3)
        "planes = Transpose <perm = [0, 3, 1, 2]> (floats)",  # (N, 3, H, W)
    ]
    constants: dict[str, NDArray[np.generic]] = {
        name: np.array(value, np.float32)
        for name, value in (("half", 0.5), ("hair", _HAIR), ("black", 0), ("white", 255))
    }
    if camera is not None:
        constants["down"] = make_matrix(camera[0], height, preprocessing)  # (h, H)
        constants["turned"] = make_matrix(camera[1], width, preprocessing).T  # (W, w)
        lines += _passes(preprocessing, _goes_down_first(camera, preprocessing), "resized")
        return _named(parse(lines, reads, f"{gives} resized", constants))
    for axis, place, outside in (("down", 1, height), ("across", 2, width)):
        lines += [f"{axis}_size = Shape <start = {place}, end = {place + 1}> ({INPUT})"]
        lines += matrix_lines(axis, preprocessing)
        constants |= matrix_constants(axis, outside, preprocessing)
    lines += [
        "down = Identity(down_matrix)",
        "turned = Transpose <perm = [1, 0]> (across_matrix)",
    ]
    if not preprocessing.antialias:
        lines += _passes(preprocessing, False, "resized")
        return _named(parse(lines, reads, f"{gives} resized", constants))
    lines += [
        "lost_down = Sub(down_inside, down_outside)",
        "lost_across = Sub(across_inside, across_outside)",
        "lost_twice = Add(lost_across, lost_across)",
        "some = Greater(lost_down, down_zero)",
        "more = Greater(lost_down, lost_twice)",
        "down_first = And(some, more)",
        *(f"{name}_kept = Identity({name})" for name in ("half", "black", "white")),
    ]
    graph = parse(lines, reads, "bool[1] down_first", constants)
    branches = {
        branch: parse(
            _passes(preprocessing, down_first, branch, "_kept"), "", f"{gives} {branch}", {}, branch
        )
        for branch, down_first in (("then_branch", True), ("else_branch", False))
    }
    graph.node.append(helper.make_node("If", ["down_first"], ["resized"], **branches))
    graph.output[0].CopyFrom(branches["then_branch"].output[0])
    graph.output[0].name = "resized"
    return _named(graph)


def _goes_down_first(camera: Size, preprocessing: Preprocessing) -> bool:
    """Whether Pillow 13 makes the vertical pass first, which decides what is rounded in between.

    Nowhere written: found by trying 700 sizes, and true of all of them.
    """
    lost_down, lost_across = (a - b for a, b in zip(camera, preprocessing.size, strict=True))
    return lost_down > 0 and lost_down > 2 * lost_across


def _passes(
    preprocessing: Preprocessing, down_first: bool, result: str, suffix: str = ""
) -> list[str]:
    """From `planes` (N, 3, H, W) to `result` (N, 3, h, w), both whole numbers from 0 to 255.

    Args:
        suffix: of the constants' names.
    """
    once, twice = f"{result}_once", f"{result}_twice"
    ways = {"down": "MatMul(down, {})", "across": "MatMul({}, turned)"}
    first, last = ("down", "across") if down_first else ("across", "down")
    whole = [
        f"{once}_raised = Add({once}, half{suffix})",
        f"{once}_floor = Floor({once}_raised)",
        f"{once}_whole = Clip({once}_floor, black{suffix}, white{suffix})",
    ]
    # Pillow's transform, which is what there is without antialias, interpolates both ways at once.
    between, raised = (
        (f"{once}_whole", f"half{suffix}") if preprocessing.antialias else (once, "hair")
    )
    return [
        f"{once} = {ways[first].format('planes')}",
        *(whole if preprocessing.antialias else []),
        f"{twice} = {ways[last].format(between)}",
        f"{twice}_raised = Add({twice}, {raised})",
        f"{twice}_floor = Floor({twice}_raised)",
        f"{result} = Clip({twice}_floor, black{suffix}, white{suffix})",
    ]


def _named(graph: onnx.GraphProto) -> onnx.GraphProto:
    """The graph with names of its own, which cannot meet those of the graph that follows it."""

    def name(old: str) -> str:
        return old if old in ("", INPUT) else f"resize/{old}"

    for named in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        named.name = name(named.name)
    for place, node in enumerate(graph.node):
        node.name = f"resize/{place}_{node.op_type}"
        node.input[:] = [name(each) for each in node.input]
        node.output[:] = [name(each) for each in node.output]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _named(attribute.g)
    return graph

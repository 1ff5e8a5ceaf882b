"""How an axis is resized is written here as a matrix: in ONNX's text, from the axis's length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, parser
from onnx.reference import ReferenceEvaluator

from wbczoo.specs import Preprocessing

Constants = Mapping[str, NDArray[np.generic]]

# The neighbours of a pixel that each kernel reads without antialias.
_TAPS = {"bilinear": (0, 1), "bicubic": (-1, 0, 1, 2)}

# From a distance d to a weight. Bicubic is Keys' (1981): (a + 2) d^3 - (a + 3) d^2 + 1 up to 1,
# and a (d^3 - 5 d^2 + 8 d - 4) up to 2.
_KERNELS = {
    "bilinear": ["{a}_fading = Sub({a}_one, {a}_distance)", "{a}_weights = Relu({a}_fading)"],
    "bicubic": [
        "{a}_near_1 = Mul({a}_distance, {a}_keys_2)",
        "{a}_near_2 = Sub({a}_near_1, {a}_keys_3)",
        "{a}_square = Mul({a}_distance, {a}_distance)",
        "{a}_near_3 = Mul({a}_near_2, {a}_square)",
        "{a}_near = Add({a}_near_3, {a}_one)",
        "{a}_away_1 = Sub({a}_distance, {a}_five)",
        "{a}_away_2 = Mul({a}_away_1, {a}_distance)",
        "{a}_away_3 = Add({a}_away_2, {a}_eight)",
        "{a}_away_4 = Mul({a}_away_3, {a}_distance)",
        "{a}_away_5 = Sub({a}_away_4, {a}_four)",
        "{a}_away = Mul({a}_away_5, {a}_keys)",
        "{a}_is_near = Less({a}_distance, {a}_one)",
        "{a}_is_away = Less({a}_distance, {a}_two)",
        "{a}_outer = Where({a}_is_away, {a}_away, {a}_zero)",
        "{a}_weights = Where({a}_is_near, {a}_near, {a}_outer)",
    ],
}


def make_matrix(inside: int, outside: int, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """The matrix (outside, inside) that resizes an axis of `inside` pixels."""
    graph = parse(
        matrix_lines("axis", preprocessing),
        "int64[1] axis_size",
        f"float[{outside}, {inside}] axis_matrix",
        matrix_constants("axis", outside, preprocessing),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    found: Any = ReferenceEvaluator(model).run(None, {"axis_size": np.array([inside])})
    return np.asarray(found[0], np.float32)


def matrix_lines(axis: str, preprocessing: Preprocessing) -> list[str]:
    """The operators from `<axis>_size`, int64 (1), to `<axis>_matrix` (outside, inside).

    With antialias as Pillow's `Resample.c`: the kernel widens as the image shrinks, what of it
    lies outside the image counts for nothing, and weights have 22 bits. Without as `Geometry.c`:
    the kernel has its plain width, and outside lies the pixel at the edge.
    """
    lines = [
        "{a}_inside = Cast <to = 1> ({a}_size)",  # (1)
        "{a}_stop = Squeeze({a}_inside)",
        "{a}_places = Range({a}_zero, {a}_stop, {a}_one)",  # (inside): 0, 1, ...
        "{a}_scale = Div({a}_inside, {a}_outside)",
        "{a}_centres = Mul({a}_middles, {a}_scale)",  # (outside, 1), in the image's pixels
        "{a}_at = Sub({a}_centres, {a}_half)",  # a pixel's middle is half a pixel from its edge
    ]
    if preprocessing.antialias:
        lines += [
            "{a}_wide = Max({a}_scale, {a}_one)",
            "{a}_apart = Sub({a}_at, {a}_places)",  # (outside, inside)
            "{a}_far = Abs({a}_apart)",
            "{a}_distance = Div({a}_far, {a}_wide)",
            *_KERNELS[preprocessing.interpolation],
            "{a}_total = ReduceSum({a}_weights, {a}_last)",  # (outside, 1)
            "{a}_shares = Div({a}_weights, {a}_total)",
            "{a}_raised = Mul({a}_shares, {a}_bits)",
            "{a}_rounded = Round({a}_raised)",
            "{a}_matrix = Div({a}_rounded, {a}_bits)",
        ]
    else:
        lines += [
            "{a}_first = Floor({a}_at)",
            "{a}_met = Add({a}_first, {a}_taps)",  # (outside, taps)
            "{a}_apart = Sub({a}_at, {a}_met)",
            "{a}_distance = Abs({a}_apart)",
            *_KERNELS[preprocessing.interpolation],
            "{a}_highest = Sub({a}_inside, {a}_one)",
            "{a}_below = Min({a}_met, {a}_highest)",
            "{a}_held = Max({a}_below, {a}_zero)",
            "{a}_held_deep = Unsqueeze({a}_held, {a}_last)",  # (outside, taps, 1)
            "{a}_is = Equal({a}_held_deep, {a}_places)",  # (outside, taps, inside)
            "{a}_is_one = Cast <to = 1> ({a}_is)",
            "{a}_deep = Unsqueeze({a}_weights, {a}_last)",
            "{a}_parts = Mul({a}_is_one, {a}_deep)",
            "{a}_matrix = ReduceSum <keepdims = 0> ({a}_parts, {a}_inner)",
        ]
    return [line.format(a=axis) for line in lines]


def matrix_constants(axis: str, outside: int, preprocessing: Preprocessing) -> Constants:
    """What `matrix_lines` reads besides the size."""
    # Pillow's two functions have kernels of their own: a is -0.5 in Resample.c, -1 in Geometry.c.
    keys = -0.5 if preprocessing.antialias else -1.0
    numbers: dict[str, Any] = {
        "zero": 0, "half": 0.5, "one": 1, "two": 2, "four": 4, "five": 5, "eight": 8,
        "keys": keys, "keys_2": keys + 2, "keys_3": keys + 3,
        "bits": 1 << 22,
        "outside": outside,
        "middles": np.arange(outside)[:, None] + 0.5,
        "taps": [_TAPS[preprocessing.interpolation]],
    }  # fmt: skip
    constants: dict[str, NDArray[np.generic]] = {
        f"{axis}_{name}": np.array(value, np.float32) for name, value in numbers.items()
    }
    constants[f"{axis}_last"] = np.array([-1], np.int64)
    constants[f"{axis}_inner"] = np.array([1], np.int64)
    return constants


def parse(
    lines: Sequence[str], reads: str, gives: str, constants: Constants, name: str = "resize"
) -> onnx.GraphProto:
    """A graph from ONNX's text, with those of the constants that it reads."""
    graph = parser.parse_graph(f"{name} ({reads}) => ({gives}) {{ {' '.join(lines)} }}")
    used = {read for node in graph.node for read in node.input}
    graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), read)
        for read, value in constants.items()
        if read in used
    )
    return graph

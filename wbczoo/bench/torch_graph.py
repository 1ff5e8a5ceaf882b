"""An ONNX graph is computed by PyTorch here, for a loop as somebody without a runtime writes it.

The exports and the finder hold no PyTorch code, and their graphs have few operators. Norms are
folded into convolutions there, so that this is no slower than the modules were before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor
from torch.nn import functional

from wbczoo.errors import WbczooError

_Operator = Callable[..., Any]  # of a node's inputs, and its attributes by name


@dataclass
class _Step:
    """An operator with what it reads and makes; `last` are values that nobody reads after it."""

    operator: _Operator
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]
    last: list[str] = field(default_factory=list)


class TorchGraph:
    """The outputs of a graph that are asked for, by PyTorch, in fp32 on the processor.

    Args:
        path: an ONNX file; weights in fp16 are taken to fp32.
        outputs: names; what only others need is left out.
        channels_last: the layout of the convolutions' weights and of what comes in.

    Raises:
        WbczooError: if an operator of the graph is not known here.
    """

    def __init__(self, path: Path, outputs: Sequence[str], *, channels_last: bool = False) -> None:
        graph = onnx.load(path).graph
        self.outputs = tuple(outputs)
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._known: dict[str, Any] = {"": None}
        for constant in graph.initializer:
            self._known[constant.name] = self._constant(constant)
        self._input = next(each.name for each in graph.input if each.name not in self._known)
        nodes = _needed(graph.node, self.outputs)
        for node in nodes:
            if node.op_type == "Constant":
                self._known[node.output[0]] = self._constant(node.attribute[0].t)
        self._steps: list[_Step] = []
        for node in (one for one in nodes if one.op_type != "Constant"):
            if node.op_type not in _OPERATORS:
                raise WbczooError(
                    f"{path} has the operator {node.op_type}, which is not computed by PyTorch "
                    "here. Compare another export."
                )
            attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
            operator = _OPERATORS[node.op_type]
            self._steps.append(_Step(operator, [*node.input], [*node.output], attributes))
        held = {*self._known, *self.outputs}
        for step in reversed(self._steps):
            step.last = [name for name in {*step.inputs} if name not in held]
            held.update(step.inputs)

    def __call__(self, values: Tensor) -> tuple[Tensor, ...]:
        """The outputs in the order in which they were asked for, of one batch (N, C, H, W)."""
        found = {**self._known, self._input: values.contiguous(memory_format=self._format)}
        for step in self._steps:
            made = step.operator(*[found[name] for name in step.inputs], **step.attributes)
            found[step.outputs[0]] = made
            for name in step.last:
                del found[name]
        return tuple(found[name] for name in self.outputs)

    def _constant(self, constant: TensorProto) -> Any:
        array = torch.from_numpy(numpy_helper.to_array(constant).copy())
        if not array.is_floating_point():
            return array.tolist()  # axes, sizes: torch wants numbers
        array = array.float()
        if array.ndim == 4:
            return array.contiguous(memory_format=self._format)
        return array if array.ndim else array.item()


def _needed(nodes: Sequence[NodeProto], outputs: Sequence[str]) -> list[NodeProto]:
    """The nodes that lead to some outputs, in their order."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    return kept[::-1]


def _convolve(
    values: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    pads: Sequence[int] = (0, 0, 0, 0),
    strides: Sequence[int] = (1, 1),
    dilations: Sequence[int] = (1, 1),
    group: int = 1,
    **_: Any,
) -> Tensor:
    top, left, bottom, right = pads
    if (top, left) != (bottom, right):
        values, top, left = functional.pad(values, (left, right, top, bottom)), 0, 0
    return functional.conv2d(
        values, weight, bias, tuple(strides), (top, left), tuple(dilations), group
    )


def _dense(
    values: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    transB: int = 0,  # noqa: N803 - ONNX's own name
    **_: Any,
) -> Tensor:
    return functional.linear(values, weight if transB else weight.T, bias)


def _resize(values: Tensor, _region: Any, scales: Tensor, **how: Any) -> Tensor:
    if (how["mode"], how["nearest_mode"]) != (b"nearest", b"floor"):
        raise WbczooError(f"PyTorch is not asked here to resize by {how['mode'].decode()}.")
    return functional.interpolate(values, scale_factor=scales[2:].tolist(), mode="nearest")


def _slice(
    values: Tensor,
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Sequence[int],
    steps: Sequence[int],
) -> Tensor:
    kept = [slice(None)] * values.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        kept[axis] = slice(start, end, step)
    return values[tuple(kept)]


def _mean(values: Tensor, axes: Sequence[int], *, keepdims: int = 1, **_: Any) -> Tensor:
    return values.mean(dim=tuple(axes), keepdim=bool(keepdims))


def _cast(values: Tensor, **_: Any) -> Tensor:
    return values if values.is_floating_point() else values.float()


_OPERATORS: Mapping[str, _Operator] = {
    "Add": torch.add,
    "Cast": _cast,
    "Clip": lambda values, low=None, high=None: torch.clamp(values, low, high),
    "Concat": lambda *values, axis: torch.cat(values, axis),
    "Conv": _convolve,
    "Div": torch.div,
    "Flatten": lambda values, axis=1: values.flatten(axis),
    "Gemm": _dense,
    "HardSigmoid": lambda values, alpha=0.2, beta=0.5: (alpha * values + beta).clamp(0, 1),
    "HardSwish": functional.hardswish,
    "MatMul": torch.matmul,
    "Mul": torch.mul,
    "ReduceMean": _mean,
    "Relu": torch.relu,
    "Resize": _resize,
    "Sigmoid": torch.sigmoid,
    "Slice": _slice,
    "Softmax": lambda values, axis=-1: values.softmax(axis),
    "Softplus": functional.softplus,
    "Sub": torch.sub,
}

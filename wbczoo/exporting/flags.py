"""Flags become an output of a graph here, and their limits inputs that need not be given."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from wbczoo.exporting.half import leading_to
from wbczoo.runtime.flags import CONTRADICTED, UNKNOWN, UNSURE, Limits
from wbczoo.runtime.model_file import NOVELTY
from wbczoo.tasks import NUCLEUS_OF, Task

FLAGS = "flags"
UNKNOWN_ABOVE, UNSURE_BELOW = "unknown_above", "unsure_below"
NAMES = (UNKNOWN, UNSURE, CONTRADICTED)  # in the order of the output's columns

_PREFIX = "flags/"


def add_flags(proto: onnx.ModelProto, tasks: Sequence[Task], limits: Limits) -> None:
    """Let a graph tell the flags that a `Session` tells, so that other programs need no rules.

    What is added is the output `flags`, bool (batch, 3), whose columns the metadata
    `wbczoo.flags` name, and the inputs `unknown_above`, float32 (), and `unsure_below`,
    float32 (tasks,), which have the limits as defaults. An earlier output is replaced.

    Args:
        proto: a whole export's, in place.
    """
    drop_flags(proto)
    graph = proto.graph
    highest = math.inf if limits.unknown_above is None else limits.unknown_above
    lowest = [limits.unsure_below.get(task.name, 0.0) for task in tasks]
    for name, value in (
        (UNKNOWN_ABOVE, np.array(highest, np.float32)),
        (UNSURE_BELOW, np.array(lowest, np.float32)),
    ):
        graph.initializer.append(numpy_helper.from_array(value, name))
        graph.input.append(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, list(value.shape))
        )
    added = _Nodes(graph)
    tops = {task.name: added.top(f"{task.name}_probabilities") for task in tasks}
    never = added("Less", [tops[tasks[0].name], added.constant(np.zeros(1, np.float32))])
    unknown = never
    if NOVELTY in {each.name for each in graph.output}:
        novelty = added("Unsqueeze", [NOVELTY, added.constant(np.array([1]))])  # (N, 1)
        unknown = added("Greater", [novelty, UNKNOWN_ABOVE])
    unsure = [
        added("Less", [tops[task.name], added("Gather", [UNSURE_BELOW, added.constant([at])])])
        for at, task in enumerate(tasks)
    ]
    columns = [
        unknown,
        added.any(unsure),
        added.any([never, *_contradictions(added, tasks, tops)]),
    ]
    graph.node.append(
        helper.make_node("Concat", columns, [FLAGS], name=f"{_PREFIX}{FLAGS}", axis=1)
    )
    graph.output.append(
        helper.make_tensor_value_info(FLAGS, TensorProto.BOOL, ["batch", len(NAMES)])
    )
    known = {each.key: each.value for each in proto.metadata_props}
    helper.set_model_props(proto, {**known, "wbczoo.flags": json.dumps(NAMES)})
    onnx.checker.check_model(proto)


def write_flags(path: Path, tasks: Sequence[Task], limits: Limits) -> None:
    """`add_flags` to a file."""
    proto = onnx.load(path)
    add_flags(proto, tasks, limits)
    onnx.save(proto, path)


def drop_flags(proto: onnx.ModelProto) -> None:
    """Take the output away, with its inputs and all that leads to it alone; in place."""
    graph = proto.graph
    outputs = [each for each in graph.output if each.name != FLAGS]
    if len(outputs) == len(graph.output):
        return
    inputs = [each for each in graph.input if each.name not in (UNKNOWN_ABOVE, UNSURE_BELOW)]
    kept = leading_to(graph, [each.name for each in outputs])
    nodes = [node for at, node in enumerate(graph.node) if at in kept]
    read = {name for node in nodes for name in node.input}
    constants = [each for each in graph.initializer if each.name in read]
    for field, values in (
        (graph.output, outputs),
        (graph.input, inputs),
        (graph.node, nodes),
        (graph.initializer, constants),
    ):
        del field[:]
        field.extend(values)


def _contradictions(added: _Nodes, tasks: Sequence[Task], tops: dict[str, str]) -> Iterator[str]:
    """For each kind of nucleus that a task denies, whether it does: bool (N, 1)."""
    nucleus = next((task for task in tasks if task.name == "nucleus"), None)
    if nucleus is None:
        return
    for found in sorted({*NUCLEUS_OF.values()} & {*nucleus.classes}):
        for task in tasks:
            denied = [name for name in task.classes if NUCLEUS_OF.get(name, found) != found]
            if denied:
                sides = [
                    added.wins(each.name, [each.classes.index(name) for name in names], tops)
                    for each, names in ((nucleus, [found]), (task, denied))
                ]
                yield added("And", sides)


class _Nodes:
    """Adds nodes to a graph, each with a name of its own, and returns what they give."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._count = 0

    def __call__(self, kind: str, reads: Sequence[str], **attributes: Any) -> str:
        name = self._name(kind.lower())
        self._graph.node.append(helper.make_node(kind, reads, [name], name=name, **attributes))
        return name

    def constant(self, values: NDArray[np.generic] | list[int]) -> str:
        name = self._name("constant")
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def top(self, name: str) -> str:
        """The largest of each row (N, C), as (N, 1)."""
        return self("ReduceMax", [name, self.constant([1])])

    def any(self, sides: Sequence[str]) -> str:
        """Whether any of several is true."""
        first, *others = sides
        for other in others:
            first = self("Or", [first, other])
        return first

    def wins(self, task: str, places: list[int], tops: dict[str, str]) -> str:
        """Whether a task's answer is one of some classes, bool (N, 1)."""
        taken = self("Gather", [f"{task}_probabilities", self.constant(places)], axis=1)
        return self("Equal", [self.top(taken), tops[task]])

    def _name(self, what: str) -> str:
        self._count += 1
        return f"{_PREFIX}{what}_{self._count}"

"""Model files that are damaged, or made to harm, and the process in which wbczoo meets them."""

from __future__ import annotations

import contextlib
import io
import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

Change = Callable[[ModelProto], None]

ESCAPE = "\x1b[2J\x1b]0;owned\x07"  # empties a terminal and renames its window


MEMORY = 6 << 30  # bytes of address space: what asks for more shall fail, and not the machine


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """Run a command in this process; how it ended, and what it wrote."""
    from wbczoo.cli import main

    with contextlib.suppress(ImportError):  # not on Windows
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code: int | str = main(job["arguments"])
        except BaseException as error:  # main keeps every error to itself
            code = f"{type(error).__name__}: {error}"
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def mutate(content: bytes, seed: int) -> bytes:
    """A model with one kind of damage, the same for the same seed."""
    chance = random.Random(seed)
    changed = bytearray(content)
    at = chance.randrange(len(changed))
    kind = chance.choice(
        ("flip", "flip", "flip", "bytes", "cut", "splice", "swap", "insert", "drop")
    )
    if kind == "flip":
        for _ in range(chance.choice((1, 1, 2, 8, 32))):
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    elif kind == "bytes":  # lengths that lie, numbers that do not end
        changed[at : at + 10] = chance.choice((b"\xff" * 10, b"\xff" * 4 + b"\x07", b"\0", b"\x7f"))
    elif kind == "cut":
        del changed[at:]
    elif kind == "splice":
        other = chance.randrange(len(changed))
        changed[at : at + 400] = changed[other : other + chance.randrange(1, 400)]
    elif kind == "swap":
        changed = changed[at:] + changed[:at]
    elif kind == "insert":
        changed[at:at] = chance.randbytes(chance.randrange(1, 9))
    else:
        del changed[at : at + chance.randrange(1, 9)]
    return bytes(changed)


def changed(content: bytes, *changes: Change) -> bytes:
    """The model with each change made to it."""
    model = onnx.load_model_from_string(content)
    for change in changes:
        change(model)
    return model.SerializeToString()


def metadata(**values: str | bytes) -> Change:
    """Other metadata; `wbczoo.` goes before each name."""

    def change(model: ModelProto) -> None:
        for entry in model.metadata_props:
            name = entry.key.removeprefix("wbczoo.")
            if name in values:
                entry.value = values[name]

    return change


def edited(name: str, edit: Callable[[Any], Any]) -> Change:
    """Metadata that are JSON, edited."""

    def change(model: ModelProto) -> None:
        for entry in model.metadata_props:
            if entry.key == f"wbczoo.{name}":
                document = json.loads(entry.value)
                entry.value = json.dumps(edit(document) or document)

    return change


def outside(location: str, **more: str) -> TensorProto:
    """Four numbers that lie in another file."""
    tensor = TensorProto(name="outside", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": "16", **more}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def adding(tensor: TensorProto, place: str) -> Change:
    """The sum of a tensor is added to the first output, wherever in the model the tensor is."""

    def change(model: ModelProto) -> None:
        graph = model.graph
        _PLACES[place](model, tensor)
        if not any("outside" in node.output for node in graph.node) and place != "initializer":
            return  # where onnxruntime would not look for it
        output = graph.output[0].name
        for node in graph.node:
            for at, name in enumerate(node.output):
                if name == output:
                    node.output[at] = "before"
            for at, name in enumerate(node.input):
                if name == output:
                    node.input[at] = "before"
        graph.node.append(helper.make_node("ReduceSum", ["outside"], ["sum"], keepdims=0))
        graph.node.append(helper.make_node("Add", ["before", "sum"], [output]))

    return change


def _first(graph: GraphProto, node: NodeProto) -> None:
    graph.node.insert(0, node)


def _constant(tensor: TensorProto, name: str) -> NodeProto:
    return helper.make_node("Constant", [], [name], value=tensor)


def _branch(tensor: TensorProto, initializer: bool) -> GraphProto:
    out = helper.make_tensor_value_info("chosen", TensorProto.FLOAT, [4])
    if initializer:
        node = helper.make_node("Identity", ["outside_within"], ["chosen"])
        kept = TensorProto()
        kept.CopyFrom(tensor)
        kept.name = "outside_within"
        return helper.make_graph([node], "branch", [], [out], [kept])
    return helper.make_graph([_constant(tensor, "chosen")], "branch", [], [out])


def _in_if(model: ModelProto, tensor: TensorProto, initializer: bool = False) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    branch = _branch(tensor, initializer)
    node = helper.make_node("If", ["yes"], ["outside"], then_branch=branch, else_branch=branch)
    _first(model.graph, node)


def _in_function(model: ModelProto, tensor: TensorProto) -> None:
    opset = [helper.make_opsetid("", 18)]
    body = helper.make_function("", "Outside", [], ["value"], [_constant(tensor, "value")], opset)
    model.functions.append(body)


def _in_default(model: ModelProto, tensor: TensorProto) -> None:
    _in_function(model, numpy_helper.from_array(np.zeros(4, np.float32)))
    model.functions[0].attribute_proto.append(helper.make_attribute("value", tensor))


def _in_sparse(model: ModelProto, tensor: TensorProto) -> None:
    indices = numpy_helper.from_array(np.arange(4), "indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(tensor, indices, [9]))


def _in_training(model: ModelProto, tensor: TensorProto) -> None:
    model.training_info.add().initialization.initializer.append(tensor)


def _in_list(model: ModelProto, tensor: TensorProto) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("more", [tensor]))


def _in_sparse_attribute(model: ModelProto, tensor: TensorProto) -> None:
    indices = numpy_helper.from_array(np.arange(4), "indices")
    sparse = helper.make_sparse_tensor(tensor, indices, [9])
    model.graph.node[0].attribute.append(helper.make_attribute("more", sparse))


def _in_graph_list(model: ModelProto, tensor: TensorProto) -> None:
    graphs = [_branch(tensor, initializer=True)]
    model.graph.node[0].attribute.append(helper.make_attribute("more", graphs))


# Everywhere that onnx.proto has a tensor.
_PLACES: dict[str, Callable[[ModelProto, TensorProto], None]] = {
    "initializer": lambda model, tensor: model.graph.initializer.append(tensor),
    "constant": lambda model, tensor: _first(model.graph, _constant(tensor, "outside")),
    "branch": _in_if,
    "branch's initializer": lambda model, tensor: _in_if(model, tensor, initializer=True),
    "function": _in_function,
    "function's default": _in_default,
    "sparse initializer": _in_sparse,
    "training": _in_training,
    "list of tensors": _in_list,
    "sparse attribute": _in_sparse_attribute,
    "list of graphs": _in_graph_list,
}
PLACES = tuple(_PLACES)


def renamed_output(model: ModelProto) -> None:
    """The graph answers under another name than its metadata say."""
    output = model.graph.output[0]
    for node in model.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == output.name:
                    names[place] = "renamed"
    output.name = "renamed"


def answered_by(op_type: str, *more: TensorProto, kind: int = TensorProto.FLOAT) -> Change:
    """The first output is made of the right one by an operator, and declared to be right."""

    def change(model: ModelProto) -> None:
        output = model.graph.output[0]
        for node in model.graph.node:
            for names in (node.input, node.output):
                for at, name in enumerate(names):
                    if name == output.name:
                        names[at] = "before"
        model.graph.initializer.extend(more)
        inputs = ["before", *(tensor.name for tensor in more)]
        options = {"Cast": {"to": kind}, "Concat": {"axis": 0}, "ReduceSum": {"keepdims": 0}}
        if op_type == "Concat":
            inputs *= 2
        if op_type == "ReduceSum":
            output.type.tensor_type.ClearField("shape")  # which onnxruntime then finds out
        model.graph.node.append(
            helper.make_node(op_type, inputs, [output.name], **options.get(op_type, {}))
        )
        output.type.tensor_type.elem_type = kind

    return change


def numbers(name: str, *values: int) -> TensorProto:
    """A constant vector of int64."""
    return numpy_helper.from_array(np.array(values, np.int64), name)


def input_size(height: int, width: int) -> Change:
    """Images of another size, in the graph's input and in the metadata."""

    def change(model: ModelProto) -> None:
        dimensions = model.graph.input[0].type.tensor_type.shape.dim
        dimensions[2].dim_value, dimensions[3].dim_value = height, width
        edited("preprocessing", lambda found: {**found, "size": [height, width]})(model)

    return change


def input_of_any_shape(model: ModelProto) -> None:
    """The graph does not say what it reads."""
    model.graph.input[0].type.tensor_type.ClearField("shape")


def custom_operator(domain: str) -> Change:
    """A node of a domain that no runtime brings."""

    def change(model: ModelProto) -> None:
        model.graph.node.append(helper.make_node("Run", ["images"], ["ran"], domain=domain))
        model.opset_import.append(helper.make_opsetid(domain, 1))

    return change


def many_tasks(count: int) -> Change:
    """So many tasks, each of which the graph answers."""

    def change(model: ModelProto) -> None:
        names = [task["name"] for task in json.loads(_value(model, "tasks"))]
        tasks = [{"name": f"t{n}", "classes": ["mononuclear", "polynuclear"]} for n in range(count)]
        for task in tasks:
            for kind in ("logits", "probabilities"):
                source, name = f"{names[-1]}_{kind}", f"{task['name']}_{kind}"
                model.graph.node.append(helper.make_node("Identity", [source], [name]))
                info = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2])
                model.graph.output.append(info)
        edited("tasks", lambda found: tasks)(model)

    return change


def _value(model: ModelProto, name: str) -> str:
    (found,) = (each.value for each in model.metadata_props if each.key == f"wbczoo.{name}")
    return str(found)


def without_metadata(model: ModelProto) -> None:
    """An ONNX model of somebody else."""
    del model.metadata_props[:]


def nested(content: bytes) -> bytes:
    """A model whose graph lies in a graph, a thousand deep."""
    model = b""
    for _ in range(1000):
        for tag in (0x32, 0x2A, 0x0A):  # a graph in an attribute in a node in a graph
            model = bytes([tag]) + length_of(len(model)) + model
    return content + b"\x3a" + length_of(len(model)) + model


def length_of(number: int) -> bytes:
    """A number as protobuf writes it."""
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _tasks(*words: str) -> Change:
    return edited("tasks", lambda found: [{"name": "cell", "classes": ["a", *words]}])


# What is wrong -> how it is made of a good file's bytes, and what the user is told.
FILES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda good: b"", "it is empty"),
    "web page": (lambda good: b"\n<!DOCTYPE html><title>Sign in</title>", "it is a web page"),
    "git-lfs": (
        lambda good: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
        "git lfs pull",
    ),
    "words": (lambda good: b"Not Found", "it is text, 'Not Found'"),
    "zip": (lambda good: b"PK\x03\x04" + bytes(99), "it is a zip archive"),
    "gzip": (lambda good: b"\x1f\x8b\x08\x00" + bytes(99), "compressed with gzip"),
    "ort": (lambda good: b"\x18\0\0\0ORTM" + bytes(99), "onnxruntime's own format"),
    "zeros": (lambda good: bytes(4096), "it is damaged"),
    "half": (lambda good: good[: len(good) // 2], "it is cut off or damaged"),
    "less a byte": (lambda good: good[:-1], "it is cut off or damaged"),
    "nested": (nested, "it nests too deeply"),
    "many fields": (lambda good: good + b"\x08\x01" * 2_100_000, "more than 2000000 fields"),
    "no graph": (lambda good: b"\x08\x0a", "it holds no graph"),
}

# What is wrong -> how the model is changed, and what the user is told.
MODELS: dict[str, tuple[Change, str]] = {
    "no metadata": (without_metadata, "without the metadata wbczoo.format"),
    "future": (metadata(format="2"), "reads format 1"),
    "version": (metadata(format="2", version=f"9{ESCAPE}"), "reads format 1"),
    "config of a later version": (
        edited("config", lambda found: {**found, "format": 2}),
        "has a config of format 2, written by wbczoo .* Use a version that fits",
    ),
    "long format": (metadata(format="[" * 10**6), "reads format 1. Use a version"),
    "long version": (metadata(format="2", version="9" * 10**6), "reads format 1. Use a version"),
    "long crop": (edited("preprocessing", lambda f: {**f, "crop": "c" * 10**6}), "does not know"),
    "long class": (_tasks("b", "C" * 10**6), "are damaged.* Export the run again"),
    "two tasks of one name": (edited("tasks", lambda f: [*f, f[0]]), "two have one name"),
    "no JSON": (metadata(tasks="NaN"), r"malformed.*\. Export the run again"),
    "escape in a class": (_tasks("b", f"c{ESCAPE}"), "are damaged"),
    "lines in a class": (_tasks("b", "c\nError: all is well"), "are damaged"),
    "comma in a class": (_tasks("b", "=cmd|' /C calc'!A0,"), "are damaged"),
    "a million classes": (_tasks(*(f"c{n}" for n in range(10**6))), "not the one that"),
    "other classes": (_tasks("b"), "not the one that its metadata describe"),
    "tasks that are none": (edited("tasks", lambda found: {"cell": 3}), "are damaged"),
    "10 000 tasks": (many_tasks(10**4), "more than 1000 outputs"),
    "10 000 tasks unanswered": (
        edited("tasks", lambda f: [{"name": f"t{n}", "classes": ["a", "b"]} for n in range(10**4)]),
        "describe|damaged",
    ),
    "a trillion pixels": (input_size(10**6, 10**6), "describe|damaged"),
    "a billion pixels": (input_size(2**15, 2**15), "describe|damaged"),
    "no pixels": (input_size(0, 0), "describe|damaged"),
    "negative pixels": (
        edited("preprocessing", lambda found: {**found, "size": [-64, 64]}),
        "describe|damaged",
    ),
    "deep JSON": (metadata(config="[" * 100_000), "are damaged"),
    "long number": (metadata(tasks="1" * 5000), "are damaged"),
    "crop": (edited("preprocessing", lambda f: {**f, "crop": ESCAPE}), "does not know"),
    "renamed output": (renamed_output, "not the one that its metadata describe"),
    "input of any shape": (input_of_any_shape, "not the one that its metadata describe"),
    "scalar": (answered_by("ReduceSum"), "not the one that its metadata describe"),
    "rows": (answered_by("Concat"), "failed on"),
    "fewer classes": (answered_by("Gather", numbers("first", 0)), "failed on"),
    "doubles": (answered_by("Cast", kind=TensorProto.DOUBLE), "not the one that"),
    "strings": (answered_by("Cast", kind=TensorProto.STRING), "not the one that"),
    "domain": (custom_operator(f"evil{ESCAPE}"), "needs operators of the domain"),
    "one output": (answered_by("Expand", numbers("huge", 1 << 38, 4)), "failed on"),
}


def endless(model: ModelProto) -> None:
    """The first output waits for a loop, which never ends unless all logits are zero."""
    name = model.graph.output[0].name
    renamed_output(model)
    go, on = (helper.make_tensor_value_info(each, TensorProto.BOOL, []) for each in ("go", "on"))
    value, following = (
        helper.make_tensor_value_info(each, TensorProto.FLOAT, None) for each in ("value", "next")
    )
    turn = helper.make_tensor_value_info("turn", TensorProto.INT64, [])
    same = [
        helper.make_node("Identity", ["go"], ["on"]),
        helper.make_node("Identity", ["value"], ["next"]),
    ]
    body = helper.make_graph(same, "body", [turn, go, value], [on, following])
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0), "zero"))
    model.graph.node.extend(
        [
            helper.make_node("ReduceSumSquare", ["renamed"], ["squares"], keepdims=0),
            helper.make_node("Greater", ["squares", "zero"], ["some"]),
            helper.make_node("Loop", ["", "some", "renamed"], [name], body=body),
        ]
    )
    model.graph.output[0].name = name

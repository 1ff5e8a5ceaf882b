"""A model file's graph is read here, and opened with more of its tensors as outputs.

An ONNX file names each of its tensors, constants included, and onnxruntime gives whichever the
graph lists as an output. So those that are wanted are listed in a copy in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from wbczoo.runtime import devices, providers

# What changes only how a tensor is stored.
STEPS = ("Cast", "DequantizeLinear", "Identity", "QuantizeLinear")


def read_model(path: Path) -> Any:
    """onnx.proto's ModelProto, or as much of it as is read here; the rest is kept as it is."""
    return _schema().FromString(path.read_bytes())


def open_with(
    path: Path, model: Any, tensors: Iterable[str], provider: str, threads: int | None
) -> Any:
    """An onnxruntime session that gives tensors of a model beside its outputs.

    Args:
        path: the model's, for sentences.
        model: of `read_model`; the tensors are listed in it.
        provider: what computes the answers; of a GPU's, CUDA computes here, else the CPU.
        threads: of the CPU.

    Raises:
        WbczooError: if onnxruntime refuses the graph.
    """
    listed = {each.name for each in model.graph.output}
    for tensor in dict.fromkeys(tensors):
        if tensor not in listed:
            model.graph.output.add(name=tensor)
    on_gpu = provider in (devices.CUDA, devices.TENSORRT)
    chosen = [(devices.CUDA, providers.CUDA_OPTIONS)] if on_gpu else [(devices.CPU, {})]
    return providers.open_session(path, chosen, threads, content=model.SerializeToString())


@cache
def _schema() -> Any:
    """The little of onnx.proto that is read and added; protobuf keeps the rest as it is."""
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message_factory import GetMessageClass

    kinds = FieldDescriptorProto
    one, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    text, whole, number = kinds.TYPE_STRING, kinds.TYPE_INT64, kinds.TYPE_FLOAT
    outline: dict[str, list[tuple[str, int, int, int | str]]] = {
        "Attribute": [("name", 1, one, text), ("f", 2, one, number), ("i", 3, one, whole)],
        "Value": [("name", 1, one, text)],
        "Node": [
            ("input", 1, many, text),
            ("output", 2, many, text),
            ("op_type", 4, one, text),
            ("attribute", 5, many, "Attribute"),
        ],
        "Graph": [("node", 1, many, "Node"), ("output", 12, many, "Value")],
        "Model": [("graph", 7, one, "Graph")],
    }
    file = FileDescriptorProto(name="wbczoo.proto", package="wbczoo", syntax="proto2")
    for message, fields in outline.items():
        made = file.message_type.add(name=message)
        for name, place, label, kind in fields:
            field = made.field.add(name=name, number=place, label=label)
            if isinstance(kind, str):
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".wbczoo.{kind}"
            else:
                field.type = kind
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("wbczoo.Model"))

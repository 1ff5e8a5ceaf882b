"""The Open Inference Protocol, version 2: its JSON and its binary tensors become arrays and back.

https://github.com/kserve/open-inference-protocol; the binary tensors are Triton's extension.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wbczoo import __version__
from wbczoo.images import Pixels
from wbczoo.runtime.model_file import INPUT, ModelFile
from wbczoo.serving.refused import Refused

HEADER_LENGTH = "Inference-Header-Content-Length"
VERSION = "1"  # of every model: an export is one file


@dataclass(frozen=True)
class Asked:
    """A request.

    Attributes:
        pixels: uint8 (N, 3, H, W), or (N, H, W, 3) of a model that resizes by itself.
        outputs: each output that is wanted, and whether as bytes.
        id: that the answer repeats, if any.
    """

    pixels: Pixels
    outputs: Mapping[str, bool]
    id: str | None


def describe_server() -> dict[str, Any]:
    """The server's metadata."""
    return {"name": "wbczoo", "version": __version__, "extensions": ["binary_tensor_data"]}


def describe_model(name: str, file: ModelFile) -> dict[str, Any]:
    """A model's metadata."""
    height, width = file.size or (-1, -1)
    shape = [-1, height, width, 3] if file.embedded else [-1, 3, height, width]
    return {
        "name": name,
        "versions": [VERSION],
        "platform": "onnx_onnxruntime",
        "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": shape}],
        "outputs": [
            {"name": output, "datatype": "FP32", "shape": [-1, *rest]}
            for output, rest in file.outputs.items()
        ],
    }


def read_request(body: bytes, header_length: str | None, file: ModelFile, most: int) -> Asked:
    """What a request's body asks.

    Args:
        header_length: what the header `Inference-Header-Content-Length` says, if it is there.
        most: images that are read.

    Raises:
        Refused: with 400 if it is no request, or none that the model can answer.
    """
    head, tail = _split(body, header_length)
    try:
        document = json.loads(head)
    except (ValueError, RecursionError):
        raise _wrong("The request is no JSON.") from None
    if not isinstance(document, dict):
        raise _wrong("The request is no JSON object.")
    (told,) = _objects(document, "inputs", count=1)
    name, kind, shape = told.get("name"), told.get("datatype"), told.get("shape")
    if name != INPUT or kind != "UINT8":
        raise _wrong(f"The model reads one input, {INPUT}, of datatype UINT8.")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise _wrong(f"The shape of {INPUT} is no list of whole numbers.")
    if not file.fits(tuple(shape)):
        raise _wrong(f"The model reads {INPUT} of shape {file.shape}.")
    if not 0 < shape[0] <= most:
        raise _wrong(f"A request has 1 to {most} images.")
    size = _size_of(told, "binary_data_size")
    if size is None:
        if tail:
            raise _wrong("Bytes follow the request that no input names by binary_data_size.")
        flat = _numbers(told.get("data"))
    elif size != len(tail):
        raise _wrong(f"{INPUT} has binary_data_size {size}, and {len(tail)} bytes follow.")
    else:
        flat = np.frombuffer(tail, np.uint8)
    if flat.size != int(np.prod([int(side) for side in shape], dtype=object)):
        raise _wrong(f"{INPUT} has {flat.size} numbers, which do not make its shape.")
    asked_id = document.get("id")
    if asked_id is not None and not isinstance(asked_id, str):
        raise _wrong("The id is no text.")
    return Asked(flat.reshape(shape), _wanted(document, file), asked_id)


def write_response(
    name: str, asked: Asked, found: Mapping[str, NDArray[np.float32]]
) -> tuple[bytes, dict[str, str]]:
    """A response's body and headers.

    Args:
        found: each output that is wanted, float32 (N, ...).
    """
    outputs: list[dict[str, Any]] = []
    tail = b""
    for output, as_bytes in asked.outputs.items():
        values = found[output]
        told: dict[str, Any] = {"name": output, "datatype": "FP32", "shape": [*values.shape]}
        if as_bytes:
            content = values.astype("<f4").tobytes()
            tail += content
            told["parameters"] = {"binary_data_size": len(content)}
        else:
            # The shortest decimals that are the same float32; JSON has no number for NaN.
            finite = (float(str(v)) if np.isfinite(v) else None for v in values.ravel())
            told["data"] = list(finite)
        outputs.append(told)
    document = {"model_name": name, "model_version": VERSION, "outputs": outputs}
    if asked.id is not None:
        document["id"] = asked.id
    head = json.dumps(document, allow_nan=False).encode()
    if not tail:
        return head, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(head))}
    return head + tail, headers


def _split(body: bytes, header_length: str | None) -> tuple[bytes, bytes]:
    if header_length is None:
        return body, b""
    if not (header_length.isascii() and header_length.isdigit() and len(header_length) < 12):
        raise _wrong(f"{HEADER_LENGTH} is no whole number.")
    length = int(header_length)
    if length > len(body):
        raise _wrong(f"{HEADER_LENGTH} is {length}, and the body has {len(body)} bytes.")
    return body[:length], body[length:]


def _wanted(document: Mapping[str, Any], file: ModelFile) -> dict[str, bool]:
    usual = _flag(document, "binary_data_output", False)
    if not document.get("outputs"):
        return dict.fromkeys(file.outputs, usual)
    wanted = {}
    for each in _objects(document, "outputs"):
        name = each.get("name")
        if not isinstance(name, str) or name not in file.outputs:
            raise _wrong(f"The model has no such output; it has {', '.join(file.outputs)}.")
        if "classification" in _parameters(each):
            raise _wrong("Classes are given by /v1/predict, and not by classification here.")
        wanted[name] = _flag(each, "binary_data", usual)
    return wanted


def _objects(
    document: Mapping[str, Any], key: str, count: int | None = None
) -> list[dict[str, Any]]:
    found = document.get(key)
    if (
        not isinstance(found, list)
        or not all(isinstance(each, dict) for each in found)
        or (count is not None and len(found) != count)
    ):
        raise _wrong(f"The request needs {key}, a list of {count or 'some'} objects.")
    return found


def _parameters(holder: Mapping[str, Any]) -> dict[str, Any]:
    found = holder.get("parameters") or {}
    if not isinstance(found, dict):
        raise _wrong("Parameters are an object.")
    return found


def _flag(holder: Mapping[str, Any], name: str, usual: bool) -> bool:
    found = _parameters(holder).get(name, usual)
    if not isinstance(found, bool):
        raise _wrong(f"The parameter {name} is true or false.")
    return found


def _size_of(holder: Mapping[str, Any], name: str) -> int | None:
    found = _parameters(holder).get(name)
    if found is not None and type(found) is not int:
        raise _wrong(f"The parameter {name} is a whole number.")
    return found


def _numbers(data: object) -> Pixels:
    """Numbers that JSON gave, nested or not."""
    if not isinstance(data, list):
        raise _wrong(f"{INPUT} has neither data nor a binary_data_size.")
    try:
        values = np.array(data)
    except (ValueError, OverflowError, RecursionError):
        raise _wrong(f"The data of {INPUT} are no regular list of numbers.") from None
    if values.dtype.kind not in "iu" or (
        values.size and not 0 <= values.min() <= values.max() < 256
    ):
        raise _wrong(f"The data of {INPUT} are whole numbers from 0 to 255.")
    return values.astype(np.uint8).ravel()


def _wrong(sentence: str) -> Refused:
    return Refused(400, "request", sentence)

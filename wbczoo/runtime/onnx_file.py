"""An ONNX file is looked through here before it is opened: it must be whole, and enough alone.

Only protobuf's framing is read (https://protobuf.dev/programming-guides/encoding), as far as
onnx.proto nests the messages that can name a file or an operator. Weights are stepped over.
"""

from __future__ import annotations

import contextlib
import mmap
from pathlib import Path
from typing import Any

from wbczoo.errors import WbczooError

# What onnxruntime brings itself; operators of other domains come with libraries of their own.
DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc")

DEPTH = 100  # of messages within messages; protobuf's own readers stop there too
FIELDS = 2_000_000  # a large model has some 100 000
OUTPUTS = 1000  # a hundred tasks have 200; onnxruntime's time grows with their square
_LONGEST = 100  # bytes of a name that are read; no allowed one is longer

_AGAIN = "Fetch it again, or export the run again."

# What a file that is no model begins with, and what it then is.
_STRANGERS = (
    (
        (b"version https://git-lfs.github.com/spec/",),
        "it is git-lfs's note of where the model is. Fetch the model itself: git lfs pull",
    ),
    (
        (b"<!doctype", b"<html", b"<?xml", b"<head", b"<body"),
        "it is a web page, as servers send one in place of a file. Fetch the file itself.",
    ),
    (
        (b"pk\x03\x04",),
        "it is a zip archive, as PyTorch's checkpoints are. Unpack it, or export the run.",
    ),
    ((b"\x1f\x8b",), "it is compressed with gzip. Unpack it."),
)


class _Damaged(Exception):  # noqa: N818 - raised and caught here
    """The bytes are no message; the argument is where that was seen."""


class _Cut(_Damaged):
    """The file ends before what it holds; the arguments are its length and the least it had."""


# Message -> what its fields are, by tag (number << 3 | wire type): another message, or a check.
# Every other field is stepped over. A field of another wire type than its own is unknown to
# protobuf too.
_Message = dict[int, Any]
_DOMAIN, _OPERATOR, _ENTRY, _LOCATION, _OUTPUT = "domain", "operator", "entry", "location", "output"

_TENSOR: _Message = {13 << 3 | 2: _ENTRY, 14 << 3: _LOCATION}
_SPARSE: _Message = {1 << 3 | 2: _TENSOR, 2 << 3 | 2: _TENSOR}
_GRAPH: _Message = {5 << 3 | 2: _TENSOR, 12 << 3 | 2: _OUTPUT, 15 << 3 | 2: _SPARSE}
_ATTRIBUTE: _Message = {
    5 << 3 | 2: _TENSOR,
    6 << 3 | 2: _GRAPH,
    10 << 3 | 2: _TENSOR,
    11 << 3 | 2: _GRAPH,
    22 << 3 | 2: _SPARSE,
    23 << 3 | 2: _SPARSE,
}
_NODE: _Message = {4 << 3 | 2: _OPERATOR, 5 << 3 | 2: _ATTRIBUTE, 7 << 3 | 2: _DOMAIN}
_GRAPH[1 << 3 | 2] = _NODE
_FUNCTION: _Message = {7 << 3 | 2: _NODE, 11 << 3 | 2: _ATTRIBUTE}
_TRAINING: _Message = {1 << 3 | 2: _GRAPH, 2 << 3 | 2: _GRAPH}
_MODEL: _Message = {7 << 3 | 2: _GRAPH, 20 << 3 | 2: _TRAINING, 25 << 3 | 2: _FUNCTION}


def check_self_contained(path: Path) -> None:
    """Refuse an ONNX file that is none, that is not whole, or that asks for anything outside it.

    Neither the weights are read nor anything is copied: it takes as long as the graph is large.

    Args:
        path: of a file.

    Raises:
        WbczooError: if the file cannot be read; if it is no ONNX model, and what it looks like;
            if any of its tensors, also within functions, branches and loops, lies in another
            file; if it has an operator that onnxruntime does not bring, or one that opens a file.
    """
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            if size == 0:
                raise WbczooError(f"{path} is no ONNX model: it is empty. {_AGAIN}")
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                _tell_strangers(path, content[:512])
                _look_through(path, content)
    except OSError as error:
        raise WbczooError(f"{path} cannot be read: {error.strerror}.") from None


def _tell_strangers(path: Path, beginning: bytes) -> None:
    if beginning[4:8] == b"ORTM":
        raise WbczooError(
            f"{path} is no ONNX model: it is in onnxruntime's own format. Give the model.onnx of "
            "an export."
        )
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for signs, what in _STRANGERS:
        # A model begins with its IR version, whose tag is a backspace: it is never taken for one.
        if text.startswith(signs):
            raise WbczooError(f"{path} is no ONNX model: {what}")
    if all(32 <= byte < 127 or byte in b"\t\n\r" for byte in beginning):
        words = " ".join(beginning[:60].decode("ascii").split())
        raise WbczooError(
            f"{path} is no ONNX model: it is text, {words!r}, perhaps what a server said in its "
            f"place. {_AGAIN}"
        )


def _look_through(path: Path, content: mmap.mmap) -> None:
    try:
        # Beyond the file's end there is no byte.
        with contextlib.suppress(IndexError):
            _walk(path, content)
            return
        raise _Cut(len(content), len(content) + 1)
    except _Cut as cut:
        has, least = cut.args
        raise WbczooError(
            f"{path} is no ONNX model that can be opened: it is cut off or damaged; it has {has} "
            f"bytes of at least {least}. {_AGAIN}"
        ) from None
    except _Damaged as damage:
        raise WbczooError(
            f"{path} is no ONNX model that can be opened: it is damaged {damage}. {_AGAIN}"
        ) from None


def _walk(path: Path, content: mmap.mmap) -> None:
    """Go through the model, message by message; no recursion, for the file says how deep it is."""
    at, end, kind = 0, len(content), _MODEL
    outer: list[tuple[int, _Message]] = []
    has_graph = False
    outputs = 0
    for _ in range(FIELDS):
        while at == end:
            if not outer:
                if not has_graph:
                    raise _Damaged("or something else: it holds no graph")
                return
            end, kind = outer.pop()
        began = at
        tag = content[at]
        at += 1
        if tag >= 0x80:
            tag, at = _varint(content, began)
        wire = tag & 7
        # Readers of protobuf keep 32 bits of a tag: a longer one would be another to them.
        if tag < 8 or tag >= 1 << 32:
            raise _Damaged(f"at byte {began}")
        if wire == 2:
            length = content[at]
            at += 1
            if length >= 0x80:
                length, at = _varint(content, at - 1)
            following = at + length
            if following > end:
                raise _Damaged(f"at byte {began}") if outer else _Cut(end, following)
            field = kind.get(tag)
            if field is None:
                at = following
            elif isinstance(field, dict):
                if len(outer) == DEPTH:
                    raise _Damaged(f"or made to be: at byte {began} it nests too deeply")
                has_graph = has_graph or (field is _GRAPH and not outer)
                outer.append((end, kind))
                end, kind = following, field
            elif field is _OUTPUT:
                outputs += 1
                if outputs > OUTPUTS:
                    raise _Damaged(f"or made to be: it has more than {OUTPUTS} outputs")
                at = following
            else:
                _check(path, field, content[at : min(following, at + _LONGEST)])
                at = following
        elif wire == 0:
            value, at = _varint(content, at)
            if value and kind.get(tag) is _LOCATION:
                raise _outside(path)
        elif wire == 5:
            at += 4
        elif wire == 1:
            at += 8
        else:  # groups, which ONNX never had, and what is no wire type
            raise _Damaged(f"at byte {began}")
        if at > end:
            raise _Damaged(f"at byte {began}") if outer else _Cut(end, at)
    raise _Damaged(f"or made to be: it has more than {FIELDS} fields")


def _varint(content: mmap.mmap, at: int) -> tuple[int, int]:
    """The number that begins at a byte, and where the next field does."""
    number = shift = 0
    began = at
    while True:
        byte = content[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
        if shift > 63:
            raise _Damaged(f"at byte {began}")


def _check(path: Path, field: str, value: bytes) -> None:
    if field is _ENTRY:
        raise _outside(path)
    text = value.decode(errors="backslashreplace")
    if field is _DOMAIN and text not in DOMAINS:
        raise WbczooError(
            f"{path} needs operators of the domain {text!r}, which onnxruntime does not "
            "bring; a library that came with the model would have to be run. Use an export of "
            "wbczoo."
        )
    if field is _OPERATOR and text == "EPContext":
        raise WbczooError(
            f"{path} has the operator EPContext, which opens another file or runs a compiled "
            "one. Use an export of wbczoo."
        )


def _outside(path: Path) -> WbczooError:
    return WbczooError(
        f"{path} keeps weights in another file, which is not opened: an export is one file. Save "
        "the model with its weights inside, or export the run again."
    )

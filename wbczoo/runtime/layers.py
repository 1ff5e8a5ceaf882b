"""An export's inner layers are found in its graph here, and opened as outputs of their own.

The file needs neither be exported for it nor changed, and a session that is never asked for
features pays nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from wbczoo.errors import UsageError, WbczooError
from wbczoo.images import Pixels
from wbczoo.runtime import providers
from wbczoo.runtime.model_file import INPUT, ModelFile
from wbczoo.runtime.onnx_graph import STEPS, open_with, read_model
from wbczoo.runtime.stopping import TIME_LIMIT, limited

Layer = Literal["pooled", "sequence", "fused"]
LAYERS: tuple[Layer, ...] = get_args(Layer)

# Names of what `adapt` added to a graph; the given heads' outputs stand behind it.
ADAPTED = "adapted/"
GIVEN = f"{ADAPTED}given_"

_DENSE = ("Gemm", "MatMul")
# What stands between a layer and who reads it: another way to store it, or a bias.
_STEPS = ("Add", *STEPS)


class LayeredNetwork:
    """A network that also gives what its heads read; safe to ask from several threads.

    Attributes:
        shapes: each layer that the model has, and its shape behind the batch.
    """

    def __init__(self, session: Any, tensors: Mapping[Layer, str]) -> None:
        self._session = session
        self._tensors = tensors
        found = {each.name: each.shape for each in session.get_outputs()}
        self.shapes: dict[str, tuple[int, ...]] = {
            layer: tuple(found[tensor][1:]) for layer, tensor in tensors.items()
        }

    def choose(self, layers: Sequence[Layer]) -> dict[str, tuple[int, ...]]:
        """The shapes of those layers.

        Raises:
            UsageError: if the model has not all of them.
        """
        if missing := [layer for layer in layers if layer not in self.shapes]:
            had = " and ".join(self.shapes)
            if missing[0] not in LAYERS:
                raise UsageError(f"There is no layer {missing[0]!r}; this model has {had}.")
            part = "sequence branch" if missing[0] == "sequence" else "backbone"
            raise UsageError(
                f"The model has no {part}, so it has no layer {missing[0]!r}; it has {had}. Name "
                f"one, as by --layer {next(iter(self.shapes))}."
            )
        return {layer: self.shapes[layer] for layer in layers}

    def run(
        self, names: Sequence[str], pixels: Pixels, time_limit: float = TIME_LIMIT
    ) -> providers.Outputs:
        """The outputs and layers of those names, for pixels as the graph reads them."""
        tensors: Mapping[Any, str] = self._tensors
        wanted = [tensors.get(name, name) for name in names]
        with limited(time_limit) as options:
            found = self._session.run(wanted, {INPUT: pixels}, options)
        # Of an fp16 file the layers are of half precision.
        return [np.asarray(values, np.float32) for values in found]


def open_layers(file: ModelFile, provider: str, threads: int | None) -> LayeredNetwork:
    """Open an export with its layers as outputs, on the CPU or on CUDA.

    Args:
        provider: what computes the answers; of a GPU's, CUDA computes here, else the CPU.
        threads: of the CPU.

    Raises:
        UsageError: if several networks answer together.
        WbczooError: if the layers cannot be told from the graph.
    """
    file.refuse_ensemble("features")
    model = read_model(file.path)
    tensors = find_layers(file, model.graph)
    network = LayeredNetwork(
        open_with(file.path, model, tensors.values(), provider, threads), tensors
    )
    if any(len(shape) != 1 or not isinstance(shape[0], int) for shape in network.shapes.values()):
        raise _untold(file.path)
    return network


def find_layers(file: ModelFile, graph: Any) -> dict[Layer, str]:
    """Each layer that the model has, and its tensor: heads read `fused`, which joins the others.

    Args:
        graph: onnx.proto's GraphProto, or as much of it as is read here.

    Raises:
        WbczooError: if the layers cannot be told from the graph.
    """
    makes = {output: node for node in graph.node for output in node.output}
    logits = [f"{task.name}_logits" for task in file.tasks]
    given = [f"{GIVEN}{name}" if f"{GIVEN}{name}" in makes else name for name in logits]
    fused = {_origin(_head_of(name, makes), makes) for name in given}
    if len(fused) != 1 or None in fused:
        raise _untold(file.path)
    (read,) = fused
    assert read is not None
    named = {
        "pooled": file.backbone != "none",
        "sequence": file.sequence != "none",
    }
    parts = [layer for layer in LAYERS if named.get(layer)]
    if len(parts) < 2:
        return {**dict.fromkeys(parts, read), "fused": read}
    joined = makes[read]
    if joined.op_type != "Concat" or len(joined.input) != len(parts):
        raise _untold(file.path)
    return {**dict(zip(parts, joined.input, strict=True)), "fused": read}


def _head_of(name: str, makes: Mapping[str, Any]) -> str | None:
    """What the dense layer behind some logits reads."""
    while (node := makes.get(name)) is not None:
        if node.op_type in _DENSE:
            return str(node.input[0])
        if node.op_type not in _STEPS:
            return None
        name = next((each for each in node.input if each in makes), "")
    return None


def _origin(name: str | None, makes: Mapping[str, Any]) -> str | None:
    """A tensor as it was before it was stored in another way."""
    while name is not None and (node := makes.get(name)) is not None and node.op_type in _STEPS:
        name = str(node.input[0])
    return name if name in makes else None


def _untold(path: Path) -> WbczooError:
    return WbczooError(
        f"In the graph of {path} the features cannot be told from the rest: its heads are not one "
        "dense layer on them. Export the run again with this version of wbczoo."
    )

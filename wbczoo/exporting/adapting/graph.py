"""Corrections of the heads are written into an export's graph here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from wbczoo.exporting.adapting.middle import FEATURES, add_features
from wbczoo.exporting.adapting.refit import Refit
from wbczoo.exporting.flags import add_flags, drop_flags
from wbczoo.exporting.half import leading_to
from wbczoo.exporting.maps import add_maps, drop_maps
from wbczoo.images import Pixels
from wbczoo.metrics.formulas import Ints
from wbczoo.runtime.flags import Limits
from wbczoo.runtime.layers import ADAPTED, GIVEN
from wbczoo.runtime.model_file import NOVELTY, ModelFile


@dataclass(frozen=True)
class Adaptable:
    """A model's graph with the features that its heads are corrected by.

    Attributes:
        proto: without flags and maps, which are of the given answers.
        positions: (height, width) of the maps that the features are taken from.
        had_maps: whether the given graph had maps.
    """

    file: ModelFile
    proto: onnx.ModelProto
    positions: list[tuple[int, int]]
    had_maps: bool


def read_adaptable(file: ModelFile, images: Pixels) -> Adaptable:
    """Read a model's graph, and add the features to it.

    Args:
        images: as the graph reads them.

    Raises:
        WbczooError: as `add_features` does.
    """
    proto = onnx.load(file.path)
    drop_flags(proto)
    had_maps = drop_maps(proto.graph)
    return Adaptable(file, proto, add_features(file, proto, images), had_maps)


def write_adapted(
    given: Adaptable,
    found: Refit,
    temperatures: Mapping[str, float],
    metadata: Mapping[str, str],
    images: Pixels,
    place: Path,
) -> dict[str, Any] | None:
    """Write a graph whose heads are corrected; the given ones stay within it.

    A correction is a dense layer on the features, added to the logits that the heads gave, in
    fp32 whatever the precision of the rest.

    The novelty's energy is still that of the given logits, so that it tells how far an image lies
    from all that the model learned, and only its scale is the laboratory's.

    Args:
        temperatures: task -> that it was exported with.
        metadata: what is changed of them, and added.
        images: as the graph reads them; on these its maps, if it has any, are held to the logits.

    Returns:
        what a card says of its maps, if it has any.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(given.proto)
    graph, tasks = proto.graph, given.file.tasks
    outputs = [output.name for output in graph.output]
    _rename(graph, {name: f"{GIVEN}{name}" for name in outputs})
    for output in graph.output:
        output.name = output.name.removeprefix(GIVEN)
    for task in tasks:
        name, correction = task.name, found.corrections[task.name]
        own = f"{ADAPTED}{name}_"
        _constants(
            graph,
            {
                f"{own}weights": correction.weights.T,
                f"{own}bias": correction.bias,
                f"{own}cooler": 1 / temperatures[name],
                f"{own}cooler_now": 1 / correction.temperature,
            },
        )
        _nodes(
            graph,
            ("Gemm", [FEATURES, f"{own}weights", f"{own}bias"], f"{own}added"),
            ("Mul", [f"{GIVEN}{name}_logits", f"{own}cooler"], f"{own}given"),
        )
        told = _keep_unseen(graph, own, correction.seen, len(task.classes))
        _nodes(
            graph,
            ("Add", [f"{own}given", told], f"{name}_logits"),
            ("Mul", [f"{name}_logits", f"{own}cooler_now"], f"{own}calibrated"),
        )
        _nodes(graph, ("Softmax", [f"{own}calibrated"], f"{name}_probabilities"), axis=1)
    if NOVELTY in outputs:
        own = f"{ADAPTED}{NOVELTY}_"
        _constants(graph, {f"{own}slope": found.slope, f"{own}offset": found.offset})
        _nodes(
            graph,
            ("Mul", [f"{GIVEN}{NOVELTY}", f"{own}slope"], f"{own}scaled"),
            ("Add", [f"{own}scaled", f"{own}offset"], NOVELTY),
        )
    kept = leading_to(graph, outputs)
    used = [node for at, node in enumerate(graph.node) if at in kept]
    del graph.node[:]
    graph.node.extend(used)
    known = {each.key: each.value for each in proto.metadata_props}
    del proto.metadata_props[:]
    helper.set_model_props(proto, {**known, **metadata})
    if limits := Limits.read(metadata.get("wbczoo.limits", "null")):
        add_flags(proto, tasks, limits)
    onnx.checker.check_model(proto)
    onnx.save(proto, place)
    return add_maps(place, images) if given.had_maps else None


def _keep_unseen(graph: onnx.GraphProto, own: str, seen: Ints | None, classes: int) -> str:
    """What is added in all: classes without a cell keep their share of the probability."""
    added = f"{own}added"
    if seen is None:
        return added
    graph.initializer.append(numpy_helper.from_array(seen.astype(np.int64), f"{own}seen"))
    graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), f"{own}axis"))
    _constants(graph, {f"{own}has_cells": np.isin(np.arange(classes), seen)[None]})
    _nodes(graph, ("Add", [f"{own}given", added], f"{own}moved"))
    for tensor in (f"{own}given", f"{own}moved"):
        _nodes(graph, ("Gather", [tensor, f"{own}seen"], f"{tensor}_seen"), axis=1)
        summed = ("ReduceLogSumExp", [f"{tensor}_seen", f"{own}axis"], f"{tensor}_whole")
        _nodes(graph, summed, keepdims=1)
    _nodes(
        graph,
        ("Sub", [f"{own}given_whole", f"{own}moved_whole"], f"{own}back"),
        ("Mul", [f"{own}back", f"{own}has_cells"], f"{own}back_of_seen"),
        ("Add", [added, f"{own}back_of_seen"], f"{own}told"),
    )
    return f"{own}told"


def write_metadata(document: Mapping[str, Any] | Sequence[str]) -> str:
    """JSON as it stands in a graph's metadata."""
    return json.dumps(document, allow_nan=False)


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for output in graph.output:
        output.name = names.get(output.name, output.name)


def _constants(graph: onnx.GraphProto, values: Mapping[str, Any]) -> None:
    graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name)
        if np.ndim(value)
        else numpy_helper.from_array(np.array(value, np.float32), name)
        for name, value in values.items()
    )


def _nodes(graph: onnx.GraphProto, *nodes: tuple[str, list[str], str], **attributes: Any) -> None:
    graph.node.extend(
        helper.make_node(kind, reads, [gives], name=f"{ADAPTED}{gives}", **attributes)
        for kind, reads, gives in nodes
    )

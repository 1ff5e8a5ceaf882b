"""Logits are parted over the positions of an image here, exactly, by a model's own graph.

A head reads the mean of the feature map, and from that mean to a logit every step is linear. So
each position adds its own share, and the shares and the branch's part add up to the logit. Which
weights that takes is read from the graph, back from the logits: no file is exported for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wbczoo.errors import UsageError, WbczooError
from wbczoo.images import Pixels
from wbczoo.runtime.model_file import INPUT, ModelFile
from wbczoo.runtime.onnx_graph import STEPS, open_with, read_model
from wbczoo.runtime.providers import Outputs, reason_of
from wbczoo.runtime.stopping import TIME_LIMIT, limited

Floats = NDArray[np.floating[Any]]

_MEAN = "ReduceMean"
_LINEAR = ("Add", "Concat", "Div", "Gemm", "MatMul", "Mul", "Sub", *STEPS)


@dataclass
class Head:
    """A task's logits as sums.

    Attributes:
        bias: (classes,).
        maps: a feature map (N, C, h, w) -> the weights (classes, C) of its mean.
        vectors: anything else that is read, (N, D) -> its weights (classes, D).
    """

    bias: Floats
    maps: dict[str, Floats] = field(default_factory=dict)
    vectors: dict[str, Floats] = field(default_factory=dict)


class MappedNetwork:
    """A network that also parts its logits over positions; safe to ask from several threads.

    Attributes:
        heads: of each task.
        sizes: (h, w) of each feature map that a head reads.
        positions: (h, w) of the maps: of the finest one.
        shapes: `<task>_map` (classes, h, w) and `<task>_branch` (classes,), behind the batch.
    """

    def __init__(
        self, session: Any, heads: Mapping[str, Head], sizes: Mapping[str, tuple[int, int]]
    ) -> None:
        self._session = session
        self.heads = heads
        self.sizes = sizes
        self.positions = max(sizes.values(), key=lambda one: one[0] * one[1])
        self.shapes: dict[str, tuple[int, ...]] = {}
        for task, head in heads.items():
            self.shapes[f"{task}_map"] = (len(head.bias), *self.positions)
            self.shapes[f"{task}_branch"] = (len(head.bias),)

    def run(self, names: Sequence[str], pixels: Pixels, time_limit: float = TIME_LIMIT) -> Outputs:
        """The outputs, maps and branches of those names, for pixels as the graph reads them."""
        plain = [name for name in names if name not in self.shapes]
        read = {tensor for head in self.heads.values() for tensor in (*head.maps, *head.vectors)}
        wanted = [*plain, *sorted(read - {*plain})]
        with limited(time_limit) as options:
            read_off = self._session.run(wanted, {INPUT: pixels}, options)
        found = dict(zip(wanted, read_off, strict=True))
        for task, head in self.heads.items():
            whole = np.zeros((len(pixels), len(head.bias), *self.positions))
            for tensor, weights in head.maps.items():
                shares = np.einsum("nchw,kc->nkhw", found[tensor].astype(np.float64), weights)
                whole += spread(shares / shares[0, 0].size, self.positions)
            branch = head.bias + sum(found[name] @ by.T for name, by in head.vectors.items())
            found[f"{task}_map"] = whole
            found[f"{task}_branch"] = np.broadcast_to(branch, whole.shape[:2])
        return [np.asarray(found[name], np.float32) for name in names]


def open_maps(file: ModelFile, provider: str, threads: int | None) -> MappedNetwork:
    """Open an export with what its maps are made of, on the CPU or on CUDA.

    Args:
        provider: what computes the answers; of a GPU's, CUDA computes here, else the CPU.
        threads: of the CPU.

    Raises:
        UsageError: if the model has no positions: no backbone, or a feature map of one.
        WbczooError: if its logits are no sums over positions.
    """
    file.refuse_ensemble("maps")
    if file.backbone == "none":
        raise UsageError(
            f"{file.path} has no backbone, so its answers cannot be parted over positions: its "
            "sequence branch reads the image as a whole. Ask a model with a backbone for maps."
        )
    model = read_model(file.path)
    nodes = [*_linear_part(file, model.graph)]
    names = [name for node in nodes for name in (*node.input, *node.output) if name]
    session = open_with(file.path, model, dict.fromkeys(names), provider, threads)
    size = file.size or (64, 64)
    blank = np.zeros((1, *size, 3) if file.embedded else (1, 3, *size), np.uint8)
    try:
        with limited(TIME_LIMIT) as options:
            values = dict(zip(names, session.run(names, {INPUT: blank}, options), strict=True))
    except Exception as error:  # onnxruntime's exceptions share no base of their own
        raise WbczooError(f"{file.path} failed on an image: {reason_of(error)}.") from None
    variable = _variable(model.graph)
    heads = {task.name: _take_back(task.name, nodes, values, variable) for task in file.tasks}
    maps = {name for head in heads.values() for name in head.maps}
    flat = {name for head in heads.values() for name in head.vectors}
    if not all(head.maps for head in heads.values()) or any(
        name not in values or values[name].ndim != 2 for name in flat
    ):
        raise WbczooError(
            f"In the graph of {file.path} a logit cannot be parted over positions: its heads are "
            "not dense layers on the mean of a feature map. An ensemble's are not, for it averages "
            "probabilities: ask one of its runs. Else export the run again with this version of "
            "wbczoo."
        )
    network = MappedNetwork(session, heads, {name: values[name].shape[2:] for name in maps})
    if network.positions == (1, 1):
        raise UsageError(
            f"The feature map of {file.path} has one position, the whole image, so a map of its "
            "answers would show nothing. Ask a model whose backbone keeps positions."
        )
    return network


def against_the_rest(maps: Floats) -> Floats:
    """What speaks for each class rather than for the others of its task.

    Probabilities depend on differences between logits alone: what a position adds to every class
    alike is no evidence. So the mean over the classes is taken off.

    Args:
        maps: (..., classes, h, w) of one task.
    """
    centred: Floats = maps - maps.mean(axis=-3, keepdims=True)
    return centred


def spread(maps: Floats, size: tuple[int, int]) -> Floats:
    """Maps (..., h, w) over a grid of another size, each position's share by area: sums stay."""
    down, across = (tiles(old, new) for old, new in zip(maps.shape[-2:], size, strict=True))
    laid: Floats = np.einsum("...hw,hy,wx->...yx", maps, down, across)
    return laid


def tiles(count: int, pieces: int) -> Floats:
    """(count, pieces): which part of each of `count` equal lengths lies in each of `pieces`."""
    edges = np.arange(count + 1) / count
    others = np.arange(pieces + 1) / pieces
    low = np.maximum(edges[:-1, None], others[None, :-1])
    high = np.minimum(edges[1:, None], others[None, 1:])
    return (high - low).clip(0) * count


def _linear_part(file: ModelFile, graph: Any) -> Iterator[Any]:
    """The nodes between the feature map and the logits, the last first."""
    wanted = {f"{task.name}_logits" for task in file.tasks}
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            yield node
            if node.op_type in _LINEAR:
                wanted.update(node.input)


def _variable(graph: Any) -> set[str]:
    """The tensors that depend on the images; all others are constants."""
    variable = {INPUT}
    for node in graph.node:
        if variable.intersection(node.input):
            variable.update(node.output)
    return variable


def _take_back(
    task: str, nodes: Sequence[Any], values: Mapping[str, Floats], variable: set[str]
) -> Head:
    """A task's logits as a sum of what its head reads, through one linear step after another.

    Args:
        nodes: of `_linear_part`.
        values: each of their tensors, for one image.
        variable: of `_variable`.
    """
    logits = f"{task}_logits"
    classes = values[logits].shape[-1]
    head = Head(np.zeros(classes))
    weights: dict[str, Floats] = {logits: np.eye(classes)}
    for node in nodes:
        after = weights.pop(node.output[0], None)
        if after is None:  # of another task, or read at another of its outputs
            continue
        if _is_mean_over_positions(node, values):
            _add(head.maps, node.input[0], after)
        elif (before := _before(node, after, values, variable)) is None:
            _add(head.vectors, node.output[0], after)
        else:
            for name, by in before:
                if name in variable:
                    _add(weights, name, by)
                else:
                    head.bias += by @ np.broadcast_to(values[name], (1, by.shape[1]))[0]
    for name, left in weights.items():
        _add(head.vectors, name, left)
    return head


def _add(known: dict[str, Floats], name: str, weights: Floats) -> None:
    known[name] = known[name] + weights if name in known else weights


def _is_mean_over_positions(node: Any, values: Mapping[str, Floats]) -> bool:
    if node.op_type != _MEAN or len(node.input) != 2:
        return False
    axes = sorted(int(axis) % 4 for axis in values[node.input[1]].ravel())
    return values[node.input[0]].ndim == 4 and axes == [2, 3] and values[node.output[0]].ndim == 2


def _before(
    node: Any, after: Floats, values: Mapping[str, Floats], variable: set[str]
) -> list[tuple[str, Floats]] | None:
    """What a node reads, and the weights of it that stand for `after`; None if it is not linear.

    Args:
        after: weights (classes, n) of what the node gives, (N, n).
    """
    names, kind = [*node.input], node.op_type
    told = {each.name: each for each in node.attribute}
    first, second = (names[0], names[1] if len(names) > 1 else "")
    if any(values[name].ndim != 2 for name in names if name in variable):
        return None
    if kind in STEPS:
        return [(first, after)]
    if kind == "Concat":
        if any(name not in variable for name in names) or told["axis"].i not in (1, -1):
            return None
        ends = np.cumsum([values[name].shape[1] for name in names])
        return [*zip(names, np.split(after, ends[:-1], axis=1), strict=True)]
    if kind in ("Add", "Sub"):
        width = after.shape[1]
        if any(values[name].shape[1] != width for name in names if name in variable):
            return None
        return [(first, after), (second, after if kind == "Add" else -after)]
    if kind in ("Mul", "Div"):
        if kind == "Mul" and first not in variable:
            first, second = second, first
        if second in variable or values[first].shape[1] != after.shape[1]:
            return None
        factor = np.broadcast_to(values[second].astype(np.float64), (1, after.shape[1]))
        return [(first, after * factor if kind == "Mul" else after / factor)]
    if kind in ("Gemm", "MatMul"):
        turned = "transA" in told and told["transA"].i
        if turned or second in variable or values[second].ndim != 2:
            return None
        matrix = values[second].astype(np.float64)
        if "transB" in told and told["transB"].i:
            matrix = matrix.T
        alpha, beta = (told[name].f if name in told else 1.0 for name in ("alpha", "beta"))
        through = [(first, alpha * after @ matrix.T)]
        return through if len(names) < 3 else [*through, (names[2], beta * after)]
    return None

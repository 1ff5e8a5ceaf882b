"""A model becomes one ONNX graph here: uint8 images in, logits and probabilities out."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from wbczoo import __version__
from wbczoo.config import RunConfig
from wbczoo.errors import WbczooError
from wbczoo.exporting.recurrence import shapes_alone
from wbczoo.exporting.trained import Trained
from wbczoo.model.ensemble import Ensemble
from wbczoo.model.fused import FusedClassifier
from wbczoo.runtime.model_file import NOVELTY
from wbczoo.text import first_line

FORMAT = 1
DEFAULT_OPSET = 18


class Answers(nn.Module):
    """A classifier with calibrated probabilities and novelty, as the graph's flat outputs."""

    def __init__(self, model: FusedClassifier | Ensemble) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """uint8 (N, 3, H, W) -> each task's logits and probabilities (N, classes), novelty (N,)."""
        return tuple(self.model.outputs(images).values())


class PlainFunctions(TorchFunctionMode):
    """Within it torch's functions are what the exporter follows well.

    Attention is products and a softmax (Vaswani et al. 2017, section 3.2.1): the exporter takes
    torch's own for queries of four dimensions alone, and its fused kernels lay answers out in
    memory as their decompositions do not. No activation works in place: undoing that took the
    exporter a third of its time, for the same graph.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Every call of torch passes here; attention does not go on."""
        given = dict(kwargs or {})
        if given.get("inplace"):
            given["inplace"] = False
        plain = _attend if function is F.scaled_dot_product_attention else function
        return plain(*args, **given)


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Queries (..., L, E), keys (..., S, E) and values (..., S, V) -> (..., L, V).

    Args:
        dropout_p: without effect, for what is exported is in evaluation mode.
    """
    if enable_gqa:
        key = key.repeat_interleave(query.size(-3) // key.size(-3), -3)
        value = value.repeat_interleave(query.size(-3) // value.size(-3), -3)
    scores = query @ key.transpose(-2, -1) * (query.size(-1) ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, float("-inf"))
    elif attn_mask is not None:
        scores = scores + attn_mask
    return scores.softmax(-1) @ value


def output_names(model: FusedClassifier | Ensemble) -> list[str]:
    """Names of the graph's outputs, in order."""
    names = [
        f"{task.name}_{kind}" for task in model.config.tasks for kind in ("logits", "probabilities")
    ]
    return [*names, NOVELTY] if model.has_novelty else names


def write_graph(trained: Trained, path: Path, opset: int) -> None:
    """Write the model as one self-contained ONNX file with the design's names and metadata.

    Args:
        trained: its model in evaluation mode on the CPU.
        path: of the file; written directly, so give a place of its own.
        opset: of the ONNX standard's default domain.

    Raises:
        WbczooError: if the composition cannot be expressed in ONNX.
    """
    model = trained.model.merged()
    try:
        proto = trace(Answers(model).eval(), model.config.preprocessing.size,
                      output_names(model), opset)  # fmt: skip
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:  # the exporter's own words only say how to report it
            cause = cause.__cause__
        raise WbczooError(
            f"{trained.name} cannot be exported to ONNX: {type(cause).__name__}: "
            f"{first_line(cause)}."
        ) from error
    told = metadata(trained.config, trained.weights_sha256)
    if trained.limits is not None:
        told["wbczoo.limits"] = json.dumps(trained.limits.to_dict())
    if trained.sets is not None:
        told["wbczoo.sets"] = json.dumps(trained.sets.to_dict())
    if trained.members:
        told["wbczoo.name"] = trained.name
    onnx.helper.set_model_props(proto, told)
    onnx.save(proto, path)


def trace(
    module: nn.Module, size: tuple[int, int], outputs: list[str], opset: int = DEFAULT_OPSET
) -> onnx.ModelProto:
    """The graph of a module that reads images, for batches of any size.

    Args:
        module: uint8 (N, 3, H, W) -> one tensor or several, in evaluation mode on the CPU.
        size: (H, W) in pixels.
        outputs: names of what it gives.

    Raises:
        KeyboardInterrupt: after Ctrl-C, which the exporter takes for a failure of its own.
        Exception: of the exporter's own, whatever it cannot express.
    """
    # With an example of one image the exporter bakes the batch into reshapes.
    example = torch.zeros((2, 3, *size), dtype=torch.uint8)
    try:
        with _quiet(), PlainFunctions(), shapes_alone():
            program = torch.onnx.export(
                module,
                (example,),
                input_names=["images"],
                output_names=outputs,
                dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
                opset_version=opset,
                dynamo=True,
                optimize=True,
                verbose=False,
            )
    except Exception as error:
        if _stopped(error):
            raise KeyboardInterrupt from None
        raise
    assert program is not None
    proto = program.model_proto
    _forget_source(proto)
    return proto


def _forget_source(proto: onnx.ModelProto) -> None:
    """Drop the exporter's notes on the lines of code that made each node.

    They hold the paths of whoever exported, and are of no use to whoever runs the file. Those on
    the graph as a whole tell of what the process traced before, so that two exports of a run would
    not be equal.
    """
    for body in (proto.graph, *proto.functions):
        del body.metadata_props[:]
        for part in (*body.node, *body.value_info):
            del part.metadata_props[:]
            part.doc_string = ""
    for initializer in proto.graph.initializer:
        del initializer.metadata_props[:]
        initializer.doc_string = ""


def metadata(run: RunConfig, weights_sha256: str) -> dict[str, str]:
    """What the file says of itself, so that it is enough alone."""
    return {
        "wbczoo.format": str(FORMAT),
        "wbczoo.version": __version__,
        "wbczoo.tasks": json.dumps([asdict(task) for task in run.model.tasks]),
        "wbczoo.preprocessing": json.dumps(asdict(run.model.preprocessing)),
        "wbczoo.config": run.model_dump_json(),
        "wbczoo.weights_sha256": weights_sha256,
        "wbczoo.precision": "fp32",
    }


def _stopped(error: BaseException | None) -> bool:
    """Whether a Ctrl-C is what led to an error."""
    met: set[int] = set()
    while error is not None and id(error) not in met:
        if isinstance(error, KeyboardInterrupt):
            return True
        met.add(id(error))
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's own chatter from the user; its errors still rise."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)

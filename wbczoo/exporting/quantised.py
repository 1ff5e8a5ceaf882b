"""An fp32 graph becomes several of 8-bit integers here, each of which quantises other layers."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx

from wbczoo.exporting.half import for_novelty
from wbczoo.images import Pixels
from wbczoo.runtime.model_file import INPUT

_BATCH = 16

_DENSE = ("Gemm", "MatMul")


def quantised_graphs(graph: Path, calibration: Pixels, folder: Path) -> Iterator[tuple[str, Path]]:
    """What is quantised, and the file, for each of a few choices.

    Static quantisation is onnxruntime's: QDQ, a scale for each channel, activations of 8 bits
    without sign between the smallest and largest value that calibration met, weights with sign.
    Recurrent layers have no static kernel and stay in fp32. Dynamic ones take their scales from
    the batch, so that an image's answer would depend on what else is in it; they are not offered.

    Args:
        calibration: uint8 (N, 3, H, W), of training photographs.
        folder: for the files.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    with _quiet():
        plain = folder / "folded.onnx"
        _fold(graph, plain)
        body = onnx.load(plain).graph
        apart = for_novelty(body)  # squared distances want more than 8 bits
        nodes = [node for place, node in enumerate(body.node) if place not in apart]
        for number, (what, chosen) in enumerate(_choices(nodes)):
            path = folder / f"static-{number}.onnx"
            quantize_static(
                plain,
                path,
                _Calibration(calibration),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_quantize=chosen,
            )
            yield what, path


def _choices(nodes: Sequence[onnx.NodeProto]) -> Iterator[tuple[str, list[str]]]:
    """Names of layers to quantise; no two choices alike."""
    convolutions = [node.name for node in nodes if node.op_type == "Conv"]
    pointwise = [node.name for node in nodes if _is_pointwise(node)]
    dense = [node.name for node in nodes if node.op_type in _DENSE]
    count = len(convolutions)
    seen: list[set[str]] = [set()]
    for what, chosen in (
        ("all convolutions and dense layers", [*convolutions, *dense]),
        ("all convolutions but the first and the last", convolutions[1:-1]),
        ("pointwise convolutions", pointwise),
        ("the last half of the convolutions", convolutions[count - count // 2 :]),
        ("the last quarter of the convolutions", convolutions[count - count // 4 :]),
        ("the last eighth of the convolutions", convolutions[count - count // 8 :]),
        ("the last convolution", convolutions[-1:]),
        ("dense layers", dense),
    ):
        if set(chosen) not in seen:
            seen.append(set(chosen))
            yield what, chosen


def _is_pointwise(node: onnx.NodeProto) -> bool:
    told = {attribute.name: attribute for attribute in node.attribute}
    return (
        node.op_type == "Conv"
        and "kernel_shape" in told
        and set(told["kernel_shape"].ints) == {1}
        and ("group" not in told or told["group"].i == 1)
    )


def _fold(graph: Path, folded: Path) -> None:
    """Compute what is constant: a recurrent layer's weights are, but are put together by nodes."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(graph, folded, skip_symbolic_shape=True)
    proto = onnx.load(folded)
    # Shapes that it noted of constants are wrong once quantisation has turned these; and it notes
    # every operator set that onnxruntime knows.
    del proto.graph.value_info[:]
    used = {node.domain for node in proto.graph.node} | {""}
    kept = [each for each in proto.opset_import if each.domain in used]
    del proto.opset_import[:]
    proto.opset_import.extend(kept)
    onnx.save(proto, folded)


class _Calibration:
    """Batches of images, as onnxruntime's calibration asks for them."""

    def __init__(self, images: Pixels) -> None:
        self._batches = iter(np.array_split(images, max(1, len(images) // _BATCH)))

    def get_next(self) -> dict[str, Pixels] | None:
        """The next batch by its input's name; None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's remarks from the user; its errors still rise."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        onnxruntime.set_default_logger_severity(2)

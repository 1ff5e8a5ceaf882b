"""A frozen backbone becomes an onnxruntime session here, to be asked about many images once."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from wbczoo.exporting.graph import DEFAULT_OPSET, PlainAttention, stopped
from wbczoo.runtime.model_file import INPUT
from wbczoo.runtime.providers import open_on_cpu

_OUTPUT = "features"


def open_backbone(features: nn.Module, size: tuple[int, int]) -> Callable[[Tensor], Tensor] | None:
    """Export a module that reads images to ONNX and open it; None where that cannot be done.

    Args:
        features: uint8 (N, 3, H, W) -> float32 (N, ...), on the CPU, in evaluation mode.
        size: (H, W) in pixels.

    Returns:
        a function that does the same by onnxruntime on the CPU.

    Raises:
        KeyboardInterrupt: after Ctrl-C, which the exporter takes for a failure of its own.
    """
    # With an example of one image the exporter bakes the batch into reshapes.
    example = torch.zeros((2, 3, *size), dtype=torch.uint8)
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            PlainAttention(),
        ):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                features,
                (example,),
                input_names=[INPUT],
                output_names=[_OUTPUT],
                dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
                opset_version=DEFAULT_OPSET,
                dynamo=True,
                optimize=True,
                verbose=False,
            )
            assert program is not None
            path = Path(folder) / "features.onnx"
            onnx.save(program.model_proto, path)
            network = open_on_cpu(path, None, None)  # which reads the file whole
    except Exception as error:
        if stopped(error):
            raise KeyboardInterrupt from None
        return None
    finally:
        logger.setLevel(level)

    def run(images: Tensor) -> Tensor:
        (found,) = network.run([_OUTPUT], np.ascontiguousarray(images.numpy()))
        return torch.from_numpy(found)

    return run

"""An ONNX file is opened with OpenVINO here, where that is installed and somebody asks for it."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

import numpy as np

from wbczoo.errors import WbczooError
from wbczoo.images import Pixels
from wbczoo.runtime import devices
from wbczoo.runtime.model_file import INPUT
from wbczoo.runtime.providers import Outputs, reason_of
from wbczoo.runtime.stopping import TIME_LIMIT


class OpenvinoNetwork:
    """A file that OpenVINO compiled for the CPU; safe to ask from several threads.

    Args:
        path: of the ONNX file.
        compute: `fp32`, or `bf16`, whose 8 bits of mantissa change some answers.
        threads: processor threads; all cores that the process may use if None.
        parallel: how many callers compute at once, each with its share of the threads.

    Raises:
        WbczooError: if OpenVINO is not installed, the processor has no bf16, or the file is one
            that OpenVINO does not compile.
    """

    def __init__(
        self, path: Path, compute: Literal["fp32", "bf16"], threads: int | None, parallel: int
    ) -> None:
        openvino = _import()
        core = openvino.Core()
        if compute == "bf16" and "BF16" not in core.get_property(
            "CPU", "OPTIMIZATION_CAPABILITIES"
        ):
            raise WbczooError(
                "This processor does not compute in bf16, so that --engine openvino-bf16 would "
                "gain nothing. Use --engine openvino or onnxruntime."
            )
        try:
            model = core.read_model(str(path))
            self._compiled = core.compile_model(
                model,
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[compute],
                    "INFERENCE_NUM_THREADS": threads or devices.cores(),
                    "NUM_STREAMS": parallel,  # requests at once, which share the threads
                },
            )
        except Exception as error:  # OpenVINO raises RuntimeError with several lines
            raise WbczooError(f"OpenVINO cannot open {path}: {reason_of(error)}.") from None
        self.provider = f"OpenVINO {compute}"
        self._own = threading.local()  # a request is one thread's

    def run(self, names: Sequence[str], pixels: Pixels, time_limit: float = TIME_LIMIT) -> Outputs:
        """The outputs of those names, for pixels as the graph reads them; or TimeoutError."""
        request = getattr(self._own, "request", None)
        if request is None:
            request = self._own.request = self._compiled.create_infer_request()
        request.start_async({INPUT: pixels})
        if not request.wait_for(int(time_limit * 1000)):
            request.cancel()
            raise TimeoutError(f"it took longer than {time_limit:g} s")
        request.wait()  # which raises what went wrong
        # The request's own memory is written again by the next call.
        return [np.array(request.get_tensor(name).data) for name in names]


def _import() -> Any:
    # OpenVINO knows no switch: on import it writes an identifier into the home folder and reports
    # itself, unless this package of its own, which it can do without, does not load.
    sys.modules.setdefault("openvino_telemetry", cast(ModuleType, None))
    try:
        return importlib.import_module("openvino")
    except Exception as error:  # an ImportError, or whatever a broken installation raises
        raise WbczooError(
            f"OpenVINO does not load: {error}. Install it with: pip install openvino"
        ) from None

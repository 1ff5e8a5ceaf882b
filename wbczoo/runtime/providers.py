"""An ONNX file is opened with onnxruntime here: on the CPU, on CUDA or with TensorRT."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wbczoo.errors import WbczooError
from wbczoo.files import cache_folder
from wbczoo.images import Pixels
from wbczoo.runtime import devices
from wbczoo.runtime.model_file import INPUT
from wbczoo.runtime.stopping import TIME_LIMIT, limited

Outputs = list[NDArray[np.float32]]

# Threads that wait for one another's part of an operator spin for less than putting them to sleep
# and waking them costs: 5 to 12 % of an answer's time. They stop with the answer, for the threads
# that decode need the cores. onnxruntime before 1.26 spins for longer and also stops.
_BRIEF_SPIN = {
    "session.intra_op.allow_spinning": "1",
    "session.intra_op.spin_duration_us": "50",
    "session.force_spinning_stop": "1",
}
_NO_SPIN = {"session.intra_op.allow_spinning": "0"}

# TF32 rounds to 10 bits of mantissa; the answers should be the CPU's.
CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}


class OnnxNetwork:
    """A file that was opened on one execution provider; safe to ask from several threads.

    Attributes:
        provider: what computes, in onnxruntime's words.
        session: the onnxruntime session.
    """

    def __init__(self, session: Any) -> None:
        self.session = session
        self.provider: str = session.get_providers()[0]

    def run(self, names: Sequence[str], pixels: Pixels, time_limit: float = TIME_LIMIT) -> Outputs:
        """The outputs of those names, for pixels as the graph reads them; or TimeoutError."""
        with limited(time_limit) as options:
            found: Outputs = self.session.run(names, {INPUT: pixels}, options)
        return found


class FixedBatch:
    """A network that is always asked about so many images, in buffers that stay on its device.

    Fewer are filled up with zeros, more are taken in turns. With the batch known, onnxruntime
    folds whatever computes shapes; on CUDA the whole graph may then be captured once and replayed.

    Args:
        network: opened with `batch` images as its batch.
        outputs: each output's name and its shape behind the batch.
        shape: of one image as the graph reads it.
        device: `cpu` or `cuda`, where the buffers lie.
    """

    def __init__(
        self,
        network: OnnxNetwork,
        batch: int,
        outputs: Mapping[str, Sequence[int]],
        shape: Sequence[int],
        device: str,
    ) -> None:
        onnxruntime = devices.import_onnxruntime()
        self.provider = network.provider
        self.batch = batch
        self._session = network.session
        self._host = np.zeros((batch, *shape), np.uint8)
        self._images = onnxruntime.OrtValue.ortvalue_from_numpy(self._host, device, 0)
        self._outputs = {
            name: onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                [batch, *rest], np.float32, device, 0
            )
            for name, rest in outputs.items()
        }
        self._binding = self._session.io_binding()
        self._binding.bind_ortvalue_input(INPUT, self._images)
        for name, value in self._outputs.items():
            self._binding.bind_ortvalue_output(name, value)
        self._lock = threading.Lock()  # the buffers are one caller's at a time
        self.run([*outputs], self._host[:1])  # a CUDA graph is captured by the first run

    def run(self, names: Sequence[str], pixels: Pixels, time_limit: float = TIME_LIMIT) -> Outputs:
        """The outputs of those names, for pixels (N, ...) as the graph reads them."""
        parts: list[Outputs] = []
        with self._lock:
            for start in range(0, len(pixels), self.batch):
                chunk = pixels[start : start + self.batch]
                self._host[: len(chunk)] = chunk
                self._host[len(chunk) :] = 0
                self._images.update_inplace(self._host)
                with limited(time_limit) as options:
                    self._session.run_with_iobinding(self._binding, options)
                # Of a device numpy() is a copy; of the CPU it is the buffer, which will change.
                parts.append(
                    [np.array(self._outputs[name].numpy()[: len(chunk)]) for name in names]
                )
        return [np.concatenate(each) for each in zip(*parts, strict=True)]


def open_on_cpu(
    path: Path, threads: int | None, batch: int | None, *, spin: bool = True
) -> OnnxNetwork:
    """Open on the CPU; WbczooError if the file is no ONNX model."""
    return OnnxNetwork(open_session(path, [(devices.CPU, {})], threads, batch, spin=spin))


def open_on_cuda(
    path: Path, threads: int | None, batch: int | None, *, graph: bool = False
) -> OnnxNetwork | str:
    """Open on CUDA, or say in sentences why not.

    Args:
        graph: for a captured CUDA graph, which onnxruntime refuses where a node is not on CUDA.
    """
    reason = devices.explain_cuda()
    if reason:
        return reason
    options = {**CUDA_OPTIONS, "enable_cuda_graph": "1"} if graph else CUDA_OPTIONS
    return _open_on_gpu(path, [(devices.CUDA, options)], threads, batch)


def open_on_tensorrt(
    path: Path, threads: int | None, batch: int | None, *, fp16: bool = False
) -> OnnxNetwork | str:
    """Open with TensorRT, with CUDA for the nodes that it leaves, or say in sentences why not.

    Built engines are kept in the cache folder, for building one takes minutes.

    Args:
        fp16: let it use half precision; for a file whose weights are.
    """
    reason = devices.explain_tensorrt()
    if reason:
        return reason
    kept = cache_folder() / "tensorrt"
    kept.mkdir(parents=True, exist_ok=True)
    options = {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(kept),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(kept),
        "trt_fp16_enable": "1" if fp16 else "0",
    }
    providers = [(devices.TENSORRT, options), (devices.CUDA, CUDA_OPTIONS)]
    return _open_on_gpu(path, providers, threads, batch)


def _open_on_gpu(
    path: Path,
    providers: Sequence[tuple[str, Mapping[str, str]]],
    threads: int | None,
    batch: int | None,
) -> OnnxNetwork | str:
    missing = devices.preload_cuda()
    try:
        session = open_session(path, providers, threads, batch)
    except WbczooError as error:  # a damaged model meets this too, and again on the CPU
        return str(error)
    # Where its libraries do not load, onnxruntime takes the CPU and only logs it. Its option
    # `session.disable_cpu_ep_fallback` is no cure: it also refuses every model with a
    # dynamic batch, for the few nodes that compute shapes belong on the CPU.
    wanted = providers[0][0]
    if wanted not in session.get_providers():
        return devices.explain_libraries(wanted, missing)
    return OnnxNetwork(session)


def open_session(
    path: Path,
    providers: Sequence[tuple[str, Mapping[str, str]]],
    threads: int | None,
    batch: int | None = None,
    *,
    spin: bool = True,
    optimised: bool = True,
    content: bytes | None = None,
) -> Any:
    """An onnxruntime session on a file.

    Args:
        batch: how many images each run will have; any number if None.
        spin: let threads that wait for one another spin for a moment before they sleep.
        optimised: prepare the graph for computing; without, only its description is cheap.
        content: what is opened in the file's stead.

    Raises:
        WbczooError: if onnxruntime refuses the file.
    """
    onnxruntime = devices.import_onnxruntime()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads or devices.cores()
    for key, value in (_BRIEF_SPIN if spin else _NO_SPIN).items():
        settings.add_session_config_entry(key, value)
    if batch is not None:
        settings.add_free_dimension_override_by_name("batch", batch)
    if not optimised:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.log_severity_level = 4  # what goes wrong is raised as well
    onnxruntime.set_default_logger_severity(4)
    try:
        session = onnxruntime.InferenceSession(
            content or str(path),
            settings,
            [(name, dict(options)) for name, options in providers],
            enable_fallback=0,
        )
    except Exception as error:  # onnxruntime's exceptions share no base of their own
        raise WbczooError(f"{path} is no ONNX model that can be opened: {reason_of(error)}.") from (
            None
        )
    finally:
        onnxruntime.set_default_logger_severity(2)  # onnxruntime's own default
    return session


def reason_of(error: Exception) -> str:
    """The runtime's message without its codes, on one line."""
    message = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error))
    return " ".join(message.split()).rstrip(".")

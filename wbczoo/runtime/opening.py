"""Which engine and provider opens a model is settled here, and if its batch is fixed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from wbczoo.errors import UsageError, WbczooError
from wbczoo.images import Pixels
from wbczoo.runtime import devices, providers
from wbczoo.runtime.model_file import ModelFile, describe
from wbczoo.runtime.providers import FixedBatch, OnnxNetwork, Outputs, reason_of

Device = Literal["auto", "cpu", "cuda", "tensorrt"]
Engine = Literal["onnxruntime", "openvino", "openvino-bf16"]


class Network(Protocol):
    """A model file that was opened by one of the runtimes; safe to ask from several threads."""

    provider: str

    def run(self, names: list[str], pixels: Pixels, time_limit: float) -> Outputs:
        """The outputs of those names, for pixels as the graph reads them; or TimeoutError."""


@dataclass(frozen=True)
class Opened:
    """A model that was opened.

    Attributes:
        file: what it says of itself.
        why_no_cuda, why_no_graph: as a `Session` has them.
    """

    network: Network
    file: ModelFile
    why_no_cuda: str | None = None
    why_no_graph: str | None = None


def open_engine(
    engine: Engine,
    device: Device,
    path: Path,
    threads: int | None,
    parallel: int,
    batch: int | None,
    *,
    spin: bool,
) -> Opened:
    """Open a model with an engine, on a device; the arguments are those of a `Session`.

    Raises:
        UsageError: if there is no such engine or device, the engine has not the device, no fixed
            batch can be had, or OpenVINO is asked for with a file in int8.
        WbczooError: as `open_on`, or if the engine cannot be had.
    """
    for what, given, known in (("device", device, Device), ("engine", engine, Engine)):
        if given not in get_args(known):  # else `gpu` would be the CPU, in silence
            raise UsageError(f"There is no {what} {given!r}; name {', '.join(get_args(known))}.")
    if engine == "onnxruntime":
        network, why_no_cuda = open_on(device, path, threads, parallel, batch, spin=spin)
        file = describe(path, network.session)
        if batch is None:
            return Opened(network, file, why_no_cuda)
        fixed, why_no_graph = fix_batch(network, file, batch, threads)
        return Opened(fixed, file, why_no_cuda, why_no_graph)
    if device not in ("auto", "cpu") or batch is not None:
        raise UsageError(
            "OpenVINO computes here on the CPU and with any batch; a GPU and a fixed "
            "batch want --engine onnxruntime."
        )
    from wbczoo.runtime.openvino import OpenvinoNetwork

    # onnxruntime's view of the file is the one gate that every file passes.
    file = describe(path, glance(path))
    if file.precision == "int8":
        # Some such graphs it answers far off what onnxruntime does, whose answers were measured at
        # export; nothing in the file tells which (docs/decisions/int8.md).
        raise UsageError(
            f"{path} is in int8, and was measured against fp32 in onnxruntime alone; OpenVINO may "
            "answer otherwise from the same file. Use --engine onnxruntime, or export in fp32 for "
            "OpenVINO."
        )
    bf16 = engine == "openvino-bf16"
    return Opened(OpenvinoNetwork(path, "bf16" if bf16 else "fp32", threads, parallel), file)


def open_on(
    device: Device,
    path: Path,
    threads: int | None,
    parallel: int,
    batch: int | None,
    *,
    spin: bool,
) -> tuple[OnnxNetwork, str | None]:
    """Open a model on a device, and say why `auto` took the CPU if it did.

    Raises:
        WbczooError: if the file is no model, or CUDA or TensorRT cannot be had, and why.
    """
    if device == "tensorrt":
        fp16 = describe(path, glance(path)).precision == "fp16"
        found = providers.open_on_tensorrt(path, threads, batch, fp16=fp16)
        if isinstance(found, str):
            raise WbczooError(f"TensorRT was asked for and cannot be had. {found}")
        return found, None
    why: str | None = None
    if device != "cpu":
        found = providers.open_on_cuda(path, threads, batch)
        if isinstance(found, OnnxNetwork):
            return found, None
        if device == "cuda":
            raise WbczooError(f"CUDA was asked for and cannot be had. {found}")
        why = found
    share = max(1, (threads or devices.cores()) // parallel)
    return providers.open_on_cpu(path, share, batch, spin=spin), why


def fix_batch(
    network: OnnxNetwork, file: ModelFile, batch: int, threads: int | None
) -> tuple[FixedBatch, str | None]:
    """The network with buffers for a batch; on CUDA as a captured graph, or it is said why not.

    Raises:
        UsageError: if the model reads images of any size, for which there is no buffer.
    """
    size = file.size
    if size is None:
        raise UsageError(
            f"{file.path} reads images of any size; a fixed batch needs one. Export it "
            "with --camera-size, or without --embed-preprocess."
        )
    shape = (*size, 3) if file.embedded else (3, *size)
    if network.provider != devices.CUDA:
        where = "cpu" if network.provider == devices.CPU else "cuda"
        return FixedBatch(network, batch, file.outputs, shape, where), None
    captured = providers.open_on_cuda(file.path, threads, batch, graph=True)
    if isinstance(captured, OnnxNetwork):
        try:
            return FixedBatch(captured, batch, file.outputs, shape, "cuda"), None
        except Exception as error:  # a kernel that may not be captured fails at the first run
            captured = reason_of(error)
    return FixedBatch(network, batch, file.outputs, shape, "cuda"), captured


def glance(path: Path) -> Any:
    """An onnxruntime session that was opened for its description alone."""
    return providers.open_session(path, [(devices.CPU, {})], 1, optimised=False)

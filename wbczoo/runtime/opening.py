"""Which of onnxruntime's providers opens a model is settled here, and if its batch is fixed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from wbczoo.errors import UsageError, WbczooError
from wbczoo.runtime import devices, providers
from wbczoo.runtime.model_file import ModelFile, describe
from wbczoo.runtime.providers import FixedBatch, OnnxNetwork, reason_of

Device = Literal["auto", "cpu", "cuda", "tensorrt"]


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

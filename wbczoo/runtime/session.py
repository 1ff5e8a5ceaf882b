"""An exported model is opened here, checked against its own metadata, and asked about images."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from wbczoo import __version__
from wbczoo.config import RunConfig, told
from wbczoo.errors import UsageError, WbczooError
from wbczoo.images import CROPS, Pixels, Source
from wbczoo.runtime import devices
from wbczoo.runtime.batches import decoded
from wbczoo.specs import Preprocessing
from wbczoo.tasks import Task

FORMAT = "1"
MODEL = "model.onnx"
INPUT = "images"

Device = Literal["auto", "cpu", "cuda"]
Answer = dict[str, Any]

_TASKS = TypeAdapter(tuple[Task, ...])
_PREPROCESSING = TypeAdapter(Preprocessing)


class Session:
    """An exported model, ready to answer; safe to ask from several threads.

    Args:
        model: an export's folder, or its `model.onnx` alone.
        device: `cuda` fails where CUDA cannot be had; `auto` takes it where it can.
        threads: processor threads of the network; all cores that the process may use if None.

    Attributes:
        path: of the file `model.onnx`.
        tasks, preprocessing, config, version, weights_sha256: as the file's metadata say.
        provider: what computes, `CPUExecutionProvider` or `CUDAExecutionProvider`.
        why_no_cuda: why `auto` took the CPU, or None.

    Raises:
        UsageError: if there is no such file, or `threads` is below 1.
        WbczooError: if it is no ONNX model, or not one that this version of wbczoo reads, or if
            the device cannot be had; the message says why and what to do.
    """

    def __init__(
        self, model: str | Path, *, device: Device = "auto", threads: int | None = None
    ) -> None:
        self.path = find_model(model)
        if threads is not None and threads < 1:
            raise UsageError(f"A model needs at least one thread, not {threads}.")
        self.why_no_cuda: str | None = None
        self._session: Any = None
        if device != "cpu":
            self.why_no_cuda = self._open_on_cuda(threads)
            if device == "cuda" and self.why_no_cuda:
                raise WbczooError(f"CUDA was asked for and cannot be had. {self.why_no_cuda}")
        if self._session is None:
            self._session = _open(self.path, devices.CPU, {}, threads)
        self.provider: str = self._session.get_providers()[0]
        self._read_metadata(self._session.get_modelmeta().custom_metadata_map)
        self._check_graph()

    def run(self, pixels: Pixels) -> dict[str, NDArray[np.float32]]:
        """Ask the network about preprocessed images.

        Args:
            pixels: uint8 (N, 3, H, W), RGB, where (H, W) is the preprocessing's size.

        Returns:
            `<task>_logits` and `<task>_probabilities` of each task, float32 (N, classes).

        Raises:
            UsageError: if the pixels are of another type or shape.
            WbczooError: if the network fails, as for want of memory.
        """
        expected = (3, *self.preprocessing.size)
        if pixels.dtype != np.uint8 or pixels.shape[1:] != expected:
            raise UsageError(
                f"The model reads uint8 pixels of shape (N, {', '.join(map(str, expected))}), "
                f"not {pixels.dtype} {pixels.shape}."
            )
        names = {name: size for task in self.tasks for name, size in _outputs(task).items()}
        if len(pixels) == 0:
            return {name: np.zeros((0, size), np.float32) for name, size in names.items()}
        try:
            found = self._session.run(list(names), {INPUT: np.ascontiguousarray(pixels)})
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            raise WbczooError(
                f"{self.path} failed on {len(pixels)} images: {_reason(error)}. "
                "If memory ran out, use a smaller batch."
            ) from None
        return dict(zip(names, found, strict=True))

    def answers(
        self, sources: Iterable[Source], *, batch_size: int = 16, workers: int | None = None
    ) -> Iterator[Answer]:
        """Answer images one by one, in order; the next are decoded while a batch is computed.

        Args:
            sources: paths, bytes, Pillow images or uint8 arrays; see `wbczoo.images.decode`.
            batch_size: images that the network is asked about at once.
            workers: threads that decode; as many as there are cores if None.

        Yields:
            for each source `{"tasks": {task: {"class", "probability", "probabilities"}}}`, where
            probabilities are of each class by name; or `{"error": reason}` if it was refused.
        """
        if batch_size < 1 or (workers is not None and workers < 1):
            raise UsageError("The batch size and the number of workers are at least 1.")
        workers = workers or min(devices.cores(), 32)
        for batch in decoded(sources, self.preprocessing, batch_size=batch_size, workers=workers):
            yield from self._answer(batch)

    def predict(
        self, sources: Iterable[Source], *, batch_size: int = 16, workers: int | None = None
    ) -> list[Answer]:
        """All `answers` in a list."""
        return list(self.answers(sources, batch_size=batch_size, workers=workers))

    def _answer(self, batch: list[Pixels | str]) -> Iterator[Answer]:
        good = [pixels for pixels in batch if not isinstance(pixels, str)]
        outputs = self.run(np.stack(good)) if good else {}
        row = 0
        for pixels in batch:
            if isinstance(pixels, str):
                yield {"error": pixels}
                continue
            probabilities = {t.name: outputs[f"{t.name}_probabilities"][row] for t in self.tasks}
            row += 1
            if all(np.isfinite(values).all() for values in probabilities.values()):
                yield {"tasks": {t.name: _named(t, probabilities[t.name]) for t in self.tasks}}
            else:
                yield {"error": "The model's answer is not a number; its weights are damaged."}

    def _open_on_cuda(self, threads: int | None) -> str | None:
        """Open the model on CUDA, or say why not."""
        reason = devices.explain_cuda()
        if reason:
            return reason
        missing = devices.preload_cuda()
        # TF32 rounds to 10 bits of mantissa; the answers should be the CPU's.
        options = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
        try:
            session = _open(self.path, devices.CUDA, options, threads)
        except WbczooError as error:  # a damaged model meets this too, and again on the CPU
            return str(error)
        # Where its libraries do not load, onnxruntime takes the CPU and only logs it. Its option
        # `session.disable_cpu_ep_fallback` is no cure: it also refuses every model with a
        # dynamic batch, for the few nodes that compute shapes belong on the CPU.
        if devices.CUDA not in session.get_providers():
            return devices.explain_libraries(missing)
        self._session = session
        return None

    def _read_metadata(self, metadata: Mapping[str, str]) -> None:
        def value(key: str) -> str:
            if f"wbczoo.{key}" not in metadata:
                raise WbczooError(
                    f"{self.path} is an ONNX model without the metadata wbczoo.{key}; "
                    "give one that `wbczoo export` wrote."
                )
            return metadata[f"wbczoo.{key}"]

        found = value("format")
        if found != FORMAT:
            writer = metadata.get("wbczoo.version", "unknown")
            raise WbczooError(
                f"{self.path} is an export of format {found}, written by wbczoo {writer}; this is "
                f"wbczoo {__version__}, which reads format {FORMAT}. Use a version that fits, or "
                "export the run again."
            )
        self.version = value("version")
        self.weights_sha256 = value("weights_sha256")
        self.config = RunConfig.parse(value("config"), f"The metadata wbczoo.config of {self.path}")
        try:
            self.tasks = _TASKS.validate_json(value("tasks"))
            self.preprocessing = _PREPROCESSING.validate_json(value("preprocessing"))
            strange = set(json.loads(value("preprocessing")))
        except ValidationError as error:
            raise WbczooError(f"The metadata of {self.path} are damaged: {told(error)}") from None
        except UsageError as error:
            raise WbczooError(f"The metadata of {self.path} are damaged: {error}") from None
        strange -= {field.name for field in fields(Preprocessing)}
        if strange or self.preprocessing.crop not in CROPS:
            what = ", ".join(sorted(strange)) or f"the crop {self.preprocessing.crop}"
            raise WbczooError(
                f"{self.path} prepares images in a way that wbczoo {__version__} does not know "
                f"({what}); use wbczoo {self.version}, which wrote it."
            )

    def _check_graph(self) -> None:
        inputs = {node.name: (node.type, list(node.shape)) for node in self._session.get_inputs()}
        outputs = {node.name: node.shape[-1] for node in self._session.get_outputs()}
        height, width = self.preprocessing.size
        kind, shape = inputs.get(INPUT, ("", []))
        reads = kind == "tensor(uint8)" and len(inputs) == 1 and shape[1:] == [3, height, width]
        promised = {name: size for task in self.tasks for name, size in _outputs(task).items()}
        if not reads or not promised or promised.items() - outputs.items():
            raise WbczooError(
                f"The graph in {self.path} is not the one that its metadata describe: uint8 "
                f"{INPUT} (batch, 3, {height}, {width}) to {', '.join(promised) or 'tasks'}. "
                "Export the run again."
            )


def find_model(path: str | Path) -> Path:
    """The `model.onnx` of an export's folder, or the file itself; UsageError if it is not there."""
    found = Path(path)
    if found.is_dir():
        found = found / MODEL
    if not found.is_file():
        raise UsageError(f"{found} is not there. Give an export's folder, or its {MODEL}.")
    return found


def _open(path: Path, provider: str, options: Mapping[str, str], threads: int | None) -> Any:
    onnxruntime = devices.import_onnxruntime()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads or devices.cores()
    # Its threads would wait by spinning, on the cores that the decoding threads need.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.log_severity_level = 4  # what goes wrong is raised as well
    onnxruntime.set_default_logger_severity(4)
    try:
        session = onnxruntime.InferenceSession(
            str(path), settings, [(provider, dict(options))], enable_fallback=0
        )
    except Exception as error:  # onnxruntime's exceptions share no base of their own
        raise WbczooError(f"{path} is no ONNX model that can be opened: {_reason(error)}.") from (
            None
        )
    finally:
        onnxruntime.set_default_logger_severity(2)  # onnxruntime's own default
    return session


def _outputs(task: Task) -> dict[str, int]:
    return {f"{task.name}_{kind}": len(task.classes) for kind in ("logits", "probabilities")}


def _named(task: Task, probabilities: NDArray[np.float32]) -> dict[str, Any]:
    # The shortest decimals that are the same float32, not the longer ones of its float64.
    values = [float(str(value)) for value in probabilities]
    best = int(probabilities.argmax())
    return {
        "class": task.classes[best],
        "probability": values[best],
        "probabilities": dict(zip(task.classes, values, strict=True)),
    }


def _reason(error: Exception) -> str:
    """Onnxruntime's message without its codes, on one line."""
    message = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error))
    return " ".join(message.split()).rstrip(".")

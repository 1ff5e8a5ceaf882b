"""The ways of answering images that `bench predict` compares; each lives in a process of its own.

A process opens one contestant and then does small jobs for whoever asks, one at a time. PyTorch
is imported by those that need it alone.
"""

from __future__ import annotations

import contextlib
import csv
import io
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import TypeAdapter

from wbczoo import images, machine
from wbczoo.images import Pixels
from wbczoo.specs import Preprocessing
from wbczoo.text import first_line

Probabilities = dict[str, NDArray[np.float32]]

_WARM_UP = 3  # runs whose time is not taken


class Contestant:
    """One way of answering images."""

    def answer_folder(self, paths: Sequence[str], batch: int, out: Path) -> None:
        """Answer image files into a CSV file, from the bytes on the disk to the last row."""
        raise NotImplementedError

    def answer(self, pixels: Pixels) -> Probabilities:
        """Probabilities (N, classes) of each task, for resized pixels (N, 3, H, W)."""
        raise NotImplementedError

    def synchronise(self) -> None:
        """Return once the device has done what it was asked; an answer in memory is done."""


class PytorchLoop(Contestant):
    """What a user writes who has the trained model and an afternoon: a loop over batches.

    Args:
        run: a run's folder.
        layout: `contiguous` or `channels_last`.
        compiled: through `torch.compile`.
        half: with autocast to float16, on a GPU.
    """

    def __init__(
        self,
        run: str,
        device: str,
        threads: int | None,
        *,
        layout: str = "contiguous",
        compiled: bool = False,
        half: bool = False,
    ) -> None:
        import torch

        from wbczoo.training.checkpoint import load_model

        if threads is not None:
            torch.set_num_threads(threads)
        config, model = load_model(Path(run))
        self.tasks = config.model.tasks
        self.preprocessing = config.model.preprocessing
        self._torch = torch
        self._device = torch.device(device)
        model = model.to(self._device).eval()
        if layout == "channels_last":
            model = model.to(memory_format=torch.channels_last)
        self._probabilities = model.probabilities
        self._half = half
        self._forward: Callable[[Any], dict[str, Any]] = torch.compile(model) if compiled else model

    def answer_folder(self, paths: Sequence[str], batch: int, out: Path) -> None:
        height, width = self.preprocessing.size
        resampling = Image.Resampling[self.preprocessing.interpolation.upper()]
        with out.open("w", newline="") as stream:
            writer = csv.writer(stream)
            for start in range(0, len(paths), batch):
                chosen = paths[start : start + batch]
                pixels = []
                for path in chosen:
                    with Image.open(path) as image:
                        resized = image.convert("RGB").resize((width, height), resampling)
                        pixels.append(np.asarray(resized).transpose(2, 0, 1))
                found = self.answer(np.stack(pixels))
                for row, path in enumerate(chosen):
                    cells: list[Any] = [path]
                    for task in self.tasks:
                        values = found[task.name][row]
                        cells += [task.classes[int(values.argmax())], *values.tolist()]
                    writer.writerow(cells)

    def answer(self, pixels: Pixels) -> Probabilities:
        torch = self._torch
        half = (
            torch.autocast(self._device.type, torch.float16)
            if self._half
            else contextlib.nullcontext()
        )
        with torch.inference_mode(), half:
            logits = self._forward(torch.from_numpy(pixels).to(self._device))
            found = self._probabilities({name: each.float() for name, each in logits.items()})
        return {name: each.cpu().numpy() for name, each in found.items()}

    def synchronise(self) -> None:
        if self._device.type == "cuda":
            self._torch.cuda.synchronize()


class Runtime(Contestant):
    """`wbczoo predict` as it is: `Session` and the rows that it writes."""

    def __init__(
        self,
        model: str,
        device: str,
        threads: int | None,
        *,
        engine: str = "onnxruntime",
        fixed_batch: int | None = None,
    ) -> None:
        from wbczoo.runtime import Session
        from wbczoo.runtime.devices import cores

        options: dict[str, Any] = {"device": device, "engine": engine, "threads": threads}
        self.session = Session(model, fixed_batch=fixed_batch, **options)
        # `wbczoo predict` computes batches side by side; whoever wants one answer does not.
        self.folder_session = self.session
        if device == "cpu" and fixed_batch is None:
            self.folder_session = Session(model, parallel=threads or cores(), **options)

    def answer_folder(self, paths: Sequence[str], batch: int, out: Path) -> None:
        from wbczoo.runtime import predict_paths, write_csv

        with out.open("w", newline="") as stream:
            rows = predict_paths(self.folder_session, paths, batch_size=batch)
            write_csv(rows, self.session.tasks, stream)

    def answer(self, pixels: Pixels) -> Probabilities:
        shown = pixels.transpose(0, 2, 3, 1) if self.session.file.embedded else pixels
        found = self.session.run(shown)
        return {task.name: found[f"{task.name}_probabilities"] for task in self.session.tasks}


class Bare(Contestant):
    """onnxruntime with its own defaults and nothing around it, on one array; it reads no files."""

    def __init__(self, model: str, device: str, threads: int | None) -> None:
        import onnxruntime

        from wbczoo.runtime.folder import find_model

        if device != "cpu":
            raise ValueError("the bare call is compared on the CPU")
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 4  # else it warns of the inputs that have defaults
        if threads is not None:
            settings.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            str(find_model(model)), settings, ["CPUExecutionProvider"]
        )
        self._names = [node.name for node in self._session.get_outputs()]

    def answer(self, pixels: Pixels) -> Probabilities:
        found = self._session.run(self._names, {"images": pixels})
        pairs = zip(self._names, found, strict=True)
        kind = "_probabilities"
        return {name.removesuffix(kind): each for name, each in pairs if name.endswith(kind)}


_KINDS: dict[str, Callable[..., Contestant]] = {
    "pytorch": PytorchLoop,
    "runtime": Runtime,
    "bare": Bare,
}
_opened: dict[str, Any] = {}


def do(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job in this process: `JobProcess` calls it with what `bench.prediction` asks for."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            answer: dict[str, Any] = _JOBS[job.pop("do")](**job)
    except Exception as error:  # torch.compile without a compiler, an engine not installed, ...
        return {"error": f"{type(error).__name__}: {first_line(error)}"}
    return answer


def _open(
    kind: str, paths: list[str], preprocessing: dict[str, Any], options: dict[str, Any]
) -> dict[str, Any]:
    _opened["contestant"] = _KINDS[kind](**options)
    _opened["paths"] = paths
    _opened["preprocessing"] = TypeAdapter(Preprocessing).validate_python(preprocessing)
    return {}


def _latency(batch: int, repeats: int) -> dict[str, Any]:
    """Seconds of each of some runs of the network on pixels that are already there."""
    contestant: Contestant = _opened["contestant"]
    pixels = next(_pixels(batch))
    pixels = np.ascontiguousarray(pixels[np.arange(batch) % len(pixels)])
    seconds = []
    for turn in range(_WARM_UP + repeats):
        contestant.synchronise()
        started = time.perf_counter()
        contestant.answer(pixels)
        contestant.synchronise()
        if turn >= _WARM_UP:
            seconds.append(time.perf_counter() - started)
    return {"seconds": seconds}


def _folder(batch: int, count: int) -> dict[str, Any]:
    """Seconds from the files of the first `count` images to the end of their CSV file."""
    paths = _opened["paths"][:count]
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        _opened["contestant"].answer_folder(paths, batch, Path(folder) / "answers.csv")
        return {"seconds": time.perf_counter() - started, "images": len(paths)}


def _answers(batch: int) -> dict[str, Any]:
    """Every image's class of each task, as numbers, and its probability."""
    classes: dict[str, list[int]] = {}
    probabilities: dict[str, list[list[float]]] = {}
    for pixels in _pixels(batch):
        for task, values in _opened["contestant"].answer(pixels).items():
            classes.setdefault(task, []).extend(values.argmax(1).tolist())
            probabilities.setdefault(task, []).extend(values.tolist())
    return {"classes": classes, "probabilities": probabilities}


def _processor_seconds(batch: int, count: int) -> dict[str, Any]:
    """Processor seconds of this process for decoding, and for the network, for one image."""
    paths, preprocessing = _opened["paths"][:count], _opened["preprocessing"]
    kept = [images.pixels(path, preprocessing) for path in paths[:batch]]
    started = time.process_time()
    for path in paths:
        np.ascontiguousarray(images.pixels(path, preprocessing).transpose(2, 0, 1))
    decoding = (time.process_time() - started) / len(paths)
    contestant: Contestant = _opened["contestant"]
    pixels = np.ascontiguousarray(np.stack(kept).transpose(0, 3, 1, 2))
    for _ in range(_WARM_UP):
        contestant.answer(pixels)
    turns = max(3, len(paths) // len(pixels))
    wall, started = time.perf_counter(), time.process_time()
    for _ in range(turns):
        contestant.answer(pixels)
    network = (time.process_time() - started) / (turns * len(pixels))
    seconds = (time.perf_counter() - wall) / (turns * len(pixels))
    return {"decoding": decoding, "network": network, "network_wall": seconds}


def _pixels(batch: int) -> Iterator[Pixels]:
    for start in range(0, len(_opened["paths"]), batch):
        chosen = _opened["paths"][start : start + batch]
        read = np.stack([images.pixels(path, _opened["preprocessing"]) for path in chosen])
        yield np.ascontiguousarray(read.transpose(0, 3, 1, 2))


_JOBS: dict[str, Callable[..., dict[str, Any]]] = {
    "open": _open,
    "latency": _latency,
    "folder": _folder,
    "answers": _answers,
    "processor_seconds": _processor_seconds,
    "memory": lambda: {"peak_bytes": machine.peak_memory()},
}

"""Ways of answering images are timed in turn, each in its own process, against one another."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from wbczoo import images, machine
from wbczoo.bench.turns import ask
from wbczoo.errors import ImageRefused, UsageError, WbczooError
from wbczoo.images.walk import Found
from wbczoo.process import JobProcess
from wbczoo.progress import Tell, bar
from wbczoo.runtime import Session
from wbczoo.runtime.batches import BATCH
from wbczoo.runtime.devices import cores
from wbczoo.specs import Preprocessing

_WORK = "wbczoo.bench.contestants:do"
_LIMIT = 900.0  # seconds of one job; torch.compile may take minutes
_REPEATS = 30  # runs whose latency is taken, in each round


@dataclass
class Contestant:
    """One way of answering, and what was measured of it.

    Attributes:
        name: for the table.
        kind, options: what `bench.contestants` opens.
        latencies: batch -> seconds of each run of the network on pixels that are there.
        folders: batch -> images and seconds from files to CSV, of each round.
        error: why it could not be measured.
    """

    name: str
    kind: str
    options: dict[str, Any]
    latencies: dict[int, list[float]] = field(default_factory=dict)
    folders: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    processor: dict[str, float] = field(default_factory=dict)
    peak_bytes: int | None = None
    error: str | None = None

    def images_per_second(self) -> dict[int, float]:
        """Batch -> images/s from files to CSV, over all rounds."""
        return {
            batch: sum(count for count, _ in rounds) / sum(seconds for _, seconds in rounds)
            for batch, rounds in self.folders.items()
        }

    def fastest(self) -> float | None:
        """Images/s from files to CSV at the batch that suits it best."""
        return max(self.images_per_second().values(), default=None)


def bench_predict(
    paths: Sequence[Found],
    models: Sequence[Path],
    *,
    run: Path | None = None,
    device: str = "cpu",
    batch: int = 32,
    rounds: int = 3,
    repeats: int = _REPEATS,
    compiled: bool = True,
    tell: Tell = print,
) -> dict[str, Any]:
    """Compare `wbczoo predict` in each of some exports with PyTorch, OpenVINO and its own bound.

    Each contestant lives in a process of its own, and all take turns in each round, so that a
    machine that slows down slows all.

    Args:
        paths: of images; those that cannot be read, or lie within archives, are left out.
        models: exports; the first is what the others' answers are compared with.
        run: the run that was exported, for PyTorch's rows; without it, or without torch, there
            are none.
        device: `cpu`, `cuda` or `tensorrt`.
        batch: the larger batch; the other is one image.
        rounds: how often each contestant's turn comes.
        repeats: latencies taken in each round, at batch 1; at the larger batch a fifth of them.
        compiled: with `run`, compare with `torch.compile` too.

    Returns:
        settings, machine, and a row for each contestant. Its ratio and share of the bound are of
        the batch that suits each best.

    Raises:
        UsageError: if fewer images than one batch can be read.
        WbczooError: if a model cannot be opened.
    """
    first = Session(models[0], device="cpu")
    plain = [path for path in paths if isinstance(path, str)]
    good = [path for path in plain if _readable(path, first.preprocessing)]
    if len(good) < batch:
        raise UsageError(
            f"{len(good)} of {len(paths)} images are files that can be read, and a batch has "
            f"{batch}; give more images or a smaller --batch-size"
            + (", and unpack archives." if len(plain) < len(paths) else ".")
        )
    contestants = _line_up(models, run, device, compiled)
    place: dict[str, Any] = {"paths": good, "preprocessing": asdict(first.preprocessing)}
    processes = {each.name: JobProcess(_WORK, _LIMIT) for each in contestants}
    try:
        for each in contestants:
            tell(f"opening {each.name}")
            ask(each, processes, "open", kind=each.kind, options=each.options, **place)
            for size in (1, batch):  # what compiles or builds, does it now
                ask(each, processes, "latency", batch=size, repeats=1)
        with bar(rounds * len(contestants), "timing", unit="turn") as advance:
            for number in range(rounds):
                # Whoever goes first meets the colder caches; take turns.
                for each in contestants if number % 2 else contestants[::-1]:
                    _measure(each, processes, batch, len(good), repeats)
                    advance(1)
        for each in contestants:
            _finish(each, processes, batch, place)
    finally:
        for process in processes.values():
            process.close()
    rows = [_row(each, contestants, device) for each in contestants]
    if all(row["error"] for row in rows):
        raise WbczooError(f"Nothing could be measured: {rows[0]['error']}")
    return {
        "name": first.file.name,
        "images": len(good),
        "rounds": rounds,
        "batch_size": batch,
        "device": device,
        **machine.describe(),
        "rows": rows,
    }


def _line_up(
    models: Sequence[Path], run: Path | None, device: str, compiled: bool
) -> list[Contestant]:
    common = {"device": device, "threads": None}
    found = []
    if run is not None and machine.installed("torch"):
        torch_device = "cpu" if device == "cpu" else "cuda"
        loop = {"run": str(run), "device": torch_device, "threads": None}
        found = [
            Contestant("PyTorch", "pytorch", loop),
            Contestant("PyTorch channels_last", "pytorch", {**loop, "layout": "channels_last"}),
        ]
        if compiled:
            found.append(Contestant("torch.compile", "pytorch", {**loop, "compiled": True}))
        if torch_device == "cuda":
            found.append(Contestant("PyTorch fp16 autocast", "pytorch", {**loop, "half": True}))
    if device == "cpu":
        bare = {"model": str(models[0]), **common}
        found.append(Contestant("onnxruntime, a bare call", "bare", bare))
    for path in models:
        precision = Session(path, device="cpu").file.precision
        options = {"model": str(path), **common}
        found.append(Contestant(f"wbczoo {precision} ({path.name})", "runtime", options))
        if device != "cpu":
            fixed = {**options, "fixed_batch": 1}
            found.append(Contestant(f"wbczoo {precision} fixed batch 1", "runtime", fixed))
    if device == "cpu" and machine.installed("openvino"):
        for engine in ("openvino", "openvino-bf16"):
            options = {"model": str(models[0]), **common, "engine": engine}
            found.append(Contestant(f"wbczoo --engine {engine}", "runtime", options))
    return found


def _measure(
    each: Contestant, processes: Mapping[str, JobProcess], batch: int, count: int, repeats: int
) -> None:
    for size in (1, batch):
        turns = repeats if size == 1 else max(3, repeats // 5)
        answer = ask(each, processes, "latency", batch=size, repeats=turns)
        each.latencies.setdefault(size, []).extend(answer.get("seconds", ()))
        if each.kind == "bare":
            continue
        # One by one takes longer; a quarter of the images tells as much.
        _time_folder(each, processes, size, count if size == batch else max(batch, count // 4))
    if each.kind == "runtime" and BATCH not in (1, batch):
        _time_folder(each, processes, BATCH, count)


def _time_folder(
    each: Contestant, processes: Mapping[str, JobProcess], batch: int, count: int
) -> None:
    answer = ask(each, processes, "folder", batch=batch, count=count)
    if answer:
        each.folders.setdefault(batch, []).append((answer["images"], answer["seconds"]))


def _finish(
    each: Contestant, processes: Mapping[str, JobProcess], batch: int, place: dict[str, Any]
) -> None:
    """Memory, answers, and in a process with one thread the processor time of the bound."""
    each.peak_bytes = ask(each, processes, "memory").get("peak_bytes")
    each.answers = ask(each, processes, "answers", batch=batch)
    if each.kind != "runtime" or each.error:
        return
    with JobProcess(_WORK, _LIMIT) as alone:
        options = {**each.options, "threads": 1}
        alone.ask({"do": "open", "kind": each.kind, "options": options, **place})
        count = min(len(place["paths"]), 8 * batch)
        found = alone.ask({"do": "processor_seconds", "batch": batch, "count": count})
    if "error" not in found:
        each.processor = found


def _row(each: Contestant, contestants: Sequence[Contestant], device: str) -> dict[str, Any]:
    speed = each.fastest()
    loop = contestants[0].fastest() if contestants[0].kind == "pytorch" else None
    bound = _bound(each.processor, device)
    reference = next((one for one in contestants if one.kind == "runtime" and one.answers), None)
    row: dict[str, Any] = {
        "name": each.name,
        "error": each.error,
        "images_per_second": {str(size): found for size, found in each.images_per_second().items()},
        "latency_ms": {
            str(size): _quantiles(seconds) for size, seconds in each.latencies.items() if seconds
        },
        "ratio_to_pytorch": speed / loop if speed and loop else None,
        "processor_ms": {name: value * 1e3 for name, value in each.processor.items()},
        "bound_images_per_second": bound,
        "of_bound": speed / bound if speed and bound else None,
        "peak_megabytes": each.peak_bytes / 1e6 if each.peak_bytes else None,
        "agreement": None,
    }
    if reference is not None and each.answers:
        row["agreement"] = _agreement(reference.answers, each.answers)
        row["compared_with"] = reference.name
    return row


def _bound(processor: Mapping[str, float], device: str) -> float | None:
    """Images/s that the machine can do: all cores busy, or on a GPU the slower of two sides."""
    if not processor:
        return None
    if device == "cpu":
        return cores() / (processor["decoding"] + processor["network"])
    return 1 / max(processor["decoding"] / cores(), processor["network_wall"])


def _quantiles(seconds: Sequence[float]) -> dict[str, float]:
    return {
        "median": statistics.median(seconds) * 1e3,
        "p95": float(np.quantile(seconds, 0.95)) * 1e3,
    }


def _agreement(reference: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Of each task the share of equal classes, and the largest difference of a probability."""
    told = {}
    for task, classes in reference["classes"].items():
        probabilities = [np.array(one["probabilities"][task]) for one in (reference, found)]
        told[task] = {
            "equal": float(np.mean(np.array(classes) == np.array(found["classes"][task]))),
            "probability_difference": float(np.abs(probabilities[0] - probabilities[1]).max()),
        }
    return told


def _readable(path: str, preprocessing: Preprocessing) -> bool:
    try:
        images.pixels(path, preprocessing)
    except ImageRefused:
        return False
    return True

"""A graph of lower precision is chosen here: the fastest that answers as fp32's does."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import onnx

from wbczoo.errors import BoundMissed, WbczooError
from wbczoo.exporting.agreement import (
    BOUNDS,
    Agreement,
    Answers,
    Bound,
    ask,
    compare_answers,
    relative_speeds,
)
from wbczoo.exporting.half import half_graphs
from wbczoo.exporting.quantised import quantised_graphs
from wbczoo.exporting.sources import RealImages
from wbczoo.images import Pixels
from wbczoo.progress import Tell
from wbczoo.runtime.session import Session
from wbczoo.text import first_line

Precision = Literal["fp32", "fp16", "int8"]


@dataclass
class _Trial:
    """One graph that was tried, and what was found of it so far."""

    what: str
    path: Path
    speed: float = 0.0
    training: Agreement | None = None
    found: Agreement | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "layers": self.what,
            "speed": round(self.speed, 3),
            "training": self.training.as_json() if self.training else None,
            "agreement": self.found.as_json() if self.found else None,
        }


def lower_precision(
    graph: Path, precision: Precision, real: RealImages, share: float | None, tell: Tell
) -> dict[str, Any]:
    """Replace an fp32 graph by one of another precision, and say how it was chosen.

    fp16 is tried on all layers, then on fewer. Of int8 each choice of layers is first held
    against fp32 on training images; those that hold are measured on the others, the fastest
    first. The first that holds is kept. All run on the CPU.

    Args:
        graph: in place of which the new one is put.
        precision: `fp16` or `int8`.
        share: of equal answers that is enough, however far probabilities are off; the precision's
            own bound if None.

    Returns:
        `agreement` with what was found of the graph that was kept, and `tried` with all.

    Raises:
        BoundMissed: if none keeps the bound of the precision; `graph` is as it was.
        WbczooError: if the graph cannot be converted.
    """
    bound = BOUNDS[precision] if share is None else Bound(share)
    with tempfile.TemporaryDirectory() as name:
        tell(f"converting to {precision}")
        trials = _make(graph, precision, real.calibration, Path(name))
        speeds = relative_speeds(
            {"fp32": graph} | {trial.what: trial.path for trial in trials}, real.judged
        )
        for trial in trials:
            trial.speed = speeds[trial.what]
        order = trials
        if precision == "int8":
            tell(f"choosing layers on {len(real.choosing)} training images")
            reference = ask(Session(graph, device="cpu"), real.choosing)
            for trial in trials:
                trial.training = _measure(trial, reference, real.choosing, "training images")
            holding = [trial for trial in trials if trial.training and trial.training.holds(bound)]
            order = sorted(holding, key=lambda trial: -trial.speed)
        tell(f"comparing with fp32 on {len(real.judged)} {real.source}")
        reference = ask(Session(graph, device="cpu"), real.judged)
        for trial in order:
            trial.found = _measure(trial, reference, real.judged, real.source)
            if trial.found.holds(bound):
                graph.write_bytes(trial.path.read_bytes())
                return {
                    "layers": trial.what,
                    "speed": round(trial.speed, 3),
                    "bound": asdict(bound),
                    **trial.found.as_json(),
                    "tried": [each.as_json() for each in trials],
                }
        raise BoundMissed(_refusal(precision, bound, trials))


def _make(graph: Path, precision: Precision, calibration: Pixels, folder: Path) -> list[_Trial]:
    proto = onnx.load(graph)
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    metadata["wbczoo.precision"] = precision
    trials = []
    try:
        if precision == "fp16":
            for number, (what, converted) in enumerate(half_graphs(proto)):
                onnx.save(converted, folder / f"{number}.onnx")
                trials.append(_Trial(what, folder / f"{number}.onnx"))
        else:
            trials = [
                _Trial(what, path) for what, path in quantised_graphs(graph, calibration, folder)
            ]
        for trial in trials:
            converted = onnx.load(trial.path)
            del converted.metadata_props[:]
            onnx.helper.set_model_props(converted, metadata)
            onnx.save(converted, trial.path)
            Session(trial.path, device="cpu")  # a kernel that is missing is told before any work
    except WbczooError:
        raise
    except Exception as error:  # the converters' exceptions share no base of their own
        raise WbczooError(
            f"The model cannot be converted to {precision}: {type(error).__name__}: "
            f"{first_line(error)}."
        ) from error
    if not trials:
        raise WbczooError(f"The model has no layer that can be put into {precision}.")
    return trials


def _measure(trial: _Trial, reference: Answers, images: Pixels, source: str) -> Agreement:
    return compare_answers(reference, ask(Session(trial.path, device="cpu"), images), source)


def _refusal(precision: str, bound: Bound, trials: list[_Trial]) -> str:
    nearest: Mapping[float, tuple[_Trial, Agreement]] = {
        min(found.equal for found in agreement.tasks.values()) / agreement.images: (
            trial,
            agreement,
        )
        for trial in trials
        if (agreement := trial.found or trial.training)
    }
    trial, agreement = nearest[max(nearest)]
    return (
        f"No {precision} graph of {len(trials)} answers as fp32 does, which takes {bound}. The "
        f"nearest, {precision} in {trial.what}: {agreement.describe()}, on {agreement.source}. "
        "Nothing was written; export in fp32, or say by --agreement what share of equal answers "
        "is enough."
    )

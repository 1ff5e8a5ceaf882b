"""Labelled cells are answered here by the model that is to be adapted to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from wbczoo.data.cache import PixelCache
from wbczoo.data.samples import Rows
from wbczoo.errors import WbczooError
from wbczoo.exporting.adapting.graph import Adaptable
from wbczoo.exporting.adapting.middle import FEATURES
from wbczoo.exporting.adapting.refit import Cells
from wbczoo.metrics.formulas import Floats
from wbczoo.progress import bar
from wbczoo.runtime import devices
from wbczoo.runtime.model_file import INPUT, NOVELTY
from wbczoo.runtime.onnx_graph import open_with
from wbczoo.runtime.session import Session

_BATCH = 32


def answer_cells(
    given: Adaptable, session: Session, cache: PixelCache, rows: Rows, wanted: Sequence[int]
) -> tuple[Cells, dict[str, float]]:
    """What the model gives for rows of the cache, and the temperature of each task.

    Raises:
        WbczooError: if it answers with what is no number.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(given.proto)
    network = open_with(session.file.path, proto, [FEATURES], devices.CPU, devices.cores())
    names = [FEATURES, *session.file.outputs]
    pixels, at = cache.pixels(), cache.rows([rows.hashes[row] for row in wanted])
    parts: dict[str, list[Floats]] = {name: [] for name in names}
    with bar(len(at), "answering", unit="image") as advance:
        for start in range(0, len(at), _BATCH):
            batch = pixels[at[start : start + _BATCH]]  # (N, H, W, 3)
            asked = batch if session.file.embedded else batch.transpose(0, 3, 1, 2)
            told = network.run(names, {INPUT: np.ascontiguousarray(asked)})
            for name, values in zip(names, told, strict=True):
                parts[name].append(values.astype(np.float64))
            advance(len(batch))
    whole = {name: np.concatenate(values) for name, values in parts.items()}
    if not all(np.isfinite(values).all() for values in whole.values()):
        raise WbczooError(f"{session.path} answers with what is no number; it is damaged.")
    temperatures, logits = {}, {}
    for task in session.tasks:
        own = whole[f"{task.name}_logits"]
        temperatures[task.name] = _temperature(own, whole[f"{task.name}_probabilities"])
        logits[task.name] = own / temperatures[task.name]
    targets = {name: values[[*wanted]] for name, values in rows.targets(session.tasks).items()}
    groups = np.array([rows.groups[row] for row in wanted], object)
    return Cells(whole[FEATURES], logits, whole.get(NOVELTY), targets, groups), temperatures


def _temperature(logits: Floats, probabilities: Floats) -> float:
    """The one that was divided by: logits are it times the probabilities' logarithms, moved."""
    surest = probabilities.clip(1e-6)
    moved = [
        values - values.mean(1, keepdims=True)
        for values in (np.where(probabilities > 1e-6, logits, np.nan), np.log(surest))
    ]
    whole = np.isfinite(moved[0]).all(1)
    if not (moved[1][whole] ** 2).sum() > 0:
        return 1.0
    return float((moved[0][whole] * moved[1][whole]).sum() / (moved[1][whole] ** 2).sum())

"""Features of images are put together here, and written as a file that other tools read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wbczoo import files
from wbczoo.errors import UsageError
from wbczoo.runtime.answers import Answer
from wbczoo.runtime.layers import Layer
from wbczoo.runtime.model_file import NOVELTY, ModelFile
from wbczoo.runtime.parquet import open_pyarrow
from wbczoo.runtime.rows import BOX_COLUMNS

FORMATS = (".npz", ".parquet")
_WITHOUT_PYARROW = ("features", "name a file that ends with .npz")


@dataclass(frozen=True)
class Features:
    """The features of images, or of their cells, in the order of their sources.

    Attributes:
        layer: where the network was read.
        values: float32 (N, C), a row for each image or cell that was answered.
        answers: of these N, as `Session.answers` yields them.
        places: (N,), of the source of each, from 0.
        refused: answers of the sources that have no row: with an `error`, or without a cell.
    """

    layer: Layer
    values: NDArray[np.float32]
    answers: list[Answer]
    places: NDArray[np.int64]
    refused: list[Answer] = field(default_factory=list)


def gather(answers: Iterable[Answer], layer: Layer, width: int = 0) -> Features:
    """Take the features out of answers that have them.

    Args:
        answers: of `Session.answers` with this layer.
        width: C, where there may be none.
    """
    values, kept, places, refused = [], [], [], []
    for number, answer in enumerate(answers):
        place = answer.pop("image", number)
        if "features" in answer:
            values.append(answer.pop("features")[layer])
            kept.append(answer)
            places.append(place)
        else:
            refused.append(answer)
    whole = np.stack(values) if values else np.zeros((0, width), np.float32)
    return Features(layer, whole, kept, np.array(places, np.int64), refused)


def check_format(path: Path) -> None:
    """Find out whether features can be written to a file of that name.

    Raises:
        UsageError: if it is called otherwise than `.npz` or `.parquet`, or pyarrow is missing.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"Features are written as {' or '.join(FORMATS)}, not to {path.name}.")
    if path.suffix.lower() == ".parquet":
        open_pyarrow(*_WITHOUT_PYARROW)


def write_features(path: Path, file: ModelFile, features: Features) -> None:
    """Write features with what the model says of each image.

    The columns are `path`, the sides of a cell's box, for each task its class and
    `<task>_probability`, `novelty`, and `features`, float32 (N, C); a model's own where it has
    them. `layer` and `weights_sha256` say what they are of: in an npz file as arrays without
    dimensions, in parquet as metadata of the schema.

    Raises:
        UsageError: as `check_format`.
    """
    check_format(path)
    told = {"layer": features.layer, "weights_sha256": file.weights_sha256}
    columns = _columns(file, features.answers)
    with files.written_aside(path) as aside:
        if path.suffix.lower() == ".npz":
            everything: dict[str, Any] = {**columns, "features": features.values, **told}
            np.savez(aside, **everything)
            return
        pyarrow, parquet = open_pyarrow(*_WITHOUT_PYARROW)
        width = features.values.shape[1]
        flat = pyarrow.array(features.values.ravel())
        table = pyarrow.table(
            {
                **{name: pyarrow.array(values) for name, values in columns.items()},
                "features": pyarrow.FixedSizeListArray.from_arrays(flat, width),
            },
            metadata={f"wbczoo.{name}": value for name, value in told.items()},
        )
        parquet.write_table(table, aside)


def _columns(file: ModelFile, answers: Sequence[Answer]) -> dict[str, NDArray[Any]]:
    def text(values: Iterable[str]) -> NDArray[np.str_]:
        # A path whose bytes are no text keeps its own, as in a table of answers.
        return np.array([each.encode("utf-8", "backslashreplace").decode() for each in values], str)

    columns: dict[str, NDArray[Any]] = {"path": text(each.get("path", "") for each in answers)}
    if any("box" in each for each in answers):
        sides = np.array([each["box"] for each in answers], np.int64)
        columns |= dict(zip(BOX_COLUMNS, sides.T, strict=True))
    for task in file.tasks:
        said = [each["tasks"][task.name] for each in answers]
        columns[task.name] = text(each["class"] for each in said)
        columns[f"{task.name}_probability"] = np.array(
            [each["probability"] for each in said], np.float32
        )
    if file.has_novelty:
        columns[NOVELTY] = np.array([each[NOVELTY] for each in answers], np.float32)
    return columns

"""A smear's pixels come in here; boxes or points with classes and flags go out, and a table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Shape = Literal["boxes", "points"]
LayerData = tuple[Any, dict[str, Any], str]  # as napari takes it

COLUMNS = ("class", "probability", "flags", "left", "top", "right", "bottom")
_PALETTE = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#ee7733")


def answer_smear(
    image: NDArray[Any], model: str | None = None, *, task: str | None = None
) -> list[dict[str, Any]]:
    """Find the white cells of a smear, and say what each is.

    Args:
        image: (H, W, 3 or 4), uint8, or floats in [0, 1] as napari shows them.
        model: whatever `wbczoo.load` takes; the default model if None.
        task: whose classes are told; the model's first one if None.

    Returns:
        for each cell a row with the keys of `COLUMNS`; boxes in pixels, flags joined by blanks.

    Raises:
        ValueError: if the image is no such one, or the model has no such task.
    """
    import wbczoo

    session = wbczoo.load(model)
    names = [each.name for each in session.tasks]
    if task is not None and task not in names:
        raise ValueError(f"The model has no task {task!r}; it has {', '.join(names)}.")
    rows = []
    for found in session.predict(to_rgb(image), cells="all"):
        if "error" in found:
            raise ValueError(found["error"])
        if "box" not in found:  # no cell was found
            continue
        told = found["tasks"][task or names[0]]
        box = dict(zip(("left", "top", "right", "bottom"), found["box"], strict=True))
        flags = " ".join(found.get("flags", ()))
        rows.append({"class": told["class"], "probability": told["probability"], "flags": flags}
                    | box)  # fmt: skip
    return rows


def make_layer(
    rows: Sequence[dict[str, Any]], shape: Shape = "boxes", *, name: str = "white cells"
) -> LayerData:
    """What napari shows of rows: a layer of rectangles, or of points at the cells' centres.

    Class, probability and flags are the layer's features; each class has a colour, and cells with
    a flag are drawn without their probability and with a question mark.
    """
    features = {column: [row[column] for row in rows] for column in COLUMNS[:3]}
    features["label"] = [
        f"{row['class']} ?" if row["flags"] else f"{row['class']} {row['probability']:.2f}"
        for row in rows
    ]
    classes = sorted({row["class"] for row in rows})
    colours = [_PALETTE[classes.index(row["class"]) % len(_PALETTE)] for row in rows]
    edges = [[row[side] for side in COLUMNS[3:]] for row in rows]
    about: dict[str, Any] = {"name": name, "features": features}
    if rows:
        about["text"] = {"string": "{label}", "anchor": "upper_left", "color": "black"}
    if shape == "points":
        centres = [[(top + bottom) / 2, (left + right) / 2] for left, top, right, bottom in edges]
        about |= {"size": 20} | ({"face_color": colours} if rows else {})
        return np.array(centres, float).reshape(-1, 2), about, "points"
    about |= {"shape_type": "rectangle", "edge_width": 3, "face_color": "transparent"}
    if rows:
        about["edge_color"] = colours
    # Corners as napari wants them: down, then to the right.
    corners = [np.array([[t, le], [t, r], [b, r], [b, le]], float) for le, t, r, b in edges]
    return corners, about, "shapes"


def write_table(rows: Sequence[dict[str, Any]], path: str | Path) -> None:
    """Write rows as CSV with the columns of `COLUMNS`."""
    with Path(path).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def to_rgb(image: NDArray[Any]) -> NDArray[np.uint8]:
    """uint8 RGB (H, W, 3) of what an image layer holds; ValueError says what cannot be one."""
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise ValueError(
            f"The layer has the shape {pixels.shape}; a smear is RGB, (height, width, 3)."
        )
    pixels = pixels[..., :3]
    if (
        np.issubdtype(pixels.dtype, np.floating)
        and pixels.size
        and 0 <= pixels.min()
        and (pixels.max() <= 1)
    ):
        return np.asarray((pixels * 255).round(), np.uint8)
    if pixels.dtype != np.uint8:
        raise ValueError(f"The layer holds {pixels.dtype}; a smear is uint8, or floats in [0, 1].")
    return np.ascontiguousarray(pixels)

"""What was said of an image's cells becomes GeoJSON (RFC 7946), which QuPath imports as detections.

Coordinates are pixels of the upright image, the first at its top left corner; a ring runs
counter-clockwise as the RFC counts, which on a screen, where y points down, is clockwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from wbczoo.runtime.drawing import COLOURS, colour_of
from wbczoo.runtime.rows import Row, begins_image

Document = dict[str, Any]

_LOCATED = "White cell"
_ORANGE = "#E69F00"  # of Okabe and Ito; QuPath's own colours are red, blue and green


def located_cells(row: Row) -> Document:
    """The cells of an image, all of one class.

    Args:
        row: of `locate_paths`; a refused one is given back.
    """
    if "error" in row:
        return row
    features = [
        _feature(
            cell["box"],
            f"white cell {number}",
            _LOCATED,
            _ORANGE,
            {
                "Score": cell["score"],
                "Nucleus: Area px^2": cell["nucleus"]["area"],
                "Nucleus: Diameter px": cell["nucleus"]["diameter"],
                "At edge": int(cell["at_edge"]),
            },
        )
        for number, cell in enumerate(row["cells"], 1)
    ]
    return {**_head(row["path"]), "width": row["width"], "height": row["height"],
            "features": features}  # fmt: skip


def answered_cells(rows: Iterable[Row]) -> Iterator[Document]:
    """The cells of each image by the class that the model's first task answers, with its colour.

    Every probability is a measurement, and so is every flag that a cell has, and every class of
    its sets where a coverage was asked for.

    Args:
        rows: of `predict_paths`, asked about cells; a refused one is given back.
    """
    image: list[Row] = []
    for row in rows:
        if image and begins_image(row, image[-1]):
            yield _answered(image)
            image = []
        image.append(row)
    if image:
        yield _answered(image)


def _answered(rows: Sequence[Row]) -> Document:
    if "error" in rows[0]:
        return rows[0]
    features = []
    for number, row in enumerate((row for row in rows if "box" in row), 1):
        first = next(iter(row["tasks"].values()))
        measured = {
            f"{task}: {name}": probability
            for task, answer in row["tasks"].items()
            for name, probability in answer["probabilities"].items()
        }
        measured |= {
            f"{task}: {name} is open": 1
            for task, answer in row["tasks"].items()
            for name in answer.get("set", ())
        }
        measured |= {"novelty": row["novelty"]} if "novelty" in row else {}
        measured |= {f"flag: {flag}": 1 for flag in row.get("flags", ())}
        name = f"{first['class']} {number}"
        features.append(_feature(row["box"], name, first["class"], colour_of(row), measured))
    return {**_head(rows[0]["path"]), "features": features}


def decided_cells(
    path: str, cells: Sequence[tuple[Sequence[float], str]], classes: Sequence[str]
) -> Document:
    """The cells of an image by what a person said that they are.

    Args:
        cells: the box and the class of each.
        classes: all that there are, whose order gives each its colour.
    """
    features = [
        _feature(box, f"{name} {number}", name, COLOURS[classes.index(name) % len(COLOURS)], {})
        for number, (box, name) in enumerate(cells, 1)
    ]
    return {**_head(path), "features": features}


def _head(path: str) -> Document:
    return {"type": "FeatureCollection", "format": 1, "path": path}


def _feature(
    box: Sequence[float], name: str, of: str, colour: str, measured: Mapping[str, float]
) -> dict[str, Any]:
    left, top, right, bottom = box
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    rgb = [*bytes.fromhex(colour.removeprefix("#"))]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "objectType": "detection",
            "name": name,
            "classification": {"name": of, "color": rgb},
            "measurements": dict(measured),
        },
    }

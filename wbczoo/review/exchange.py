"""Labels of cells leave as COCO's and Label Studio's JSON, which come back, and as GeoJSON."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from wbczoo import files
from wbczoo.errors import UsageError, some
from wbczoo.progress import tell
from wbczoo.review.added import SAME, overlap
from wbczoo.review.cells import Box, Cell, Photograph
from wbczoo.review.count import Choice
from wbczoo.review.dataset import reviewed
from wbczoo.review.session import Action, Review
from wbczoo.runtime.geojson import decided_cells
from wbczoo.tasks import fold

COCO = "cells.coco.json"
LABEL_STUDIO = "cells.label-studio.json"
GEOJSON = "cells.geojson"  # a folder: QuPath takes a document for each photograph

_UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before an uploaded file's name

Labelled = tuple[str, Box, str]  # the image's path, a box in its pixels, and a label


def write_labels(review: Review) -> None:
    """Write the reviewed cells as `cells.coco.json`, `cells.label-studio.json`, `cells.geojson`."""
    labels, photographs = reviewed(review), review.prepared.photographs
    for name, document in (
        (COCO, to_coco(review.cells, photographs, labels)),
        (LABEL_STUDIO, to_label_studio(review.cells, photographs, labels)),
    ):
        text = json.dumps(document, indent=1, allow_nan=False)
        files.write_text(review.folder / name, text + "\n")
    aside, folder = review.folder / f".{GEOJSON}", review.folder / GEOJSON
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    by_photograph: dict[int, list[tuple[Box, str]]] = {}
    for cell, label in labels.items():
        found = review.cells[cell]
        by_photograph.setdefault(found.photograph, []).append((found.box, label))
    classes = [choice.name for choice in review.choices]
    for place, cells in by_photograph.items():
        path = photographs[place].path
        text = json.dumps(decided_cells(path, cells, classes), allow_nan=False)
        files.write_text(aside / files.flat_name(path, ".geojson"), text + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def to_coco(
    cells: Sequence[Cell], photographs: Sequence[Photograph], labels: Mapping[int, str]
) -> dict[str, Any]:
    """COCO's object detection format: `images`, `annotations`, `categories`, counted from 1."""
    names = sorted({*labels.values()})
    annotations = []
    for number, (cell, label) in enumerate(labels.items(), 1):
        left, top, right, bottom = cells[cell].box
        wide, high = right - left, bottom - top
        annotations.append({
            "id": number, "image_id": cells[cell].photograph + 1, "iscrowd": 0,
            "category_id": names.index(label) + 1, "bbox": [left, top, wide, high],
            "area": wide * high,
        })  # fmt: skip
    return {
        "images": [
            {"id": place, "file_name": each.path, "width": each.width, "height": each.height}
            for place, each in enumerate(photographs, 1)
        ],
        "annotations": annotations,
        "categories": [{"id": n, "name": name} for n, name in enumerate(names, 1)],
    }


def to_label_studio(
    cells: Sequence[Cell], photographs: Sequence[Photograph], labels: Mapping[int, str]
) -> list[dict[str, Any]]:
    """Label Studio's tasks: a rectangle in per cent of the image for each cell."""
    results: dict[int, list[dict[str, Any]]] = {}
    for cell, label in labels.items():
        place, (left, top, right, bottom) = cells[cell].photograph, cells[cell].box
        width, height = photographs[place].width, photographs[place].height
        value = {
            "x": 100 * left / width, "y": 100 * top / height, "rotation": 0,
            "width": 100 * (right - left) / width, "height": 100 * (bottom - top) / height,
            "rectanglelabels": [label],
        }  # fmt: skip
        results.setdefault(place, []).append(
            {"id": f"cell-{cell}", "type": "rectanglelabels", "from_name": "label",
             "to_name": "image", "original_width": width, "original_height": height,
             "value": value}
        )  # fmt: skip
    return [
        {"data": {"image": photographs[place].path}, "annotations": [{"result": result}]}
        for place, result in results.items()
    ]


def read_labels(path: Path) -> list[Labelled]:
    """The boxes with labels of a file, COCO's or Label Studio's.

    Raises:
        UsageError: if it cannot be read, or is neither.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        found = _of_coco(document) if isinstance(document, dict) else _of_label_studio(document)
        return [*found]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{path} cannot be read as COCO's or Label Studio's JSON: {type(error).__name__} "
            f"{error}. Export it anew, as COCO or as JSON."
        ) from None


def check_labels(path: Path, images: Iterable[str], choices: Iterable[Choice]) -> list[Labelled]:
    """The labels of a file, if they may be of these images; what cells there are is not asked yet.

    Raises:
        UsageError: as `read_labels` does; if a label is of no class, or none is of an image.
    """
    known = {choice.name for choice in choices}
    labelled = read_labels(path)
    if strange := {label for *_, label in labelled} - known:
        raise UsageError(
            f"{path} has the label {some(sorted(strange))}; there are {', '.join(sorted(known))}. "
            "Add it: --classes CLASS."
        )
    place_of = _find_places(images)
    if all(place_of(image) is None for image, *_ in labelled):
        raise UsageError(
            f"None of the {len(labelled)} labels in {path} is of one of these photographs. Are its "
            "images named alike?"
        )
    return labelled


def take_labels(review: Review, by: str, path: Path) -> None:
    """Decide, in somebody's name, the cells that a file labels and of which nobody said anything.

    A label is of the cell whose box it covers at least by half, of what both cover. The same file
    is taken once.

    Args:
        by: who labelled.

    Raises:
        UsageError: as `check_labels` does; if none of its labels is of a cell.
    """
    images = [each.path for each in review.prepared.photographs]
    labelled = check_labels(path, images, review.choices)
    slate, _ = review.view(by)
    cells = [n for n, each in enumerate(review.cells) if not each.added or n in slate.decided]
    found = _match(review, labelled, cells)
    if not found:
        raise UsageError(
            f"None of the {len(labelled)} labels in {path} is of a cell that was found in these "
            "photographs. Were they of the same size when they were labelled?"
        )
    chosen = {cell: label for cell, label in found.items() if cell not in slate.decided}
    if chosen:
        token = f"file-{files.sha256_of(path)[:32]}"
        cells = [*chosen]
        action = Action(do="decide", token=token, cells=cells, to=[*chosen.values()],
                        seen=[review.version] * len(cells))  # fmt: skip
        review.act(by, [action])
    tell(f"{path}: {len(chosen)} cells decided as labelled; {len(labelled) - len(chosen)} labels "
         "are of no cell that was found, or of one that was decided before")  # fmt: skip


def _match(review: Review, labelled: Sequence[Labelled], among: Sequence[int]) -> dict[int, str]:
    place_of = _find_places(each.path for each in review.prepared.photographs)
    cells: dict[int, list[int]] = {}
    for number in among:
        cells.setdefault(review.cells[number].photograph, []).append(number)
    found = {}
    for path, box, label in labelled:
        place = place_of(path)
        near = (
            (overlap(box, review.cells[n].box), n)
            for n in (() if place is None else cells.get(place, ()))
        )
        share, cell = max(near, default=(0.0, -1))
        if share >= SAME:
            found[cell] = label
    return found


def _find_places(images: Iterable[str]) -> Callable[[str], int | None]:
    """What tells which image a path in a file of labels means: by path, or by a name of one."""
    paths = [*images]
    names = Counter(PurePosixPath(path).name for path in paths)
    places = {path: place for place, path in enumerate(paths)}
    places |= {
        PurePosixPath(path).name: place
        for place, path in enumerate(paths)
        if names[PurePosixPath(path).name] == 1
    }

    def place_of(path: str) -> int | None:
        name = PurePosixPath(path).name
        known = (each for each in (path, name, _UPLOADED.sub("", name)) if each in places)
        return places.get(next(known, ""))

    return place_of


def _of_coco(document: Mapping[str, Any]) -> Iterator[Labelled]:
    paths = {each["id"]: str(each["file_name"]) for each in document["images"]}
    names = {each["id"]: fold(str(each["name"])) for each in document["categories"]}
    for each in document["annotations"]:
        left, top, wide, high = (round(float(value)) for value in each["bbox"])
        box = (left, top, left + wide, top + high)
        yield paths[each["image_id"]], box, names[each["category_id"]]


def _of_label_studio(document: Sequence[Mapping[str, Any]]) -> Iterator[Labelled]:
    for task in document:
        path = unquote(str(next(iter(task["data"].values()))).rpartition("?d=")[2])
        for result in (r for a in task["annotations"] for r in a["result"]):
            value = result["value"]
            if not value.get("rectanglelabels"):
                continue
            width, height = result["original_width"] / 100, result["original_height"] / 100
            left, top = value["x"] * width, value["y"] * height
            right, bottom = left + value["width"] * width, top + value["height"] * height
            box = (round(left), round(top), round(right), round(bottom))
            yield path, box, fold(str(value["rectanglelabels"][0]))

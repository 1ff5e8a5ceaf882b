"""What a model reads of an image: all of it, its best white cell, or each of its cells."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from wbczoo import images
from wbczoo.cells import Found
from wbczoo.cells.crop import best_cell, crop_cells
from wbczoo.cells.finder import THRESHOLD, find_on_slide
from wbczoo.cells.slide import Slide
from wbczoo.errors import ImageRefused, UsageError
from wbczoo.images import Pixels
from wbczoo.images.archives.members import Member
from wbczoo.runtime.model_file import ModelFile

Cells = Literal["one", "all", "whole"]

FOUND = ("one", "all")  # of these, the ones that show what was found

NO_CELL = "no-cell"  # nothing was found in the image
AT_EDGE = "at-edge"  # the cell touches the image's frame, so that some of it may be missing


@dataclass(frozen=True, slots=True)
class Shown:
    """What a model reads of an image or of one of its cells.

    Attributes:
        pixels: uint8 (3, H, W), or (H, W, 3) where the model itself resizes; None where there is
            nothing to ask about.
        known: what the answer says beside the model's: a file's `path`, a cell's `box` and
            `flags`, or the `error` for which an image was refused.
    """

    pixels: Pixels | None
    known: Mapping[str, Any]


def choose_cells(cells: Cells | None, file: ModelFile) -> Cells | None:
    """Which cells are meant: `one` where nobody says so and the model was trained on such crops.

    Returns:
        None where images are read as the model's preprocessing says.

    Raises:
        UsageError: if there is no such choice, or cells are asked of a model that was not trained
            on them.
    """
    if cells is not None and cells not in get_args(Cells):
        raise UsageError(f"There are no cells {cells!r}; name {', '.join(get_args(Cells))}.")
    if file.preprocessing.finds_cell:
        return cells or "one"
    if cells in FOUND:
        raise UsageError(
            f"--cells {cells} shows a model the cells that are found, and this one was trained "
            f"with the crop {file.preprocessing.crop}. Ask one that was trained with --crop cell, "
            "or leave out --cells."
        )
    return cells


def decode_and_find(
    source: images.Source, threshold: float = THRESHOLD
) -> tuple[Pixels, list[Found], Slide]:
    """An image, its white cells from this score on, and its empty slide's colour.

    Raises:
        ImageRefused: as `images.decode` does, and if finding needs more memory than there is.
    """
    image = images.decode(source)
    try:
        return image, *find_on_slide(image, threshold)
    except MemoryError:
        raise ImageRefused(
            "Finding its cells needs more memory than there is; cut the image into tiles."
        ) from None


def show(place: int, source: images.Source, file: ModelFile, cells: Cells | None) -> list[Shown]:
    """What a model reads of a source: under `all` of each cell, else one thing.

    Args:
        place: of the source, from 0, which is known where one source gives several answers.
        cells: as `choose_cells` gives it.
    """
    known: dict[str, Any] = {}
    if isinstance(source, str | os.PathLike | Member):
        known["path"] = str(source)
    if cells == "all":
        known["image"] = place
    try:
        if file.embedded:
            return [Shown(_of_size(images.decode(source), file.size), known)]
        whole = replace(file.preprocessing, crop="none")
        if cells in FOUND:
            image, found, slide = decode_and_find(source)
            if not found:
                return [Shown(None, {**known, "flags": [NO_CELL]})]
            chosen = [best_cell(found)] if cells == "one" else _each_once(found)
            squares = crop_cells(image, chosen, file.preprocessing.crop, slide=slide)
            crops = (images.preprocess(crop, whole) for crop in squares)
            return [
                Shown(_channels_first(crop), {**known, **_describe(each)})
                for crop, each in zip(crops, chosen, strict=True)
            ]
        pixels = images.pixels(source, whole if cells == "whole" else file.preprocessing)
        return [Shown(_channels_first(pixels), known)]
    except ImageRefused as refusal:
        return [Shown(None, {**known, "error": str(refusal)})]


def from_the_top(box: Sequence[int]) -> tuple[int, ...]:
    """What boxes (left, top, right, bottom) of one image are ordered by."""
    left, top, right, bottom = box
    return top, left, bottom, right


def _each_once(found: Sequence[Found]) -> list[Found]:
    boxes = {each.box: each for each in found}
    return [boxes[box] for box in sorted(boxes, key=from_the_top)]


def _describe(found: Found) -> dict[str, Any]:
    return {"box": list(found.box), "flags": [AT_EDGE] if found.at_edge else []}


def _channels_first(image: Pixels) -> Pixels:
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def _of_size(image: Pixels, size: tuple[int, int] | None) -> Pixels:
    """The image (H, W, 3), if it has the size that the model reads."""
    if size is not None and image.shape[:2] != size:
        (height, width), (wanted_height, wanted_width) = image.shape[:2], size
        raise ImageRefused(
            f"The image has {width}x{height} pixels, and this model was exported for images of "
            f"{wanted_width}x{wanted_height}."
        )
    return image


def alike(batch: Sequence[Shown], most: int) -> Iterator[tuple[list[int], Pixels]]:
    """The places of at most so many images of one shape in a batch, and their pixels stacked.

    Only of a model that resizes by itself may several shapes meet.
    """
    places: dict[tuple[int, ...], list[int]] = {}
    for place, shown in enumerate(batch):
        if shown.pixels is not None:
            places.setdefault(shown.pixels.shape, []).append(place)
    for same in places.values():
        for start in range(0, len(same), most):
            some = same[start : start + most]
            yield some, np.stack([np.asarray(batch[place].pixels) for place in some])

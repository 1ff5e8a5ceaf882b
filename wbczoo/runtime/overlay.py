"""What an answer rests on is drawn over the pixels that the model read, a panel for each task."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wbczoo import files, images
from wbczoo.cells import Found
from wbczoo.cells.crop import crop_cells
from wbczoo.cells.nucleus import Nucleus
from wbczoo.errors import UsageError
from wbczoo.images import Pixels
from wbczoo.runtime.answers import answer_of
from wbczoo.runtime.maps import Floats, against_the_rest
from wbczoo.runtime.model_file import ModelFile
from wbczoo.runtime.session import Session

# Okabe and Ito 2008: told apart by every kind of colour vision.
FOR, AGAINST = (213, 94, 0), (0, 114, 178)

_PANEL = 256  # pixels of a panel's longer side
_GAP = 8
_LETTER = 13
_OPAQUE = 0.7  # of the strongest position, so that the cell is seen through it

Box = Sequence[int]


def overlay(
    session: Session, source: images.Source, box: Box | None = None, *, task: str | None = None
) -> bytes:
    """A PNG file of what speaks for the answer about one cell, or about a whole image.

    Args:
        source: a photograph, as `wbczoo.images.decode` takes it.
        box: of the cell, left, top, right, bottom in its pixels, as an answer has it; the model's
            own crop of the whole image if None.
        task: whose panel is drawn alone, without words; all panels of `draw_maps` if None.

    Raises:
        ImageRefused: as `decode` does.
        UsageError: if the model has no such task, reads no cells, or has no positions.
        WbczooError: as `Session.run` does.
    """
    file = session.file
    if task not in (None, *(each.name for each in file.tasks)):
        had = ", ".join(each.name for each in file.tasks)
        raise UsageError(f"There is no task {task!r}; this model has {had}.")
    if box is not None and not file.preprocessing.finds_cell:
        raise UsageError(
            f"A cell's box speaks to a model that was trained with --crop cell; {file.path} reads "
            "images whole. Leave the box out."
        )
    image = images.decode(source)
    (shown,) = read_by_model(file, image, [{} if box is None else {"box": box}])
    pixels = shown
    if not file.embedded:
        resized = images.preprocess(shown, replace(file.preprocessing, crop="none"))
        pixels = np.ascontiguousarray(resized.transpose(2, 0, 1))
    outputs = {name: one[0] for name, one in session.run(pixels[None], maps=True).items()}
    answer = answer_of(file.tasks, session.limits, outputs)
    answer["maps"] = {
        each.name: (outputs[f"{each.name}_map"], outputs[f"{each.name}_branch"])
        for each in file.tasks
    }
    if task is None:
        picture = draw_maps(file, image, [{**answer, **({} if box is None else {"box": box})}])
    else:
        picture = _panel(shown, _evidence(file, answer, task)[0])
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def draw_maps(file: ModelFile, image: Pixels, rows: Sequence[Mapping[str, Any]]) -> Image.Image:
    """A row of panels for each cell of an image: what the model read, and what it rests on.

    In a task's panel the positions of the feature map are tiles: orange speaks for the class that
    was answered rather than for the task's others, blue against it, and the more opaque the
    more, up to the strongest of the panel. Below stands what all positions add to the class's
    logit above the mean of its task, and what the sequence branch and the bias add.

    Args:
        image: uint8 RGB (H, W, 3).
        rows: answers with maps, as of `Session.answers`.

    Returns:
        RGB.
    """
    answered = [row for row in rows if "maps" in row]
    seen = [*read_by_model(file, image, answered)]
    font = ImageFont.load_default(_LETTER)
    lines = 2 * (_LETTER + 6)
    sizes = [_panel_size(one) for one in seen]
    wide = max((width for width, _ in sizes), default=_PANEL) + _GAP
    heights = [height + lines + _GAP for _, height in sizes]
    picture = Image.new("RGB", (wide * (1 + len(file.tasks)) + _GAP, sum(heights) + _GAP), "white")
    pen = ImageDraw.Draw(picture)
    top = _GAP
    for number, (row, shown, height) in enumerate(zip(answered, seen, heights, strict=True), 1):
        panels = [("as it is read", "orange for, blue against", _panel(shown, None))]
        for task in file.tasks:
            said = row["tasks"][task.name]
            shares, rest = _evidence(file, row, task.name)
            panels.append(
                (
                    f"{task.name}: {said['class']} {said['probability']:.2f}",
                    f"positions {_rounded(shares.sum())}, rest {_rounded(rest)}",
                    _panel(shown, shares),
                )
            )
        for place, (head, foot, panel) in enumerate(panels):
            left = _GAP + wide * place
            numbered = f"{number}. {head}" if len(answered) > 1 and not place else head
            pen.text((left, top), numbered, "black", font)
            picture.paste(panel, (left, top + lines // 2))
            pen.text((left, top + lines // 2 + panel.height + 2), foot, "black", font)
        top += height
    return picture


def write_maps(
    folder: Path, file: ModelFile, path: str, image: Pixels, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Write `draw_maps` as a PNG file under the name that stands for the image's path.

    Nothing is written of an image in which no cell was answered.
    """
    if any("maps" in row for row in rows):
        picture = draw_maps(file, image, rows)
        with files.written_aside(folder / files.flat_name(path, ".png")) as aside:
            picture.save(aside, "PNG")


def read_by_model(
    file: ModelFile, image: Pixels, rows: Sequence[Mapping[str, Any]]
) -> Iterator[Pixels]:
    """What the model reads of an image for each answer, before it is resized.

    Args:
        image: uint8 RGB (H, W, 3).
        rows: answers; one about a cell has its `box`.

    Yields:
        uint8 RGB (h, w, 3) for each.
    """
    boxed = [row["box"] for row in rows if "box" in row]
    cells = [Found((b[0], b[1], b[2], b[3]), Nucleus(0.0, 0.0), 1.0, False) for b in boxed]
    crops = crop_cells(image, cells, file.preprocessing.crop)
    for row in rows:
        if "box" in row:
            yield next(crops)
        elif file.embedded or file.preprocessing.finds_cell:
            yield image  # --cells whole
        else:
            yield images.find_crop(file.preprocessing.crop)(image)


def _evidence(file: ModelFile, row: Mapping[str, Any], task: str) -> tuple[Floats, float]:
    """What positions (h, w), and what the rest, add to the answered class above its task's mean."""
    shares, branch = row["maps"][task]
    (classes,) = (each.classes for each in file.tasks if each.name == task)
    best = classes.index(row["tasks"][task]["class"])
    return against_the_rest(shares)[best], float(branch[best] - branch.mean())


def _rounded(value: float) -> str:
    return f"{round(value, 1) + 0:+.1f}"  # + 0, for no sum is minus nothing


def _panel_size(shown: Pixels) -> tuple[int, int]:
    height, width = shown.shape[:2]
    longer = max(height, width)
    return max(1, round(_PANEL * width / longer)), max(1, round(_PANEL * height / longer))


def _panel(shown: Pixels, shares: Floats | None) -> Image.Image:
    """The pixels that were read, under the shares (h, w) of positions if given."""
    size = _panel_size(shown)
    panel = Image.fromarray(shown).resize(size)
    if shares is None:
        return panel
    strength = np.abs(shares) / max(float(np.abs(shares).max()), 1e-9)
    mask = Image.fromarray(np.rint(255 * _OPAQUE * strength).astype(np.uint8))
    colours = np.where(shares[..., None] > 0, FOR, AGAINST).astype(np.uint8)
    nearest = Image.Resampling.NEAREST
    panel.paste(Image.fromarray(colours).resize(size, nearest), mask=mask.resize(size, nearest))
    return panel

"""A model that a user names is opened here, and images that a user names become rows of answers."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wbczoo.images.archives.members import Member
from wbczoo.runtime.batches import BATCH
from wbczoo.runtime.cells import Cells
from wbczoo.runtime.named import resolve
from wbczoo.runtime.rows import Row
from wbczoo.runtime.session import Session

if TYPE_CHECKING:
    from wbczoo.runtime.drawing import Told, Writer
    from wbczoo.runtime.layers import Layer


def predict_paths(
    session: Session,
    paths: Iterable[str | Path | Member],
    *,
    batch_size: int = BATCH,
    workers: int | None = None,
    cells: Cells | None = None,
    draw: Path | None = None,
    maps: Path | None = None,
    layers: Sequence[Layer] = (),
) -> Iterator[Row]:
    """Answer image files and archives' members in their order; few are in memory at a time.

    Args:
        cells, layers: as `Session.answers` takes them.
        draw: a folder to write a picture of each image with its answers into. An image's rows
            then come when all of them are there, and its picture.
        maps: the same for `wbczoo.runtime.overlay.draw_maps`.

    Yields:
        for each path `{"path": ..., "tasks": {task: {"class": ..., "probability": ...,
        "probabilities": {class: ...}}}}`, or `{"path": ..., "error": reason}` if it was refused.
        A cell's row has `box` and `flags` too, and under `all` there is one for each cell; an
        image in which none is found is `{"path": ..., "flags": ["no-cell"]}`.
    """
    asked: deque[str | Path | Member] = deque()  # those whose rows are to come, and the one at hand

    def ask() -> Iterator[str | Path | Member]:
        for path in paths:
            asked.append(path)
            yield path

    def answered() -> Iterator[Told]:
        at_hand = 0
        for number, answer in enumerate(
            session.answers(
                ask(),
                batch_size=batch_size,
                workers=workers,
                cells=cells,
                layers=layers,
                maps=maps is not None,
            )
        ):
            place = answer.pop("image", number)
            while at_hand < place:
                asked.popleft()
                at_hand += 1
            yield place, asked[0], {"path": str(asked[0]), **answer}

    if draw is None and maps is None:
        yield from (row for _, _, row in answered())
        return
    # Pillow's fonts and what opens a graph for maps would take a tenth of a start.
    from wbczoo.runtime.drawing import draw_rows, write_picture
    from wbczoo.runtime.overlay import write_maps

    writers: list[Writer] = []
    if draw is not None:
        writers.append(partial(write_picture, draw))
    if maps is not None:
        writers.append(partial(write_maps, maps, session.file))
    for row in draw_rows(answered(), *writers):
        row.pop("maps", None)  # they are pictures by now
        yield row


def load(model: str | os.PathLike[str] | None = None, **options: Any) -> Session:
    """Open an exported model, ready to answer.

    Args:
        model: an export's folder, its `model.onnx`, a published model's name, or the address of
            an export on a hub, as `resolve` takes it.
        options: `device`, `engine` and whatever else a `Session` takes.

    Raises:
        UsageError, WbczooError: as `Session` and `resolve` do.
    """
    return Session(resolve(model), **options)

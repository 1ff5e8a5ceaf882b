"""The rows of a model's answers become the cells of a review, in their photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wbczoo.images.archives.members import Member
from wbczoo.images.file import read_file
from wbczoo.images.walk import Found
from wbczoo.review.decisions import Name
from wbczoo.runtime.rows import Row
from wbczoo.tasks import Task

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Cell:
    """A cell to be looked at; of a photograph in which none was found, the photograph.

    Attributes:
        photograph: its place among the photographs.
        box: left, top, right, bottom in pixels of it.
        proposed: the model's class; none where no cell was found.
        probabilities: of each class of the task.
        flags: what the model says beside, and `no-cell`.
        added: whether a person drew it; it is there for whoever's view says what it is.
    """

    photograph: int
    box: Box
    proposed: str | None
    probabilities: tuple[float, ...]
    flags: tuple[str, ...]
    added: bool = False

    @property
    def flagged(self) -> bool:
        """Whether a person must look before anybody signs."""
        return bool(self.flags)


@dataclass(frozen=True)
class Photograph:
    """An image file as it was when the review began.

    Attributes:
        path: as it was given.
        sha256: of its bytes; "" if it could not be read.
        error: why it was refused, else none.
    """

    path: str
    sha256: str
    width: int
    height: int
    error: str | None = None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Photograph:
        """From what a log's first line says of it."""
        return cls(**said)


def cells_of(rows: Sequence[Row], photographs: Sequence[Photograph], task: Task) -> list[Cell]:
    """The cells of answers, in their order.

    Args:
        photographs: with a place for each path in `rows`.
    """
    place = {each.path: number for number, each in enumerate(photographs)}
    found = []
    for row in rows:
        number = place[row["path"]]
        if "error" in row or photographs[number].error:
            continue
        photograph = photographs[number]
        left, top, right, bottom = row.get("box", (0, 0, photograph.width, photograph.height))
        answer = row.get("tasks", {}).get(task.name, {"class": None, "probabilities": {}})
        found.append(
            Cell(
                number,
                (left, top, right, bottom),
                answer["class"],
                tuple(answer["probabilities"].get(name, 0.0) for name in task.classes),
                tuple(row.get("flags", ())),
            )
        )
    return found


def names_of(cells: Sequence[Cell], photographs: Sequence[Photograph]) -> list[Name]:
    """By what the log names each cell."""
    return [(photographs[each.photograph].sha256, each.box) for each in cells]


def by_path(images: Sequence[Found]) -> dict[str, Found]:
    """Image files and archives' members by the path that rows have of them."""
    return {str(image): image for image in images}


def read_bytes(image: Found) -> bytes:
    """A file's or a member's bytes; ImageRefused says why there are none."""
    return image.read() if isinstance(image, Member) else read_file(Path(image))

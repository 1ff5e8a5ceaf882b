"""Cells that no model proposed: a person drew their boxes, and a log's lines bring them back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from wbczoo.errors import UsageError
from wbczoo.review.cells import Box, Cell, Photograph
from wbczoo.review.decisions import NOT_A_CELL, SKIPPED, THERE, Decided, Name, Slate
from wbczoo.review.log import Entry
from wbczoo.runtime.cells import NO_CELL

SAME = 0.5  # of what two boxes cover together, from which on they are of one cell

_SMALLEST = 4  # pixels


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    if wide <= 0 or high <= 0:
        return 0.0
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return wide * high / (areas - wide * high)


def name_added(
    place: int,
    box: Sequence[int],
    photographs: Sequence[Photograph],
    cells: Sequence[Cell],
    slate: Slate,
) -> Name:
    """The name of a cell that is to be added to a photograph.

    Args:
        box: left, top, right, bottom in pixels of the photograph at `place`.
        cells: all that are known.
        slate: what the person who adds it sees.

    Raises:
        UsageError: if there is no such photograph, the box is no box in it, or a cell is there.
    """
    if not place < len(photographs) or photographs[place].error:
        raise UsageError("There is no such photograph.")
    photograph = photographs[place]
    if len(box) != 4:
        raise UsageError("A box has four sides.")
    left, top, right, bottom = box
    inside = left >= 0 and top >= 0 and right <= photograph.width and bottom <= photograph.height
    if not inside or min(right - left, bottom - top) < _SMALLEST:
        raise UsageError(f"A cell's box lies in its photograph, {_SMALLEST} pixels wide or more.")
    for number, cell in enumerate(cells):
        there = cell.photograph == place and is_there(cell, slate.to(number))
        if there and overlap(cell.box, (left, top, right, bottom)) >= SAME:
            raise UsageError(THERE)
    return photograph.sha256, (left, top, right, bottom)


def is_there(cell: Cell, to: str | None) -> bool:
    """Whether it is taken for a cell, where this is said of it; a found one is unless denied."""
    if NO_CELL in cell.flags or to in (NOT_A_CELL, SKIPPED):
        return False
    return to is not None or not cell.added


def doubles(cells: Sequence[Cell], slate: Slate, to: Mapping[int, str | None]) -> set[int]:
    """The cells that would be taken for cells again where another is, one of them drawn.

    Args:
        slate: what is said so far.
        to: cell -> what is to be said of it.
    """

    def then(cell: int) -> bool:
        return is_there(cells[cell], to.get(cell, slate.to(cell)))

    def twice(cell: int) -> bool:
        one = cells[cell]
        return any(
            other != cell
            and cells[other].photograph == one.photograph
            and overlap(one.box, cells[other].box) >= SAME
            and then(other)
            for other in (range(len(cells)) if one.added else drawn)
        )

    back = [cell for cell in to if then(cell) and not is_there(cells[cell], slate.to(cell))]
    drawn = [number for number, cell in enumerate(cells) if cell.added] if back else []
    return {cell for cell in back if twice(cell)}


def cells_added(
    entries: Iterable[Entry], names: Sequence[Name], photographs: Sequence[Photograph]
) -> list[Cell]:
    """The cells that lines of a log add to those with these names."""
    places = {each.sha256: place for place, each in reversed([*enumerate(photographs)])}
    known, found = {*names}, list[Cell]()
    for entry in entries:
        if not entry.get("added"):
            continue
        left, top, right, bottom = entry["box"]
        name: Name = entry["image"], (left, top, right, bottom)
        if name not in known:
            known.add(name)
            found.append(Cell(places[name[0]], (left, top, right, bottom), None, (), (), True))
    return found


def seen_by_both(
    cells: Sequence[Cell], first: Mapping[int, Decided], second: Mapping[int, Decided]
) -> dict[int, int]:
    """The cells of which two blind reviewers said something: as the first has them, the second.

    A cell that each of them drew is one where their boxes overlap, and each box is of one; boxes
    that are still taken for cells go before those that were called none.
    """
    drawn = [[each for each in said if cells[each].added] for said in (first, second)]
    near = sorted(
        (not is_there(cells[one], first[one].to), not is_there(cells[other], second[other].to),
         -overlap(cells[one].box, cells[other].box), one, other)
        for one in drawn[0] for other in drawn[1]
        if cells[one].photograph == cells[other].photograph
        and overlap(cells[one].box, cells[other].box) >= SAME
    )  # fmt: skip
    both = {cell: cell for cell in first if cell in second and not cells[cell].added}
    for *_, one, other in near:
        if one not in both and other not in both.values():
            both[one] = other
    return dict(sorted(both.items()))

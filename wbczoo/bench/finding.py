"""The finder of white cells is measured: on boxed fields, on changed ones, where there is no cell,
and against the time that its network alone takes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from wbczoo import machine
from wbczoo.bench.cell_free import KINDS, cut_pieces, draw_pictures
from wbczoo.bench.changed_fields import measure_changes
from wbczoo.bench.fields import Field, Fields, read_fields
from wbczoo.bench.finder_speed import measure_speed
from wbczoo.bench.locating import Located, measure_locating
from wbczoo.cells import find, network
from wbczoo.errors import ImageRefused, UsageError, WbczooError
from wbczoo.images import Pixels
from wbczoo.metrics.intervals import METHOD
from wbczoo.progress import Tell, bar
from wbczoo.registry import datasets

_PICTURES = 12  # of each kind
_FIELDS = 100  # of red cells

Advance = Callable[[int], object]


def bench_locate(
    data: Mapping[str, Path],
    *,
    every: int = 5,
    boxes_only: bool = False,
    network_file: Path | None = None,
    resamples: int = 2000,
    tell: Tell = print,
) -> dict[str, Any]:
    """Measure how well and how fast white cells are found on data sets that know their boxes.

    Args:
        data: data set -> its path.
        every: each so many fields are changed, and looked at again.
        boxes_only: leave out changed fields, pictures without a cell, and the speed.
        network_file: a finder's network to measure instead of the built-in one.
        resamples: of the bootstrap.

    Returns:
        `sets`: of each data set what `measure_locating` gives, with `unit`, `refused`,
        `images_per_second` of the finder by its thread's processor time, which other work on
        the machine hardly changes, and `decoding_ms` of an image;
        `changes`: of each data set what `measure_changes` gives; `without_cells`: rows of a
        kind of picture, how many there are, in how many something was found, and the share in
        which nothing was, with its interval; `speed`: what `measure_speed` gives; `interval`;
        and the machine.

    Raises:
        UsageError: if no data set is named, or one is not known or not there.
        WbczooError: if a data set knows no box.
    """
    if not data:
        raise UsageError("Name at least one data set that knows its boxes: --data DATASET=PATH.")
    if network_file is not None:
        if not network_file.is_file():
            raise UsageError(f"{network_file} is not there; give a finder's network.")
        network.NETWORK = network_file
    sets = [read_fields(name, path) for name, path in data.items()]
    document: dict[str, Any] = {"interval": METHOD, **machine.describe()}
    if not boxes_only:  # first, for a process's peak of memory begins with its parent's
        tell("timing fields of several sizes")
        document["speed"] = measure_speed(_readable(sets))
    with bar(sum(len(one.boxed) for one in sets), "boxed fields", unit="image") as advance:
        document["sets"] = {one.name: _measure_set(one, resamples, advance) for one in sets}
    if boxes_only:
        return document
    chosen = {one.name: one.boxed[::every] for one in sets}
    with bar(sum(map(len, chosen.values())), "changed fields", unit="image") as advance:
        document["changes"] = {
            name: measure_changes(fields, resamples=resamples, advance=advance)
            for name, fields in chosen.items()
        }
    tell("looking at pictures without a white cell")
    document["without_cells"] = [*_without_cells(sets, resamples)]
    return document


def _readable(sets: Sequence[Fields]) -> Field:
    for field in (field for one in sets for field in one.boxed):
        try:
            field.read()
        except ImageRefused:
            continue
        return field
    raise WbczooError("No image of these data sets can be read.")


def _measure_set(fields: Fields, resamples: int, advance: Advance) -> dict[str, Any]:
    located: list[Located] = []
    decoding = finding = 0.0
    for field in fields.boxed:
        begun = time.thread_time()
        try:
            image = field.read()
        except ImageRefused:
            continue
        decoded = time.thread_time()
        found = [cell.box for cell in find(image)]
        finding += time.thread_time() - decoded
        decoding += decoded - begun
        located.append(Located(field.boxes, found, field.group, field.label))
        advance(1)
    if not located:
        raise WbczooError(f"No image of the data set {fields.name!r} can be read.")
    return {
        **measure_locating(located, resamples=resamples),
        "unit": fields.unit,
        "refused": len(fields.boxed) - len(located),
        "images_per_second": len(located) / finding,
        "decoding_ms": 1e3 * decoding / len(located),
    }


def _without_cells(sets: Sequence[Fields], resamples: int) -> Iterator[dict[str, Any]]:
    """Rows of `kind`, `pictures`, `answered`, and `quiet` with its interval; the last is of all."""
    every: list[Located] = []
    for kind, pictures in _kinds(sets):
        located = [
            Located((), [cell.box for cell in find(image)], group) for group, image in pictures
        ]
        if located:
            yield _quiet(kind, located, resamples)
            every += located
    yield _quiet("all", every, resamples)


def _kinds(sets: Sequence[Fields]) -> Iterator[tuple[str, Iterable[tuple[str, Pixels]]]]:
    """Kinds of pictures without a white cell, each with pairs of a picture's group and itself."""
    for kind in KINDS:
        drawn = draw_pictures(kind, _PICTURES)
        yield f"drawn: {kind}", ((f"{kind} {n}", image) for n, image in enumerate(drawn))
    with tempfile.TemporaryDirectory() as folder:
        yield "drawn: red cells", _red_cells(Path(folder))
    for one in sets:
        empty = [field for field in one.boxed if not field.boxes]
        yield f"{one.name}: boxed, without a white cell", _read(one.name, empty)
        yield f"{one.name}: labelled as something else", _read(one.name, one.others)
        pieces = cut_pieces([field for field in one.boxed if field.boxes][::3])
        yield (
            f"{one.name}: pieces outside every box",
            ((f"{one.name} {field.group}", piece) for field, piece in pieces),
        )


def _red_cells(folder: Path) -> Iterator[tuple[str, Pixels]]:
    """Drawn fields without a white cell, by the data set that draws them."""
    prepare = datasets.spec("synthetic").prepare
    assert prepare is not None
    prepare(folder, photographs=_FIELDS, views=1, seed=777, cells_per_field="0")
    yield from _read("drawn", read_fields("synthetic", folder).boxed)


def _read(name: str, fields: Iterable[Field]) -> Iterator[tuple[str, Pixels]]:
    for field in fields:
        try:
            image = field.read()
        except ImageRefused:
            continue
        yield f"{name} {field.group}", image


def _quiet(kind: str, located: Sequence[Located], resamples: int) -> dict[str, Any]:
    return {
        "kind": kind,
        "pictures": len(located),
        "answered": sum(bool(one.found) for one in located),
        "quiet": measure_locating(located, resamples=resamples)["quiet"],
    }

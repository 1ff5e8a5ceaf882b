"""Answers about many images become a differential: how many cells of each class, and how sure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from wbczoo.errors import UsageError
from wbczoo.images.tables import read_table
from wbczoo.runtime.cells import AT_EDGE, FOUND, NO_CELL, Cells
from wbczoo.runtime.differential.confusion import Confusion, explain_none, read_card
from wbczoo.runtime.differential.correction import Correction, correct
from wbczoo.runtime.differential.shares import multinomial_intervals
from wbczoo.runtime.flags import UNKNOWN, contradicts
from wbczoo.runtime.published import published_name
from wbczoo.runtime.rows import Row, begins_image
from wbczoo.runtime.session import Session
from wbczoo.tasks import INTENDED, NOT_INTENDED, Task
from wbczoo.text import format_number, printable

FEWEST = 100  # cells; under it a laboratory does not report a differential

GroupOf = Callable[[str], str]


Place = str | dict[str, Any]  # an image's path; of a cell among several its `path` and `box`


@dataclass
class Tally:
    """What became of the images of one group, or of their cells.

    Attributes:
        classes: class -> images, or cells, that count for it.
        answered: class -> all that were given it, put aside as unsure or contradicted or not.
        refused, unsure, contradicted, unknown, no_cell, at_edge: what counts for none, by its
            place.
        images: how many there were.
    """

    classes: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    refused: list[Place] = field(default_factory=list)
    unsure: list[Place] = field(default_factory=list)
    contradicted: list[Place] = field(default_factory=list)
    unknown: list[Place] = field(default_factory=list)
    no_cell: list[Place] = field(default_factory=list)
    at_edge: list[Place] = field(default_factory=list)
    images: int = 0


def group_by(choice: str | None, given: Sequence[str]) -> GroupOf:
    """How an image's group is told from its path.

    Args:
        choice: None, one group; `folder`, the folder that the image lies in; or a CSV file with
            the columns `file` and `group` (or `patient`, or `slide`), where `file` is the path as
            it is printed, or below a folder that was given.
        given: what the user named, as `find_images` takes it.

    Raises:
        UsageError: if the table is not there or has not these columns; and, from the function, if
            it says nothing about an image.
    """
    if choice is None:
        return lambda path: "all"
    if choice == "folder":
        return lambda path: str(Path(path).parent)
    if not Path(choice).exists():
        raise UsageError(f"--by takes folder or a CSV file; {choice} is not there.")
    table = read_table(Path(choice), [("group", "patient", "slide")])

    def sample_of(path: str) -> str:
        row = table.find(path, *(_below(path, root) for root in given))
        if row is not None:
            return row["group"] or row["patient"] or row["slide"]
        raise UsageError(f"{choice} says nothing about {path}. Give every image its group.")

    return sample_of


def count(
    rows: Iterable[Row],
    task: Task,
    tasks: Sequence[Task],
    group_of: GroupOf,
    least: float,
    *,
    each_cell: bool = False,
) -> dict[str, Tally]:
    """Count the answers of each group, in the order in which groups are met.

    An image counts for its class unless it was refused, no cell is found in it, it is unknown to
    the model, its class is less likely than `least`, or the answer to another task denies it,
    such as a polynuclear lymphocyte.

    Args:
        rows: of `predict_paths`.
        task: whose classes are counted.
        tasks: all tasks of the model.
        least: probability in [0, 1].
        each_cell: a row is about a cell of a field, and counts as an image does; those that touch
            the frame count for no class, for some of them is missing.
    """
    tallies: dict[str, Tally] = {}
    before: Row | None = None
    for row in rows:
        tally = tallies.setdefault(group_of(row["path"]), Tally())
        tally.images += begins_image(row, before)
        before, flags = row, row.get("flags", ())
        place: Place = row["path"]
        if each_cell and "box" in row:
            place = {"path": row["path"], "box": row["box"]}
        if "error" in row:
            tally.refused.append(place)
            continue
        if NO_CELL in flags:
            tally.no_cell.append(place)
            continue
        if each_cell and AT_EDGE in flags:
            tally.at_edge.append(place)
            continue
        if UNKNOWN in flags:
            tally.unknown.append(place)
            continue
        answer = row["tasks"][task.name]
        tally.answered[answer["class"]] += 1
        if answer["probability"] < least:
            tally.unsure.append(place)
        elif contradicts(answer["class"], {each.name: row["tasks"][each.name] for each in tasks}):
            tally.contradicted.append(place)
        else:
            tally.classes[answer["class"]] += 1
    return tallies


def describe(
    tallies: Mapping[str, Tally],
    task: Task,
    session: Session,
    least: float,
    errors: Confusion | None = None,
    cells: Cells | None = None,
) -> dict[str, Any]:
    """The differential of each group as JSON holds it, with intervals and what it must not be
    used for.

    Args:
        errors: what corrects it; None where the user names none, for errors that were measured
            on other images correct nothing.
        cells: which ones the rows are of, as `choose_cells` gives it.
    """
    card = read_card(session)
    unit = "cell" if cells == "all" else "image"
    most = session.limits.unknown_above if session.limits else None
    kinds = ["refused", "unsure", "contradicted", *["unknown"] * (most is not None)]
    kinds += ["no_cell"] * (cells in FOUND) + ["at_edge"] * (cells == "all")
    return {
        "model": published_name(session.path) or session.file.name,
        "weights_sha256": session.weights_sha256,
        "task": task.name,
        "classes": list(task.classes),
        "least_probability": least,
        **({"most_novelty": most} if most is not None else {}),
        **({"cells": cells} if cells else {}),
        "interval": f"95 %, of all classes at once (Goodman 1965), by {unit}: it speaks of chance "
        "in which cells were photographed, not of the model's errors",
        "correction": f"from all answered {unit}s, by the model's errors on {errors.description}. "
        "The interval, 95 % of all classes at once, is a posterior's: it knows how few answers "
        "and photographs there are"
        if errors
        else None,
        "why_no_correction": None if errors else explain_none(session, task),
        "groups": [
            _describe_group(name, tally, task, errors, cells, kinds)
            for name, tally in tallies.items()
        ],
        "intended_use": printable(str(card.get("intended_use", INTENDED))),
        "not_for": printable(str(card.get("not_for", NOT_INTENDED))),
    }


def _describe_group(
    name: str,
    tally: Tally,
    task: Task,
    errors: Confusion | None,
    cells: Cells | None,
    kinds: Sequence[str],
) -> dict[str, Any]:
    counts = np.array([tally.classes[each] for each in task.classes], np.int64)
    total = int(counts.sum())
    limits = multinomial_intervals(counts)
    aside = {kind: getattr(tally, kind) for kind in kinds}
    warnings = []
    if total < FEWEST:
        warnings.append(
            f"{format_number(total, 'cell')} {'was' if total == 1 else 'were'} counted; a "
            f"differential of fewer than {FEWEST} says little."
        )
    put_aside = sum(map(len, aside.values()))
    images: dict[str, int] = {"images": total + put_aside}
    if cells == "all":  # an image without a cell leaves none out
        put_aside -= len(tally.no_cell)
        in_fields = total + put_aside - len(tally.refused)
        images = {"images": tally.images, "cells": in_fields}
    if put_aside > total:
        warnings.append(
            f"More {'cells' if cells == 'all' else 'images'} were put aside than counted; the "
            "rest may be no fair sample."
        )
    corrected = None
    if errors is not None and tally.answered:
        # The errors were measured on all answers, so they correct all answers.
        answered = np.array([tally.answered[each] for each in task.classes], np.int64)
        found = correct(answered, errors.counts)
        corrected = found if found.fits else None
        warnings += _warn_of(found, task)
    classes = {}
    for place, each in enumerate(task.classes):
        classes[each] = {
            "count": int(counts[place]),
            "percent": 100 * int(counts[place]) / total if total else None,
            "low": 100 * float(limits[place, 0]),
            "high": 100 * float(limits[place, 1]),
            "corrected": None if corrected is None else _percents(corrected, place),
        }
    return {
        "name": name,
        **images,
        "counted": total,
        **{kind: len(places) for kind, places in aside.items()},
        "classes": classes,
        "put_aside": aside,
        "warnings": warnings,
    }


def _warn_of(found: Correction, task: Task) -> Iterator[str]:
    if not found.fits:
        yield (
            "Not corrected: a model with these errors does not give such answers, whatever the "
            "cells are. The errors were measured on other images than these."
        )
        return
    for places in found.alike:
        *most, last = (task.classes[place] for place in places)
        yield (
            f"By these errors the answers cannot tell {', '.join(most)} and {last} from one "
            "another: nearly any division of cells between them is possible."
        )


def _percents(corrected: Correction, place: int) -> dict[str, float]:
    value, (low, high) = corrected.shares[place], corrected.limits[place]
    return {"percent": 100 * float(value), "low": 100 * float(low), "high": 100 * float(high)}


def _below(path: str, root: str) -> str:
    try:
        return Path(path).relative_to(root).as_posix()
    except ValueError:
        return path

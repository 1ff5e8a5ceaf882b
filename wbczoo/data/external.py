"""What of laboratories that nothing was learned from tests a model: rows of classes that it has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from wbczoo.data.plan import Plan
from wbczoo.data.samples import Rows
from wbczoo.errors import UsageError
from wbczoo.tasks import Task


def external_plan(
    rows: Rows,
    tasks: Sequence[Task],
    *,
    protocol: str = "external",
    laboratories: Collection[str] | None = None,
) -> Plan:
    """The test of data that nothing was trained on: rows of the classes that they share.

    Args:
        laboratories: which of them test; None: all that there are.

    Raises:
        UsageError: if they share fewer than two classes with every task.
    """
    parts = defaultdict[str, set[str]](set)
    for laboratory, sample in zip(rows.laboratories, rows.samples, strict=True):
        parts[laboratory].add(sample.part)
    # Of a data set that has them, the photographs, not the views that were made from them.
    part_of = {
        name: "photographs" if "photographs" in own else min(own)
        for name, own in parts.items()
        if laboratories is None or name in laboratories
    }
    chosen = [row for row, name in enumerate(rows.laboratories) if name in part_of]
    shared = {task.name: shared_classes(task, rows, chosen) for task in tasks}
    if all(len(names) < 2 for names in shared.values()):
        told = "; ".join(f"{task}: {', '.join(names) or 'none'}" for task, names in shared.items())
        raise UsageError(
            f"{rows.source.root} shares fewer than two classes with the model ({told}), so there "
            "is nothing to tell apart."
        )
    targets = rows.targets(tasks)
    test = tuple(
        row
        for row in chosen
        if rows.samples[row].part == part_of[rows.laboratories[row]]
        and any(t[row] >= 0 for t in targets.values())
    )
    part = rows.samples[test[0]].part if test else min(part_of.values())
    return Plan(protocol, part, None, (), (), test)


def shared_classes(task: Task, rows: Rows, chosen: Sequence[int] | None = None) -> tuple[str, ...]:
    """The classes of a task that the labels of the chosen rows (or all) have, joined by name."""
    found = {rows.class_of(task, row) for row in (range(len(rows)) if chosen is None else chosen)}
    return tuple(name for name in task.classes if name in found)

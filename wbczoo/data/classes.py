"""Which classes the images of each role show, asked before anything is trained on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wbczoo.data.plan import Plan, Role
from wbczoo.data.samples import Rows
from wbczoo.errors import WbczooError
from wbczoo.progress import Tell
from wbczoo.tasks import Task

# task -> class -> role -> files
ClassCounts = dict[str, dict[str, dict[Role, int]]]

ROLES: tuple[Role, ...] = ("train", "validation", "test")

_NAMES: dict[Role, str] = {"train": "training", "validation": "validation", "test": "test"}
_MEANS: dict[Role, str] = {
    "train": "they are never learned, and will be answered otherwise",
    "validation": "the best epoch and the temperatures are chosen without them",
    "test": "nothing will be measured of them",
}


def count_classes(rows: Rows, plan: Plan, tasks: Sequence[Task]) -> ClassCounts:
    """How many files of each class a role has, less those that were refused."""
    targets = rows.targets(tasks)
    found: ClassCounts = {task.name: {name: {} for name in task.classes} for task in tasks}
    for role in ROLES:
        used = [row for row in plan.rows(role) if rows.samples[row].path not in rows.refused]
        for task in tasks:
            known = targets[task.name][used]
            counts = np.bincount(known[known >= 0], minlength=len(task.classes))
            for name, count in zip(task.classes, counts.tolist(), strict=True):
                found[task.name][name][role] = count
    return found


def refuse_one_class(rows: Rows, plan: Plan, tasks: Sequence[Task]) -> None:
    """See that each task has something to learn.

    Raises:
        WbczooError: if a task has fewer than two classes among the training images.
    """
    for task in tasks:
        counts = count_classes(rows, plan, [task])[task.name]
        trained = [name for name, files_of in counts.items() if files_of["train"]]
        if len(trained) > 1:
            continue
        only = f"show only {trained[0]}" if trained else "show no class"
        fold = "" if plan.fold is None else f" of fold {plan.fold}"
        left = ", ".join(f"{label!r} ({files})" for label, files in rows.left_out(task).items())
        raise WbczooError(
            f"{rows.source.root}: the training images{fold} {only} of the task {task.name} "
            f"({', '.join(task.classes)}), so that there is nothing to learn."
            + (f" Labels that are no class of it: {left}." if left else "")
            + " Give the images labels that the task knows, or choose the tasks by --task."
        )


def tell_lacking(rows: Rows, plan: Plan, tasks: Sequence[Task], tell: Tell) -> None:
    """Warn of each class of which a role has no image; a role that has none at all says so."""
    counts = count_classes(rows, plan, tasks)
    for role in ROLES:
        lacking = {
            task: [name for name, files_of in classes.items() if not files_of[role]]
            for task, classes in counts.items()
        }
        if all(len(lacking[task.name]) == len(task.classes) for task in tasks):
            if role == "validation":
                tell("WARNING: no image validates: the last epoch is kept, uncalibrated")
            continue
        for task_name, names in lacking.items():
            if names:
                tell(
                    f"WARNING: of {', '.join(names)} (task {task_name}) the {_NAMES[role]} images "
                    f"show none: {_MEANS[role]}"
                )

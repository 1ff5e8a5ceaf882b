"""Which classes the images of each role show, asked before anything is trained on them."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import numpy as np

from wbczoo.data.plan import Plan, Role
from wbczoo.data.samples import Rows
from wbczoo.errors import UsageError, WbczooError, some
from wbczoo.progress import Tell
from wbczoo.tasks import SHIPPED, Task, class_named

# task -> class -> role -> files
ClassCounts = dict[str, dict[str, dict[Role, int]]]
# task -> class -> raw labels
Labels = dict[str, dict[str, list[str]]]

ROLES: tuple[Role, ...] = ("train", "validation", "test")

_NAMES: dict[Role, str] = {"train": "training", "validation": "validation", "test": "test"}
_MEANS: dict[Role, str] = {
    "train": "they are never learned, and will be answered otherwise",
    "validation": "the best epoch and the temperatures are chosen without them",
    "test": "nothing will be measured of them",
}


def settle_tasks(rows: Rows, tasks: Sequence[Task]) -> tuple[Task, ...]:
    """The tasks with the classes that they have in these data: `own` takes all that there are.

    Raises:
        UsageError: for a label that makes no class's name, and for a class of a user's own task
            that no image has; the nearest that there is is named.
    """
    settled = []
    for task in tasks:
        raw = sorted({rows.label_of(task, row) for row in range(len(rows))} - {""})
        if task.takes_all:
            settled.append(_own(task, raw, rows))
            continue
        shown = {rows.class_of(task, row) for row in range(len(rows))}
        lacking = [name for name in task.classes if name not in shown]
        if lacking and task not in SHIPPED.values():
            near = get_close_matches(lacking[0], filter(None, map(class_named, raw)), 1)
            meant = ",".join({lacking[0]: near[0]}.get(c, c) for c in task.classes) if near else ""
            raise UsageError(
                f"The task {task.name} has the class {lacking[0]!r}, of which no image in "
                f"{rows.source.root} is."
                + (
                    f" Did you mean {near[0]}? Then type --task {task.name}={meant}."
                    if near
                    else ""
                )
                + f" The labels there are {some(raw, most=20)}."
            )
        settled.append(task)
    return tuple(settled)


def _own(task: Task, raw: Sequence[str], rows: Rows) -> Task:
    if nameless := [label for label in raw if not class_named(label)]:
        raise UsageError(
            f"The label {nameless[0]!r} makes no class's name, which is Latin letters, digits and "
            f"underscores. Say what to call it: --label {nameless[0]}=NAME."
        )
    classes = tuple(sorted({class_named(label) for label in raw}))
    if len(classes) < 2:
        raise UsageError(
            f"{rows.source.root} has labels of {classes[0] if classes else 'no class'} alone for "
            f"the task {task.name}; a classifier needs two classes."
        )
    return Task(task.name, classes)


def explain_left_out(rows: Rows, tasks: Sequence[Task]) -> str:
    """What to do where more than a tenth of the files has a label that none of the tasks knows.

    Args:
        tasks: those that are meant where a user named none.

    Returns:
        a sentence, or "" where it is no more than that.
    """
    unknown = Counter(
        label
        for row, sample in enumerate(rows.samples)
        if (label := sample.label) and not any(rows.class_of(task, row) for task in tasks)
    )
    if 10 * unknown.total() <= len(rows):
        return ""
    told = [f"{label} ({files})" for label, files in unknown.most_common()]
    names = {name for task in tasks for name in task.classes}
    near = [
        f"{label} is {name}: --label {shlex.quote(f'{label}={name}')}"
        for label in unknown
        if (name := _misspelt(class_named(label), names))
    ]
    flags = " ".join(f"--task {task.name}" for task in tasks)
    return (
        f"{unknown.total()} of {len(rows)} images in {rows.source.root} have a label that is no "
        f"class of {' and '.join(task.name for task in tasks)}, the tasks where none is named: "
        f"{some(told, most=12)}. Add --task own to take all classes that the data have, or "
        f"{flags} to leave these images out." + (f" Perhaps {'; '.join(near)}." if near else "")
    )


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


def _misspelt(word: str, names: Iterable[str]) -> str:
    """The name that a word is but for a letter or two; `promonocyte` is another word."""
    alike = [name for name in names if abs(len(name) - len(word)) < 2]
    return next(iter(get_close_matches(word, alike, 1, 0.8)), "")


def describe_labels(rows: Rows, tasks: Sequence[Task]) -> dict[str, Labels]:
    """Under `labels`, the raw labels of each class of a user's own tasks, where there are such."""
    own = [task for task in tasks if task not in SHIPPED.values()]
    labels = {t.name: {name: [*raw] for name, raw in rows.files_of(t).items()} for t in own}
    return {"labels": labels} if own else {}


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

"""Data and names of parts go in here; what a study of them would do is checked before it begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wbczoo import progress
from wbczoo.data.choice import Data as Places
from wbczoo.data.choice import choose_data
from wbczoo.data.classes import explain_left_out, refuse_one_class, settle_tasks
from wbczoo.errors import UsageError
from wbczoo.model.compose import explain_random
from wbczoo.parts import Part
from wbczoo.progress import Tell
from wbczoo.registry import datasets
from wbczoo.study.plan.grid import Data
from wbczoo.study.plan.plan import StudyPlan, locate_data
from wbczoo.study.plan.trial import NetworkTrial
from wbczoo.study.plan.write import compose_plan
from wbczoo.study.run.roles import Library
from wbczoo.tasks import DEFAULT, SHIPPED, Task, parse


def new_plan(
    data: Places,
    *,
    name: str = "compare",
    dataset: str | Part = "folder",
    dataset_options: Mapping[str, object] | None = None,
    tasks: Sequence[str | Task] | None = None,
    tell: Tell = progress.tell,
    **options: Any,
) -> tuple[StudyPlan, Library]:
    """The plan of a comparison on data that are there, and these data as they were read.

    Args:
        data, dataset, dataset_options: as `wbczoo.train` takes them.
        tasks: as `wbczoo.train` takes them; the plan names the classes of `own`.
        options: as `compose_plan` takes them.

    Raises:
        UsageError: if a part, a setting or a protocol cannot be with these data, or no task is
            named and more than a tenth of the files has no class of the default ones.
        WbczooError: if the data cannot be read, or there is nothing to learn.
    """
    chosen, places = choose_data(data, dataset, dataset_options)
    parts: dict[str, Part] = chosen.get("datasets") or {"images": chosen["dataset"]}
    where = places if isinstance(places, Mapping) else {"images": places}
    described = {one: _describe(part, where[one]) for one, part in parts.items()}
    asked = parse(tasks or ())
    options |= {"name": name, "tasks": [_written(task) for task in DEFAULT]}
    # Which rows are read, the trials alone know; what is asked of these, the rows.
    draft = compose_plan(described, **options)
    library = Library(locate_data(draft, {}), tell)
    first, *_ = draft.trials().values()
    rows = library.rows(first.train_config(first.folds[0]))
    if not tasks and (left := explain_left_out(rows, DEFAULT)):
        raise UsageError(left)
    settled = settle_tasks(rows, asked)
    plan = compose_plan(described, **options | {"tasks": [_written(task) for task in settled]})
    _check(plan, library)
    networks = (trial for trial in plan.trials().values() if isinstance(trial, NetworkTrial))
    if random := explain_random((n.backbone, n.weights, n.train.trainable) for n in networks):
        tell(random)
    return plan, library


def plan_of_drawn() -> StudyPlan:
    """A plan to begin with, for smears that are drawn: two backbones with and without a branch."""
    return compose_plan(
        {"smears": Data(dataset="synthetic", path="smears")},
        name="drawn",
        backbones=("mobilenetv2", "resnet18"),
        sequences=("none", "bilstm"),
        protocols=("grouped", "report"),
        weights="none",
        image_size=64,
        trainable="head",
        batch_size=16,
        lr=1e-3,
        epochs=2,
    )


def _check(plan: StudyPlan, library: Library) -> None:
    """See that each part and each split can be, before hours are spent on the others."""
    from wbczoo.study.run.classical import find_baseline
    from wbczoo.study.run.context import compose_trial

    arenas = dict[str, bool]()
    for trial in plan.trials().values():
        if isinstance(trial, NetworkTrial):
            compose_trial(trial)
        else:
            find_baseline(trial)
        if arenas.setdefault(trial.arena, trial.train.seed != plan.seeds[0]):
            continue
        arenas[trial.arena] = True
        for fold in trial.folds:
            split = library.split(trial, fold)
            refuse_one_class(split.rows, split.plan, split.tasks)


def _describe(part: Part, place: Path) -> Data:
    """A data set as a plan names it, with the options that are not its defaults."""
    defaults = datasets.spec(part.selector).options
    given = {key: value for key, value in part.given.items() if value != defaults.get(key)}
    options = {"options": given} if given else {}
    return Data(dataset=part.name, path=str(place), **options)


def _written(task: Task) -> str:
    shipped = SHIPPED.get(task.name) == task
    return task.name if shipped else f"{task.name}={','.join(task.classes)}"

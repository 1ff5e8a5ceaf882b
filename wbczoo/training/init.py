"""A run's weights start another training: backbone, branch, and of the heads the shared classes."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from wbczoo import files
from wbczoo.config import ModelConfig, RunConfig, WeightsOrigin
from wbczoo.data.plan import read_split
from wbczoo.data.prepared import Prepared, count
from wbczoo.errors import UsageError
from wbczoo.model.build import rebuild
from wbczoo.model.fused import FusedClassifier
from wbczoo.progress import Tell
from wbczoo.tasks import Task
from wbczoo.training import checkpoint


def find_run(init: Path, turn: Mapping[str, Any]) -> Path:
    """The run that starts one of several trainings: the folder's own, or that of the same fold.

    Args:
        turn: `fold` or `hold_out` of the training, where there is one of several.

    Raises:
        UsageError: if there is no run.
    """
    names = [f"fold-{turn.get('fold')}", f"laboratory-{turn.get('hold_out')}"]
    for folder in (init, *(init / name for name in names)):
        if (folder / checkpoint.CONFIG).is_file() and (folder / checkpoint.MODEL).is_file():
            return folder
    inside = sorted(path.parent.name for path in init.glob(f"*/{checkpoint.CONFIG}"))
    raise UsageError(
        f"{init} holds no run to start from: it has no {checkpoint.CONFIG} with {checkpoint.MODEL}."
        + (f" There are runs in it: --init {init / inside[0]}." if inside else "")
    )


def compose_like(init: Path, tasks: tuple[Task, ...], given: Mapping[str, Any]) -> ModelConfig:
    """The composition of a run, for other tasks; the run's own if there are none.

    Args:
        given: what a user said of the composition, by the names of `compose`; None where nothing.

    Raises:
        UsageError: if `init` holds no run, or naming each thing that is given and that differs.
    """
    folder = _first_run(init)
    model = RunConfig.read(folder / checkpoint.CONFIG).model
    side = model.preprocessing.size
    own: dict[str, Any] = {
        "backbone": model.backbone.name,
        "sequence": model.sequence.name,
        "hidden": model.hidden,
        "image_size": side[0] if side[0] == side[1] else side,
        "crop": model.preprocessing.crop,
    }
    differ = [
        f"{name} is {own.get(name)} there, and {value} was given"
        for name, value in given.items()
        if value is not None and value != own.get(name)
    ]
    if differ:
        raise UsageError(
            f"{folder} is another composition: {'; '.join(differ)}. Leave these out: a training "
            "that starts from a run takes its composition."
        )
    return model.model_copy(update={"tasks": tasks or model.tasks})


def weights_of(init: Path) -> str:
    """Where a run's backbone has its weights from: `none` if it is as random as it was built."""
    run = RunConfig.read(_first_run(init) / checkpoint.CONFIG)
    learned = run.trained_on is not None or (run.train and run.train.trainable != "head")
    return "run" if learned else run.model.weights.source


def _first_run(init: Path) -> Path:
    """The run that tells of all that lie in a folder: its own, or the first one."""
    inside = sorted(init.glob(f"*/{checkpoint.CONFIG}"))
    whole = not inside or (init / checkpoint.CONFIG).is_file()
    return find_run(init, {}) if whole else inside[0].parent


def inherit(init: Path, prepared: Prepared, tell: Tell) -> Prepared:
    """The data with what the run has seen written into their plan, so that no score forgets it.

    Raises:
        UsageError: if the run has seen what is to be tested on.
    """
    run = RunConfig.read(init / checkpoint.CONFIG)
    if run.train is None:
        return prepared
    try:
        split, digest = read_split(init / checkpoint.SPLIT)
    except (OSError, ValueError, KeyError, csv.Error):
        split, digest = [], ""
    if digest != run.split_sha256:
        raise UsageError(
            f"{init / checkpoint.SPLIT} is missing or damaged, so nobody knows which photographs "
            "the run has seen, and nothing can start from it."
        )
    seen = {row["sha256"] for row in split if row["role"] != "test"}
    rows, plan = prepared.rows, prepared.plan
    # A group is known by its bytes alone: its name may be another one's in other data.
    groups = {rows.groups[row] for row, digest in enumerate(rows.hashes) if digest in seen}
    met = [row for row in plan.test if rows.groups[row] in groups]
    if met and not plan.leaky:
        counts = count(rows, met)
        raise UsageError(
            f"{init} was trained or chosen on the photographs of {counts['files']} of the "
            f"{len(plan.test)} files that {plan.protocol} tests on, so a score of what starts "
            "from it would say nothing. Take the protocol, the fold and the --seed of that run, "
            "other images, or --protocol external."
        )
    if met := [row for row in plan.validation if rows.groups[row] in groups]:
        tell(f"WARNING: {init} has seen {len(met)} of {len(plan.validation)} validation files")
    return replace(prepared, plan=replace(plan, inherited=tuple(sorted(seen))))


def start_from(init: Path, config: ModelConfig, seed: int, tell: Tell) -> FusedClassifier:
    """A new model of a run's composition with its weights; classes that it lacks start at random.

    Args:
        seed: of what starts at random.

    Raises:
        UsageError, WbczooError: as `load_model` does.
    """
    _, trained = checkpoint.load_model(init)
    origin = WeightsOrigin(
        source="run",
        sha256=files.sha256_of(init / checkpoint.MODEL),
        description=f"{trained.config.name}, trained for {_names(trained.config.tasks)}",
    )
    model = rebuild(config.model_copy(update={"weights": origin}), seed=seed)
    state = model.state_dict()
    state.update(
        {
            name: tensor
            for name, tensor in trained.state_dict().items()
            if name.startswith(("backbone.", "sequence."))
        }
    )
    model.load_state_dict(state)
    for task in config.tasks:
        _copy_head(task, model, trained, tell)
    return model


def _copy_head(task: Task, model: FusedClassifier, trained: FusedClassifier, tell: Tell) -> None:
    """Copy what one head of the run knows of a task's classes: the head of its name, if any."""

    def alike(other: Task) -> tuple[bool, int]:
        shared = len(set(task.classes) & set(other.classes))
        return shared > 0 and other.name == task.name, shared

    best = max(trained.config.tasks, key=alike)
    known = [name for name in task.classes if name in best.classes]
    here, there = model.heads[f"{task.name}_head"], trained.heads[f"{best.name}_head"]
    with torch.no_grad():
        for name in known:
            one, other = task.classes.index(name), best.classes.index(name)
            for parameter in ("weight", "bias"):
                getattr(here, parameter)[one] = getattr(there, parameter)[other]
    new = [name for name in task.classes if name not in known]
    told = f"from the run's {best.name} come {', '.join(known)}" if known else "none is the run's"
    tell(f"classes of {task.name}: {told}" + (f"; {', '.join(new)} start anew" if new else ""))


def _names(tasks: Sequence[Task]) -> str:
    return " and ".join(task.name for task in tasks)

"""Test photographs are chosen, guarded, answered and measured here, with intervals by group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wbczoo.config import ModelConfig, TrainConfig
from wbczoo.data.cache import PixelCache
from wbczoo.data.external import external_plan, shared_classes
from wbczoo.data.plan import Plan, digest_of
from wbczoo.data.prepared import count, fill
from wbczoo.data.samples import Rows
from wbczoo.data.splits import plan_split
from wbczoo.errors import UsageError, WbczooError
from wbczoo.evaluation.answer import Predict, Probabilities
from wbczoo.evaluation.laboratories import by_laboratory
from wbczoo.evaluation.leakage import Seen, draw_again, refuse_adapted, refuse_seen
from wbczoo.evaluation.novelty import describe_novelty, unknown_rows
from wbczoo.evaluation.sets import describe_sets
from wbczoo.metrics import measure, measure_contradictions, restrict
from wbczoo.metrics.intervals import METHOD
from wbczoo.progress import Tell
from wbczoo.runtime.model_file import NOVELTY
from wbczoo.runtime.sets import Sets
from wbczoo.tasks import NUCLEUS_OF, Task

# What stands beside every number of a data set whose files' origin nobody knows.
BY_FILE = "by file; no bound on generalisation"


@dataclass(frozen=True)
class Scored:
    """The test rows that were answered, and the answers.

    `checked` says whether the rows could be held against what the model has seen: a lone export
    that is asked about other data than its own does not know. `unknown` are rows of classes that
    the model has not, and their answers; of a model without novelty none. `sets` is what the
    model promises of each class, if anything.
    """

    rows: Rows
    plan: Plan
    chosen: tuple[int, ...]
    probabilities: Probabilities
    checked: bool = True
    unknown: tuple[tuple[int, ...], Probabilities] = ((), {})
    sets: Sets | None = None


def asked_of(
    trained: TrainConfig | None, dataset: TrainConfig, given: Mapping[str, object]
) -> TrainConfig:
    """The config whose test rows are asked for: the run's own, less what the user changed."""
    base = trained or dataset
    changes = {key: value for key, value in given.items() if value is not None}
    data = {"dataset": dataset.dataset, "datasets": dataset.datasets}
    return base.model_copy(update={**changes, **data})


def tested_laboratories(
    trained: TrainConfig | None, asked: TrainConfig, rows: Rows, *, own: bool
) -> set[str] | None:
    """Which laboratories the protocol `laboratory` tests: those that were not learned from.

    Args:
        own: only the one that was held out, where each was in turn.

    Returns:
        None under other protocols, which choose by rows.

    Raises:
        UsageError: if there is none.
    """
    if asked.protocol != "laboratory":
        return None
    here, learned = set(rows.laboratories), set(trained.parts) if trained else set()
    out = {trained.hold_out} if trained and trained.hold_out else set()
    found = here & out if own else here - (learned - out)
    if not found:
        raise UsageError(
            f"The model learned from {', '.join(sorted(learned - out))}, and what was given is of "
            f"{', '.join(sorted(here))}: `laboratory` tests on one that it has not seen. Name its "
            "data by --data NAME=PATH."
        )
    return found


def score(
    model: ModelConfig,
    trained: TrainConfig | None,
    asked: TrainConfig,
    rows: Rows,
    seen: Seen | None,
    split_sha256: str,
    predict: Predict,
    tell: Tell,
    laboratories: Collection[str] | None = None,
    reviewed: frozenset[str] = frozenset(),
) -> Scored:
    """Answer the test rows of a protocol, if the model has not seen them.

    Args:
        trained: how the model was trained; None if it was not.
        asked: whose protocol, part and fold name the test rows.
        seen: the run's own split, or None to draw it again from `trained`.
        split_sha256: of the split that the model was trained on, to know it again.
        predict: gives the probabilities of rows of the cache.
        laboratories: which of them the protocol `laboratory` tests; None: all that there are.
        reviewed: content hashes of what the model was adapted to.

    Raises:
        WbczooError: if a test row's photograph was trained or validated on, with how many; or
            if nothing is left to score.
        UsageError: if the data or the protocol do not fit the model.
    """
    if asked.protocol in ("external", "laboratory"):
        plan = external_plan(rows, model.tasks, protocol=asked.protocol, laboratories=laboratories)
        if seen is None:
            seen = draw_again(rows, model, trained, split_sha256)
    else:
        named = [", ".join(each.parts) for each in (trained or asked, asked)]
        if named[0] != named[1]:
            own = (trained or asked).parts
            same = f"it is the same, name it: --dataset {named[0]}"
            if len(own) > 1:
                each = " ".join(f"--data {name}=PATH" for name in own)
                same = f"these are among them, say where each lies that is given: {each}"
            raise UsageError(
                f"The model was trained on the data set{'s' * (len(own) > 1)} {named[0]!r}, and "
                f"this is read as {named[1]!r}. To test the model on another: --protocol external. "
                f"If {same}."
            )
        plan = plan_split(rows, model.tasks, asked)
        if digest_of(rows, plan) == split_sha256:
            # The run's own split: disjoint by construction, or LEAKY by its name.
            seen = Seen.nothing()
        elif seen is None:
            seen = draw_again(rows, model, trained, split_sha256)
            if seen is None:
                raise WbczooError(
                    f"{rows.source.root} is not the data that the model was trained on, so nobody "
                    "can tell which photographs it has seen. Evaluate the run itself, or say "
                    "--protocol external."
                )
    if not plan.test:
        raise WbczooError(f"{rows.source.root}: the protocol {asked.protocol!r} tests nothing.")
    refuse_adapted(rows, plan, reviewed)
    if seen is not None:
        refuse_seen(rows, plan, seen)
    cache = PixelCache(model.preprocessing)

    def answer(wanted: tuple[int, ...]) -> tuple[tuple[int, ...], Probabilities]:
        nonlocal rows
        refused = fill(cache, rows, wanted, tell)
        rows = rows.keep(lambda row: True, refused)
        chosen = tuple(row for row in wanted if rows.samples[row].path not in refused)
        places = cache.rows([rows.hashes[row] for row in chosen])
        return chosen, predict(cache, places) if chosen else {}

    chosen, probabilities = answer(plan.test)
    if not chosen:
        raise WbczooError(f"{rows.source.root}: every image to test on was refused.")
    unknown: tuple[tuple[int, ...], Probabilities] = ((), {})
    if NOVELTY in probabilities:
        unknown = answer(unknown_rows(rows, plan, model.tasks))
    return Scored(rows, plan, chosen, probabilities, seen is not None, unknown)


def report(
    name: str,
    tasks: Sequence[Task],
    scored: Scored | Sequence[Scored],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """The evaluation document: every number with its protocol, its counts and its interval.

    Args:
        name: the composition's.
        scored: one test set, or the folds of one `grouped` split, which are pooled.
        resamples, seed: of the bootstrap over groups.
    """
    folds = [scored] if isinstance(scored, Scored) else list(scored)
    first = folds[0]
    rows = first.rows
    chosen = [row for fold in folds for row in fold.chosen]
    groups = [rows.groups[row] for row in chosen]
    strata = [rows.strata[row] for row in chosen]
    targets = {name: values[chosen] for name, values in rows.targets(tasks).items()}
    probabilities = {
        task.name: np.concatenate([fold.probabilities[task.name] for fold in folds])
        for task in tasks
    }
    counts = count(rows, chosen)
    unknown = rows.unit == "unknown"
    document: dict[str, Any] = {
        "name": name,
        "dataset": rows.dataset,
        "protocol": first.plan.protocol,
        "part": first.plan.part,
        "fold": first.plan.fold if len(folds) == 1 else "all",
        "unit": rows.unit,
        "photographs": counts["photographs"],
        "files": counts["files"],
        "groups": counts["groups"],
        "leaky": any(fold.plan.leaky for fold in folds),
        "checked_against_training": all(fold.checked for fold in folds),
        "leaked_files": sum(fold.plan.leaked for fold in folds),
        "interval": f"{BY_FILE}; {METHOD}" if unknown else METHOD,
        "refused": dict(rows.refused),
        "left_out": {
            task.name: left for task in tasks if (left := _left_out(rows, first.plan, task))
        },
        "tasks": {},
    }
    settings: dict[str, Any] = {"resamples": resamples, "seed": seed}
    for task in tasks:
        known = np.flatnonzero(targets[task.name] >= 0)
        if len(known) == 0:
            continue
        document["tasks"][task.name] = measure(
            task, targets[task.name], probabilities[task.name], groups, strata, **settings
        )
        if first.plan.protocol == "external":
            shared = shared_classes(task, rows)
            document["tasks"][task.name]["shared_classes"] = over_shared(
                task, shared, targets[task.name], probabilities[task.name], groups, strata, settings
            )
    if first.plan.protocol == "laboratory" or len({rows.laboratories[row] for row in chosen}) > 1:
        document |= by_laboratory(rows, chosen, tasks, probabilities, settings)
    if all(NOVELTY in fold.probabilities for fold in folds):
        document[NOVELTY] = describe_novelty(rows, tasks, _novelties(folds), settings)
    sets = [(fold.sets, fold.chosen, fold.probabilities) for fold in folds if fold.sets]
    if len(sets) == len(folds):
        document["sets"] = describe_sets(rows, tasks, sets, settings)
    cell = next((task for task in tasks if set(task.classes) & set(NUCLEUS_OF)), None)
    nucleus = next((task for task in tasks if set(task.classes) & set(NUCLEUS_OF.values())), None)
    if cell and nucleus:
        document["contradictions"] = measure_contradictions(
            cell,
            nucleus,
            NUCLEUS_OF,
            probabilities[cell.name],
            probabilities[nucleus.name],
            groups,
            strata,
            **settings,
        )
    return document


def _novelties(folds: Sequence[Scored]) -> Iterator[tuple[Sequence[int], NDArray[np.float32]]]:
    asked = Counter(row for fold in folds for row in fold.unknown[0])
    turns = Counter[int]()
    for fold in folds:
        yield fold.chosen, fold.probabilities[NOVELTY]
        unknown, answers = fold.unknown
        # Of several folds that were asked about one row, one answers for all.
        mine = [at for at, row in enumerate(unknown) if turns[row] == row % asked[row]]
        turns.update(unknown)
        if mine:
            yield [unknown[at] for at in mine], answers[NOVELTY][mine]


def _left_out(rows: Rows, plan: Plan, task: Task) -> dict[str, int]:
    """How many files of each raw label a task leaves out of what the protocol could test."""
    published = plan.protocol == "official"
    return dict(
        Counter(
            sample.label
            for row, sample in enumerate(rows.samples)
            if sample.part == plan.part
            and (sample.split == "test" or not published)
            and rows.class_of(task, row) is None
        )
    )


def over_shared(
    task: Task,
    shared: tuple[str, ...],
    targets: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    groups: Sequence[str],
    strata: Sequence[str],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    if shared == task.classes:
        return {"classes": list(shared), "note": "all classes are shared; the figures are above"}
    kept = [task.classes.index(name) for name in shared]
    place = {old: new for new, old in enumerate(kept)}
    narrowed = np.array([place.get(int(target), -1) for target in targets], np.int64)
    return measure(
        Task(task.name, shared), narrowed, restrict(probabilities, kept), groups, strata, **settings
    )

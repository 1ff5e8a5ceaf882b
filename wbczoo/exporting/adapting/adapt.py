"""`adapt` end to end: labelled cells are read and answered, heads refitted, an export written."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from wbczoo import __version__, files, progress
from wbczoo.config import Part, TrainConfig
from wbczoo.data.cache import PixelCache
from wbczoo.data.choice import Data, choose_data
from wbczoo.data.external import external_plan
from wbczoo.data.prepared import count, fill, read_dataset
from wbczoo.data.samples import Rows
from wbczoo.errors import UsageError, WbczooError
from wbczoo.evaluation.leakage import draw_again, refuse_seen
from wbczoo.evaluation.score import BY_FILE
from wbczoo.exporting import place
from wbczoo.exporting.adapting.answered import answer_cells
from wbczoo.exporting.adapting.graph import (
    Adaptable,
    read_adaptable,
    write_adapted,
    write_metadata,
)
from wbczoo.exporting.adapting.measured import compare
from wbczoo.exporting.adapting.refit import FOLDS, Cells, Refit, cross_fit, refit
from wbczoo.exporting.card_page import to_markdown
from wbczoo.exporting.speed import measure_speed
from wbczoo.metrics.intervals import METHOD
from wbczoo.progress import Tell
from wbczoo.registry import datasets
from wbczoo.runtime.card import Card
from wbczoo.runtime.flags import LIMIT, Limits
from wbczoo.runtime.folder import EXAMPLE, find_model, folder_of
from wbczoo.runtime.model_file import INPUT
from wbczoo.runtime.named import resolve
from wbczoo.runtime.session import Session
from wbczoo.runtime.sets import Sets, fit_sets
from wbczoo.runtime.verification import verify
from wbczoo.tasks import Task

# Of groups, below which a fold holds too little to choose or to measure by.
FEWEST = 4 * FOLDS


def adapt(
    model: str | os.PathLike[str],
    data: Data,
    *,
    out: str | os.PathLike[str],
    dataset: str | Part | None = None,
    dataset_options: Mapping[str, object] | None = None,
    limit: int | None = None,
    seed: int = 0,
    resamples: int = 2000,
    overwrite: bool = False,
    tell: Tell = progress.tell,
) -> dict[str, Any]:
    """Refit an export's heads, temperatures and limits to labelled cells of one's own laboratory.

    The backbone stays as it is. Before and after are measured on these cells in five folds by
    group, with every choice made on the other folds, and stand on the new export's card.

    Args:
        model: an export with its card and example, as `wbczoo.load` takes it.
        data: the labelled cells, as `wbczoo.evaluate` takes them.
        out: a new folder; an earlier export is replaced if `overwrite`.
        dataset, dataset_options: what `data` is; folders of classes if None.
        limit: adapt to at most so many cells, drawn by group, and measure the others as well.
        seed: of that draw.
        resamples: of the bootstrap.

    Returns:
        what `card.json` holds; `adaptation` is what was adapted to, and before and after.

    Raises:
        UsageError: if the cells are too few, share fewer than two classes with the model or are
            what the model learned from, or if it was adapted before.
        WbczooError: if the model is damaged, or its graph has no heads that can be told.
    """
    out, path = Path(out).resolve(), find_model(resolve(model))
    place.claim(out, overwrite)
    session, card, images = _open(path)
    parts, places = choose_data(data, dataset or "folder", dataset_options)
    rows = read_dataset(TrainConfig(**parts), places, tell)
    wanted = _labelled(rows, session)
    cache = PixelCache(session.preprocessing)
    refused = fill(cache, rows, wanted, tell)
    wanted = [row for row in wanted if rows.samples[row].path not in refused]
    chosen = _draw(rows, wanted, limit, seed)
    _refuse_few(rows, wanted, chosen)
    given = read_adaptable(session.file, images)
    cells, temperatures = answer_cells(given, session, cache, rows, wanted)
    strata = [rows.strata[row] for row in wanted]
    here = np.isin(wanted, chosen)
    ours, others = np.flatnonzero(here), np.flatnonzero(~here)
    _warn_of_rare(rows, chosen, session, tell)
    tell(f"refitting the heads to {len(ours)} cells, in {FOLDS} folds and once for all")
    mine = [strata[row] for row in ours]
    crossed = compare(
        cells.take(ours), mine, session.tasks, cross_fit(cells.take(ours), mine), resamples
    )
    found, rest = refit(cells.take(ours)), None
    if len(others):
        all_others = [(np.arange(len(others)), found)]
        theirs = [strata[row] for row in others]
        rest = compare(cells.take(others), theirs, session.tasks, all_others, resamples)
    adaptation = {
        "of": {"name": card["name"], "weights_sha256": session.weights_sha256},
        "date": datetime.now(UTC).date().isoformat(),
        "dataset": rows.dataset,
        "unit": rows.unit,
        **count(rows, chosen),
        "classes": _count_classes(rows, chosen, session),
        "penalties": {
            task: each.penalty if math.isfinite(each.penalty) else None
            for task, each in found.corrections.items()
        },
        "novelty": {"slope": found.slope, "offset": found.offset},
        "positions": [[*size] for size in given.positions],
        "interval": f"{BY_FILE}; {METHOD}" if rows.unit == "unknown" else METHOD,
        "crossed": crossed,
        "rest": rest,
    }
    hashes = sorted({rows.hashes[row] for row in chosen})
    with place.put_in_place(out, beside=out) as aside:
        graph = aside / path.name
        promised = _promise(session.tasks, found, cells.take(ours))
        document = _write(
            given, session, card, images, found, promised, temperatures, adaptation, hashes, graph
        )
        licences = {f"data set {p.name}": datasets.spec(p.selector).licence or "not stated"
                    for p in TrainConfig(**parts).parts.values()}  # fmt: skip
        document["licences"] = {**document["licences"], **licences}
        files.write_json(aside / "card.json", document)
        files.write_text(aside / "card.md", to_markdown(document))
    return document


def _open(path: Path) -> tuple[Session, dict[str, Any], Any]:
    """A whole export that answers as it did: its session, its card, its example's images."""
    card = Card.beside(path)
    if card is None or path.parent != folder_of(path):
        raise UsageError(
            f"{path} has no card beside it. Give an export's whole folder; of a model in a Triton "
            "repository, the export that it was made from."
        )
    replayed = verify(path, device="cpu")
    if not replayed.ok:
        raise WbczooError(f"{path} cannot be adapted. {' '.join(replayed.problems)}")
    session = Session(path, device="cpu")
    if session.file.reviewed:
        raise UsageError(
            f"{path} was adapted before. Adapt the model that it was made from, with all cells "
            "that are labelled by now."
        )
    if session.file.embedded and session.file.size not in (None, session.preprocessing.size):
        raise UsageError(
            f"{path} reads images as they come from its camera, which the pixel cache does not "
            "hold. Adapt an export without --embed-preprocess."
        )
    with np.load(folder_of(path) / EXAMPLE, allow_pickle=False) as arrays:
        return session, dict(card.document), arrays[INPUT]


def _labelled(rows: Rows, session: Session) -> list[int]:
    """The rows of classes that the model has, none of which it learned from."""
    plan = external_plan(rows, session.tasks)
    config = session.config
    seen = draw_again(rows, config.model, config.train, config.split_sha256)
    if seen is not None:
        refuse_seen(rows, plan, seen)
    return [*plan.test]


def _refuse_few(rows: Rows, wanted: Sequence[int], chosen: Sequence[int]) -> None:
    groups, whole = (len({rows.groups[row] for row in each}) for each in (chosen, wanted))
    if groups >= FEWEST:
        return
    more = "Label more." if whole < FEWEST else "Give a larger --limit."
    raise UsageError(
        f"{rows.source.root} gives {len(chosen)} labelled cells of {groups} groups that must stay "
        f"together, and at least {FEWEST} groups are needed. {more}"
    )


def _warn_of_rare(rows: Rows, chosen: Sequence[int], session: Session, tell: Tell) -> None:
    """Say which classes of the model have hardly a group, or none."""
    for task in session.tasks:
        groups: dict[str, set[str]] = {}
        for row in chosen:
            if name := rows.class_of(task, row):
                groups.setdefault(name, set()).add(rows.groups[row])
        counts = {name: len(groups.get(name, ())) for name in task.classes}
        if rare := [f"{name} ({n})" for name, n in counts.items() if 0 < n < FOLDS]:
            tell(
                f"WARNING: {task.name}: few groups of {', '.join(rare)}: they are hardly learned, "
                "and their figures tell little. Label more of them."
            )
        missing = [name for name in task.classes if name not in groups]
        if groups and missing:
            tell(f"{task.name}: no cell of {', '.join(missing)}, so they keep what the model gives")


def _draw(rows: Rows, wanted: Sequence[int], limit: int | None, seed: int) -> list[int]:
    """All rows, or whole groups of them up to a limit, in an order that the seed decides."""
    if limit is None or len(wanted) <= limit:
        return [*wanted]
    members: dict[str, list[int]] = {}
    for row in wanted:
        members.setdefault(rows.groups[row], []).append(row)
    drawn = sorted(members, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    chosen: list[int] = []
    for name in drawn:
        if len(chosen) + len(members[name]) <= limit:
            chosen += members[name]
    return sorted(chosen)


def _promise(tasks: Sequence[Task], found: Refit, cells: Cells) -> Sets:
    """The sets of this laboratory, by what was told of each cell without it."""
    told = {t: each.crossed for t, each in found.corrections.items() if each.crossed is not None}
    asked = [task for task in tasks if task.name in told]
    return fit_sets(asked, told, cells.targets, [*cells.groups])


def _count_classes(
    rows: Rows, chosen: Sequence[int], session: Session
) -> dict[str, dict[str, int]]:
    counted = {}
    for task in session.tasks:
        found = Counter(rows.class_of(task, row) for row in chosen)
        counted[task.name] = {name: found[name] for name in task.classes}
    return counted


def _write(
    given: Adaptable, session: Session, card: Mapping[str, Any], images: Any, found: Refit,
    promised: Sets, temperatures: Mapping[str, float], adaptation: dict[str, Any],
    hashes: list[str], graph: Path,
) -> dict[str, Any]:  # fmt: skip
    """Write the graph and its example; what the card then holds, but for licences."""
    corrections = found.corrections
    limited = (session.limits or Limits()).unsure_below
    unsure = {
        task: each.unsure_below if each.unsure_below is not None else limited[task]
        for task, each in corrections.items()
        if each.unsure_below is not None or task in limited
    }
    limits = Limits(LIMIT if session.file.has_novelty else None, unsure)
    whole = hashlib.sha256(session.weights_sha256.encode())
    for each in corrections.values():
        whole.update(each.weights.astype(np.float32).tobytes() + each.bias.tobytes())
    told = {
        "wbczoo.weights_sha256": whole.hexdigest(),
        "wbczoo.limits": write_metadata(limits.to_dict()),
        "wbczoo.sets": write_metadata(promised.to_dict()),
        "wbczoo.reviewed": write_metadata(hashes),
        "wbczoo.adapted": write_metadata(adaptation),
    }
    maps = write_adapted(given, found, temperatures, told, images, graph)
    adapted = Session(graph, device="cpu")
    arrays: dict[str, Any] = {INPUT: images, **adapted.run(images)}
    np.savez_compressed(graph.parent / EXAMPLE, **arrays)
    return {
        **card,
        **({"maps": maps} if maps else {}),
        "temperatures": {task: each.temperature for task, each in corrections.items()},
        "limits": {
            **limits.to_dict(), "groups": adaptation["groups"], "files": adaptation["files"],
        },
        "sets": promised.to_dict(),
        "evaluations": [],
        "adaptation": adaptation,
        "speed": measure_speed(adapted, images),
        "weights_sha256": whole.hexdigest(),
        "files": {name: files.sha256_of(graph.parent / name) for name in (graph.name, EXAMPLE)},
        "bytes": graph.stat().st_size,
        "wbczoo": __version__,
    }  # fmt: skip

"""What models look at is measured: how much of their evidence lies on the cell that was boxed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wbczoo import machine
from wbczoo.bench.evidence import REGIONS, Read, read_field, shares_of, summarise
from wbczoo.bench.fields import Field, read_fields
from wbczoo.errors import ImageRefused, UsageError, WbczooError
from wbczoo.metrics.formulas import Floats
from wbczoo.metrics.intervals import METHOD
from wbczoo.progress import Tell, bar
from wbczoo.runtime.maps import against_the_rest, open_maps, spread
from wbczoo.runtime.named import resolve
from wbczoo.runtime.published import published
from wbczoo.runtime.session import Session

_CELL, _BEYOND = slice(0, 1), slice(1, None)


def bench_maps(
    data: Mapping[str, Path],
    models: Sequence[str | Path] = (),
    *,
    limit: int | None = None,
    oracles: bool = True,
    resamples: int = 2000,
    tell: Tell = print,
) -> dict[str, Any]:
    """Measure where models' evidence lies, on fields whose one white cell somebody boxed.

    Evidence is what positions add to the answered class's logit above the mean of its task; of
    it the positive part is shared out. Of a data set that publishes a split the test is taken.

    Args:
        data: data set -> its path.
        models: exports, or names of published ones; all published ones, but for ensembles, if
            none is named.
        limit: fields of each data set at most, evenly over it.
        oracles: compare the first task with Grad-CAM and occlusion, which captum computes.
        resamples: of the bootstrap.

    Returns:
        `models`: rows of `model`, `data`, `task`, `images`, `groups`, `elsewhere` (fields whose
        crop shows another place), `positions`; `shares` and `areas` of the evidence and of the
        image in each of `REGIONS`; `kept`, the share of answers that stay without what is beyond
        the box and without the cell; `classes`, the share on the cell by the class that was
        answered, and `answered`, how often that was; and of the `first` task `oracles`: the
        largest difference from Grad-CAM as a share of an image's largest value, the correlation
        with occlusion over positions, and occlusion's own share on the cell.
        `interval`, and the machine.

    Raises:
        UsageError: if no data set is named, one is not there, captum is missing, or a model has
            no positions.
        WbczooError: if a data set knows no box.
    """
    if not data:
        raise UsageError("Name at least one data set that knows its boxes: --data DATASET=PATH.")
    if oracles:
        from wbczoo.bench.oracles import check_captum

        check_captum()
    named = models or published().names
    sessions = {str(model): Session(resolve(model), device="cpu") for model in named}
    if not models:  # the members of an ensemble have maps each of their own
        sessions = {name: one for name, one in sessions.items() if not one.file.ensemble}
    for session in sessions.values():
        if session.file.embedded:
            raise UsageError(
                f"{session.path} resizes by itself; give the export without --embed-preprocess."
            )
        session.run(np.zeros((1, 3, *session.preprocessing.size), np.uint8), maps=True)
    rows: list[dict[str, Any]] = []
    for name, path in data.items():
        fields = _chosen(read_fields(name, path).boxed, limit)
        for model, session in sessions.items():
            tell(f"asking {model} about {len(fields)} fields of {name}")
            reads, elsewhere = _read(session, fields)
            if not reads:
                raise WbczooError(f"No cell of {name} that is boxed is one that {model} reads.")
            told = {"model": model, "data": name, "elsewhere": elsewhere}
            rows += [
                {**told, **_measure(session, task, reads, oracles and task == 0, resamples)}
                for task in range(len(session.tasks))
            ]
    return {"interval": METHOD, "models": rows, **machine.describe()}


def _chosen(fields: Sequence[Field], limit: int | None) -> list[Field]:
    single = [field for field in fields if len(field.boxes) == 1]
    tested = [field for field in single if field.split == "test"] or single
    if limit is None or limit >= len(tested):
        return tested
    return [tested[place] for place in np.linspace(0, len(tested) - 1, limit).astype(int)]


def _read(session: Session, fields: Sequence[Field]) -> tuple[list[Read], int]:
    reads, elsewhere = [], 0
    with bar(len(fields), "fields", unit="image") as advance:
        for field in fields:
            try:
                read = read_field(session.file, field)
            except ImageRefused:
                continue
            finally:
                advance(1)
            if read is None:
                elsewhere += 1
            else:
                reads.append(read)
    return reads, elsewhere


def _measure(
    session: Session, place: int, reads: Sequence[Read], oracles: bool, resamples: int
) -> dict[str, Any]:
    """What is found of one task of a model."""
    task = session.tasks[place]
    answers, evidence = [], []
    for read in reads:
        found = session.run(read.pixels[None], maps=True)
        best = int(found[f"{task.name}_logits"][0].argmax())
        answers.append(best)
        evidence.append(against_the_rest(found[f"{task.name}_map"][0].astype(np.float64))[best])
    shares = np.array([shares_of(e, read) for e, read in zip(evidence, reads, strict=True)])
    areas = np.array([read.regions.mean((1, 2)) for read in reads])
    values = {f"share {name}": shares[:, at] for at, name in enumerate(REGIONS)}
    values |= {f"area {name}": areas[:, at] for at, name in enumerate(REGIONS)}
    for name, region in (("without the rest", _BEYOND), ("without the cell", _CELL)):
        again = [
            int(session.run(read.without(region)[None])[f"{task.name}_logits"][0].argmax())
            for read in reads
        ]
        values[f"kept {name}"] = np.equal(again, answers).astype(float)
    for number, name in enumerate(task.classes):
        if number in answers:
            of_class = np.equal(answers, number)
            values[f"class {name}"] = np.where(of_class, shares[:, 0], np.nan)
    agreement: dict[str, Any] | None = None
    if oracles:
        agreement, occluded = _compare(session, task.name, reads, answers, evidence)
        values["occlusion"] = occluded
    figures = summarise(reads, values, resamples=resamples)

    def those(kind: str) -> dict[str, Any]:
        start = f"{kind} "
        return {
            name.removeprefix(start): each
            for name, each in figures.items()
            if name.startswith(start)
        }

    if agreement is not None:
        agreement["occlusion_share"] = figures["occlusion"]
    return {
        "task": task.name,
        "first": place == 0,
        "images": len(reads),
        "groups": len({read.field.group for read in reads}),
        "positions": list(evidence[0].shape),
        "shares": those("share"),
        "areas": those("area"),
        "kept": those("kept"),
        "classes": those("class"),
        "answered": {name: answers.count(number) for number, name in enumerate(task.classes)},
        "oracles": agreement,
    }


def _compare(
    session: Session,
    task: str,
    reads: Sequence[Read],
    answers: Sequence[int],
    evidence: Sequence[Any],
) -> tuple[dict[str, Any], Floats]:
    """How far the maps are what Grad-CAM and occlusion say, and occlusion's share on each cell."""
    from wbczoo.bench.oracles import grad_cam, occlusion

    network = open_maps(session.file, session.provider, None)
    gaps, likeness, shares = [], [], []
    for read, best, found in zip(reads, answers, evidence, strict=True):
        pixels = read.pixels[None]
        if len(network.heads[task].maps) == 1:
            other = grad_cam(network, task, pixels, best)
            gaps.append(float(np.abs(other - found).max() / np.abs(found).max()))
        fall = occlusion(session, task, pixels, best)
        laid = spread(fall, (found.shape[0], found.shape[1]))
        likeness.append(float(np.corrcoef(laid.ravel(), found.ravel())[0, 1]))
        shares.append(shares_of(fall, read)[0])
    return {
        "grad_cam_difference": max(gaps) if gaps else None,
        "occlusion_correlation": float(np.nanmean(likeness)),
    }, np.array(shares)

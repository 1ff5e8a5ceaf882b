"""Rows, their split and their pixels, made ready together for training and evaluation."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wbczoo import progress
from wbczoo.config import Part, TrainConfig
from wbczoo.data.cache import PixelCache
from wbczoo.data.choice import Places, choose_dataset
from wbczoo.data.classes import count_classes, describe_labels, refuse_one_class, tell_lacking
from wbczoo.data.plan import Plan, Role, digest_of
from wbczoo.data.samples import Rows, join, read_rows
from wbczoo.data.splits import plan_split
from wbczoo.errors import UsageError, WbczooError, some
from wbczoo.images.walk import describe_passed_over
from wbczoo.progress import Tell, bar
from wbczoo.registry import datasets
from wbczoo.specs import Preprocessing
from wbczoo.tasks import Task
from wbczoo.text import format_sources

if TYPE_CHECKING:
    import torch

    from wbczoo.data.batches import Batches


def prepare_data(
    data: str | os.PathLike[str],
    *,
    dataset: str | Part = "folder",
    dataset_options: Mapping[str, object] | None = None,
    image_size: int = 224,
    tell: Tell = progress.tell,
    **drawn: int | str,
) -> dict[str, Any]:
    """Decode every image once into the pixel cache; a data set that can draw itself does so first.

    Args:
        data: the data set's folder or archive; one that is drawn is not there yet.
        dataset, dataset_options: as `choose_dataset` takes them.
        image_size: height and width in pixels.
        drawn: of a data set that draws itself: `photographs`, `views`, `seed`,
            `cells_per_field` and `magnification`.

    Returns:
        `cached`, how many images; `refused`, a reason for each file that is none; `cache`, where.

    Raises:
        UsageError: for `drawn` of a data set that is there, that does not draw itself, or not so.
    """
    root = Path(data)
    part = choose_dataset(dataset, dataset_options)
    spec = datasets.spec(part.selector)
    if spec.prepare is not None and not root.exists():
        _refuse_strange(part.name, spec.prepare, drawn)
        tell(f"making {root}")
        spec.prepare(root, **drawn)
    elif drawn:
        flag = f"--{next(iter(drawn))}".replace("_", "-")
        raise UsageError(
            f"{flag} is for a new data set that draws itself; {root} is there."
            if root.exists()
            else f"The data set {part.name!r} is not drawn; leave out {flag}."
        )
    rows = read_dataset(TrainConfig(dataset=part), root, tell)
    cache = PixelCache(Preprocessing(size=(image_size, image_size)))
    refused = {**rows.refused, **fill(cache, rows, range(len(rows)), tell)}
    cached = len(rows.samples) + len(rows.refused) - len(refused)
    return {"cached": cached, "refused": refused, "cache": str(cache.folder)}


_DRAWN = ("photographs", "views", "seed", "cells_per_field", "magnification")  # of a command line


def _refuse_strange(dataset: str, prepare: Callable[..., None], drawn: Iterable[str]) -> None:
    _, *taken = inspect.signature(prepare).parameters.values()
    if any(each.kind is each.VAR_KEYWORD for each in taken):
        return
    known = [each.name for each in taken if each.name in _DRAWN]
    if strange := [name for name in drawn if name not in known]:
        flag, *flags = (f"--{name}".replace("_", "-") for name in (strange[0], *known))
        raise UsageError(
            f"The data set {dataset!r} is not made by {flag}; "
            + (f"it takes {', '.join(flags)}." if flags else "leave it out.")
        )


@dataclass(frozen=True)
class Prepared:
    """A split data set whose pixels are cached for the roles that were asked for.

    The plan stays as it was drawn, so that the same data give it again elsewhere. What of it was
    refused stands in `rows.refused`, and in no batch.
    """

    rows: Rows
    plan: Plan
    cache: PixelCache
    tasks: tuple[Task, ...]

    @property
    def digest(self) -> str:
        """Of the split: content, photographs, groups and roles."""
        return digest_of(self.rows, self.plan)

    def used(self, role: Role) -> list[int]:
        """The rows of one role whose images were not refused."""
        return [
            row
            for row in self.plan.rows(role)
            if self.rows.samples[row].path not in self.rows.refused
        ]

    def batches(self, role: Role, tasks: Sequence[Task], device: torch.device) -> Batches:
        """The pixels and targets of one role, for PyTorch."""
        from wbczoo.data.batches import Batches

        chosen = self.used(role)
        targets = {name: values[chosen] for name, values in self.rows.targets(tasks).items()}
        places = self.cache.rows([self.rows.hashes[row] for row in chosen])
        laboratories = [self.rows.laboratories[row] for row in chosen]
        return Batches(self.cache.pixels(), places, targets, device, laboratories)

    def sides(self, device: torch.device) -> tuple[Batches, Batches]:
        """The batches that train, and those that validate; of these there may be none."""
        return (
            self.batches("train", self.tasks, device),
            self.batches("validation", self.tasks, device),
        )

    def caption(self) -> str:
        """The protocol and what it trains and validates on, in a line; LEAKY where it is."""
        told = [f"{self.plan.protocol}{' LEAKY' if self.plan.leaky else ''}"]
        roles: tuple[Role, ...] = ("train", "validation")
        for role in roles:
            counts = count(self.rows, self.plan.rows(role))
            sources = format_sources(counts, self.rows.unit)
            told.append(f"{role} {sources} ({counts['files']} files)")
        return ", ".join(told)

    def describe(self) -> dict[str, Any]:
        """What the data are, by counts, for summaries and cards."""
        roles: tuple[Role, ...] = ("train", "validation", "test")
        return {
            "dataset": self.rows.dataset,
            **self._laboratories(roles),
            "unit": self.rows.unit,
            "part": self.plan.part,
            "fold": self.plan.fold,
            "split_sha256": self.digest,
            **{role: count(self.rows, self.used(role)) for role in roles},
            "classes": count_classes(self.rows, self.plan, self.tasks),
            **describe_labels(self.rows, self.tasks),
            "counts": self.plan.counts,
            "left_out": {
                task.name: left for task in self.tasks if (left := self.rows.left_out(task))
            },
            "refused_images": len(self.rows.refused),
        }

    def _laboratories(self, roles: Sequence[Role]) -> dict[str, Any]:
        """Who was held out, and what each laboratory brings, where there are several."""
        names = self.rows.laboratories
        several = sorted(set(names))
        if len(several) < 2:
            return {}
        of = {
            name: {
                role: count(self.rows, [row for row in self.used(role) if names[row] == name])
                for role in roles
            }
            for name in several
        }
        return {"held_out": self.plan.held_out, "laboratories": of}


def count(rows: Rows, chosen: Sequence[int]) -> dict[str, int | None]:
    """Photographs (None where unknown), files and groups among the chosen rows."""
    return {
        "photographs": rows.count_photographs(chosen),
        "files": len(chosen),
        "groups": len({rows.groups[row] for row in chosen}),
    }


def read_dataset(config: TrainConfig, places: Places, tell: Tell) -> Rows:
    """The rows of the config's data sets; what is odd about their files is told."""
    if isinstance(places, Mapping):
        rows = join(
            {name: _read(part, places[name], tell) for name, part in config.datasets.items()}
        )
    else:
        rows = _read(config.dataset, places, tell)
    if contradictions := rows.contradictions():
        told = [" = ".join(f"{p} ({label})" for p, label in one.items()) for one in contradictions]
        tell(f"equal bytes have different labels: {some(told)}")
    return rows


def _read(part: Part, root: Path, tell: Tell) -> Rows:
    tell(f"reading {root}")
    spec = datasets.spec(part.selector)
    rows = read_rows(spec, root, {**spec.formerly, **part.given})
    for path, reason in rows.refused.items():
        tell(f"refused {path}: {reason}")
    if rows.passed_over:
        tell(describe_passed_over(rows.passed_over))
    return rows


def prepare(
    config: TrainConfig,
    places: Places,
    tasks: Sequence[Task],
    preprocessing: Preprocessing,
    *,
    roles: Sequence[Role] = ("train", "validation"),
    rows: Rows | None = None,
    tell: Tell = print,
) -> Prepared:
    """Read a data set, split it by the config's protocol, and cache the roles' pixels.

    Images that are refused are told, kept in `rows.refused`, and used by no role. Whoever trains
    is warned of each class that a role lacks.

    Raises:
        UsageError, WbczooError: as `read_rows`, `plan_split`, `PixelCache.fill` and
            `refuse_one_class` do.
    """
    rows = rows or read_dataset(config, places, tell)
    plan = plan_split(rows, tasks, config)
    cache = PixelCache(preprocessing)
    chosen = [row for role in roles for row in plan.rows(role)]
    refused = fill(cache, rows, chosen, tell)
    rows = replace(rows, refused={**rows.refused, **refused})
    prepared = Prepared(rows, plan, cache, tuple(tasks))
    if "train" in roles and not prepared.used("train"):
        raise WbczooError(f"{rows.source.root}: every image to train on was refused.")
    if "train" in roles:
        refuse_one_class(rows, plan, tasks)
        tell_lacking(rows, plan, tasks, tell)
    return prepared


def readers(rows: Rows, chosen: Iterable[int]) -> dict[str, Callable[[], bytes]]:
    """Content hash -> what reads the file, of the chosen rows: as caches want it."""

    def reader(path: str) -> Callable[[], bytes]:
        return lambda: rows.source.read(path)

    return {rows.hashes[row]: reader(rows.samples[row].path) for row in chosen}


def fill(cache: PixelCache, rows: Rows, chosen: Sequence[int], tell: Tell) -> dict[str, str]:
    """Cache the pixels of the chosen rows; path -> reason of each that was refused."""

    wanted = readers(rows, chosen)
    with bar(len(wanted), "pixels", unit="image") as advance:
        refused = cache.fill(
            wanted,
            advance=advance,
            waiting=lambda: tell("waiting for another process that fills the pixel cache"),
        )
    paths = {
        rows.samples[row].path: refused[rows.hashes[row]]
        for row in chosen
        if rows.hashes[row] in refused
    }
    for path, reason in paths.items():
        tell(f"refused {path}: {reason}")
    return paths

"""A data set's samples become rows here: hashed by content, grouped, and labelled for tasks."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from wbczoo.errors import WbczooError
from wbczoo.images.file import suffix_of
from wbczoo.images.tables import plain
from wbczoo.images.tree import Tree, Trees
from wbczoo.registry.declared import malformed
from wbczoo.registry.sandbox import explained
from wbczoo.specs import DatasetSpec, Option, Sample, Unit
from wbczoo.tasks import ANY, Task, class_of, fold

Targets = dict[str, NDArray[np.int64]]
Labels = Mapping[str, Mapping[str, str]]

LEFT_OUT = -1

# What makes two files stay together, and its name.
Tie = tuple[int, str]
_PATIENT, _SLIDE, _GROUP, _PHOTOGRAPH, _BYTES = range(5)
_WORDS = {_SLIDE: "slide", _GROUP: "group", _PHOTOGRAPH: "photograph"}


@dataclass(frozen=True)
class Rows:
    """The image files of one data set or of several, in a stable order, all fields aligned.

    Of several, paths, photographs and groups begin with the data set's name and a slash.

    Attributes:
        dataset: its name; of several `a+b`.
        unit: of several the one that bounds least.
        labels: the tables of each row's data set.
        laboratories: whose slide and camera each row is of.
        samples: what the plugins declared.
        hashes: SHA-256 of each file's bytes; empty for a file that could not be read.
        groups: what must stay together: the sample's group or photograph, else its content.
            Files of one photograph or with equal bytes always share one, whatever they are
            called.
        refused: path -> reason, for files that were taken out.
        passed_over: suffix, or kind of link -> how many files at the root are no sample.
    """

    dataset: str
    unit: Unit
    source: Tree | Trees
    labels: tuple[Labels, ...]
    laboratories: tuple[str, ...]
    samples: tuple[Sample, ...]
    hashes: tuple[str, ...]
    groups: tuple[str, ...]
    refused: Mapping[str, str] = field(default_factory=dict)
    passed_over: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def index_of(self) -> dict[str, int]:
        """The first row of each content hash."""
        return {digest: row for row, digest in reversed(list(enumerate(self.hashes)))}

    def label_of(self, task: Task, row: int) -> str:
        """A row's raw label, as a task reads it; "" where there is none."""
        sample = self.samples[row]
        return sample.labels.get(task.name, sample.label)

    def class_of(self, task: Task, row: int) -> str | None:
        """A row's class in a task, or None where the task leaves it out."""
        return class_of(task, self.label_of(task, row), self.labels[row])

    @cached_property
    def strata(self) -> tuple[str, ...]:
        """What each row is drawn among: its label, and its laboratory where there are several."""
        labels = [sample.label for sample in self.samples]
        if len(set(self.laboratories)) < 2:
            return tuple(labels)
        return tuple(map("{}: {}".format, self.laboratories, labels))

    def targets(self, tasks: Sequence[Task]) -> Targets:
        """For each task the class index of each row, -1 where the task leaves the row out."""
        found = {}
        for task in tasks:
            place = {name: number for number, name in enumerate(task.classes)}
            classes = [self.class_of(task, row) for row in range(len(self))]
            found[task.name] = np.array([place.get(c or "", LEFT_OUT) for c in classes], np.int64)
        return found

    def left_out(self, task: Task) -> dict[str, int]:
        """How many rows of each raw label a task leaves out."""
        rows = [row for row in range(len(self)) if self.class_of(task, row) is None]
        return dict(Counter(self.label_of(task, row) for row in rows))

    def files_of(self, task: Task) -> dict[str, dict[str, int]]:
        """For each class of a task the raw labels that are it, and how many rows have them."""
        found: dict[str, Counter[str]] = {name: Counter() for name in task.classes}
        for row in range(len(self)):
            if (name := self.class_of(task, row)) is not None:
                found[name][self.label_of(task, row)] += 1
        return {name: dict(sorted(labels.items())) for name, labels in found.items()}

    def contradictions(self) -> list[dict[str, str]]:
        """Files with equal bytes and different labels: path -> label, for each such content."""

        def meant(row: int) -> str:  # `Eosinophils` and `eos` are one
            label = self.samples[row].label
            return self.labels[row].get(ANY, {}).get(label, fold(label).removesuffix("s"))

        found: dict[str, list[int]] = {}
        for row, (sample, digest) in enumerate(zip(self.samples, self.hashes, strict=True)):
            if sample.label:
                found.setdefault(digest, []).append(row)
        return [
            {self.samples[row].path: self.samples[row].label for row in rows}
            for rows in found.values()
            if len(set(map(meant, rows))) > 1
        ]

    def keep(self, wanted: Callable[[int], bool], refused: Mapping[str, str]) -> Rows:
        """The rows whose number is wanted, with more refusals written down."""
        rows = [row for row in range(len(self)) if wanted(row)]
        return replace(
            self,
            labels=tuple(self.labels[row] for row in rows),
            laboratories=tuple(self.laboratories[row] for row in rows),
            samples=tuple(self.samples[row] for row in rows),
            hashes=tuple(self.hashes[row] for row in rows),
            groups=tuple(self.groups[row] for row in rows),
            refused={**self.refused, **refused},
        )

    def count_photographs(self, rows: Iterable[int]) -> int | None:
        """Distinct photographs among rows; None where the unit is unknown."""
        if self.unit == "unknown":
            return None
        return len({self.samples[row].photograph or self.groups[row] for row in rows})


def read_rows(spec: DatasetSpec, root: Path, options: Mapping[str, Option] | None = None) -> Rows:
    """Read a data set: list its samples, hash every file, and settle the groups.

    Raises:
        UsageError: if `root` is no such data set.
        WbczooError: if it holds no image, or its archive is broken.
    """
    # A plugin knows better what to do where nothing is; where something is, it is checked first.
    source = Tree(root) if root.exists() else None
    with explained(f"The data set {spec.name!r} cannot be listed"):
        listed = spec.samples(root, **(options or {}))
        samples = tuple(_plain(sample, spec.name) for sample in listed)
    source = source or Tree(root)
    if not samples:
        raise WbczooError(f"{root} holds no image of the data set {spec.name!r}.")
    refused: dict[str, str] = {}

    def digest(sample: Sample) -> str:
        try:
            content = source.read(sample.path)
        except WbczooError as error:
            refused[sample.path] = str(error)
            return ""
        if not content:  # as equal bytes, empty files would tie their photographs together
            refused[sample.path] = "The file is empty."
            return ""
        return hashlib.sha256(content).hexdigest()

    with ThreadPoolExecutor() as pool:
        hashes = tuple(pool.map(digest, samples))
    rows = Rows(
        dataset=spec.name,
        unit=_known_unit(samples) if spec.unit == "unknown" else spec.unit,
        source=source,
        labels=(spec.labels,) * len(samples),
        laboratories=tuple(s.laboratory or spec.laboratory or spec.name for s in samples),
        samples=samples,
        hashes=hashes,
        groups=_settle_groups(samples, hashes),
        refused=refused,
        passed_over=_passed_over(source, samples, own_tables=spec.prepare is not None),
    )
    return rows.keep(lambda row: bool(hashes[row]), {}) if refused else rows


def join(several: Mapping[str, Rows]) -> Rows:
    """Several data sets as one; what two of them call alike stays two, and equal bytes one.

    Args:
        several: the name of each in the run -> its rows.
    """
    samples, laboratories, refused = list[Sample](), list[str](), dict[str, str]()
    passed_over = Counter[str]()
    for name, rows in several.items():
        refused |= {f"{name}/{path}": reason for path, reason in rows.refused.items()}
        passed_over.update(rows.passed_over)
        for sample, group in zip(rows.samples, rows.groups, strict=True):
            photograph = sample.photograph and f"{name}/{sample.photograph}"
            path, group = f"{name}/{sample.path}", f"{name}/{group}"
            samples.append(
                replace(
                    sample, path=path, photograph=photograph, group=group, slide=None, patient=None
                )
            )
        laboratories += _laboratories(name, rows)
    found = list(several.values())
    hashes = tuple(itertools.chain.from_iterable(rows.hashes for rows in found))
    return Rows(
        dataset="+".join(several),
        unit=max((rows.unit for rows in found), key=get_args(Unit).index),
        source=Trees({name: rows.source for name, rows in several.items()}),
        labels=tuple(itertools.chain.from_iterable(rows.labels for rows in found)),
        laboratories=tuple(laboratories),
        samples=tuple(samples),
        hashes=hashes,
        groups=_settle_groups(samples, hashes),
        refused=refused,
        passed_over=passed_over,
    )


def _laboratories(name: str, rows: Rows) -> Sequence[str]:
    """The name that a set was given is its laboratory's, unless it has several of its own."""
    if name == rows.dataset or len(set(rows.laboratories)) > 1:
        return rows.laboratories
    return (name,) * len(rows)


def _plain(sample: Sample, dataset: str) -> Sample:
    """A sample whose photograph, group and so on are those of others that only look the same."""
    if reason := malformed(sample):
        raise WbczooError(f"The data set {dataset!r} cannot be listed: {reason} Tell its author.")
    names = ("photograph", "group", "slide", "patient")
    plainly: dict[str, Any] = {name: plain(getattr(sample, name) or "") or None for name in names}
    same = all(plainly[name] == getattr(sample, name) for name in names)
    return sample if same else replace(sample, **plainly)


def _known_unit(samples: Sequence[Sample]) -> Unit:
    """The strongest unit that is known of each file, of those with a label where there are such."""

    def known(sample: Sample) -> Unit:
        if sample.patient is not None:
            return "patient"
        if sample.slide is not None:
            return "slide"
        return "unknown" if sample.photograph is None else "photograph"

    labelled = [s for s in samples if s.label or any(s.labels.values())]
    return max(map(known, labelled or samples), key=get_args(Unit).index)


def _passed_over(tree: Tree, samples: Iterable[Sample], *, own_tables: bool) -> Counter[str]:
    unused = set(tree.names).difference(sample.path for sample in samples)
    if own_tables:  # a set that makes its data made their table too, and reads it
        unused = {name for name in unused if suffix_of(name) != ".csv"}
    return Counter(map(suffix_of, unused)) + tree.links


def _settle_groups(samples: Sequence[Sample], hashes: Sequence[str]) -> tuple[str, ...]:
    """Files of one declared group, one photograph or equal bytes stay together (union-find)."""
    parent: dict[Tie, Tie] = {}

    def root_of(tie: Tie) -> Tie:
        while parent.setdefault(tie, tie) != tie:
            parent[tie] = parent[parent[tie]]
            tie = parent[tie]
        return tie

    ties = [_ties(sample, digest) for sample, digest in zip(samples, hashes, strict=True)]
    for first, *others in ties:
        for other in others:
            mine, theirs = root_of(first), root_of(other)
            parent[max(mine, theirs)] = min(mine, theirs)
    return tuple(_name(root_of(first), parent) for first, *_ in ties)


def _ties(sample: Sample, digest: str) -> list[Tie]:
    """What binds a file to others, the strongest first: it names the group."""
    ties = [
        (_PATIENT, sample.patient),
        (_SLIDE, sample.slide),
        (_GROUP, sample.group),
        (_PHOTOGRAPH, sample.photograph),
        (_BYTES, digest),
    ]
    return [(kind, name) for kind, name in ties if name] or [(_BYTES, sample.path)]


def _name(tie: Tie, known: Mapping[Tie, Tie]) -> str:
    kind, name = tie
    # A photograph without a group may be called as a group of others is, a slide as a patient.
    taken = any((stronger, name) in known for stronger in range(kind))
    return f"{_WORDS[kind]} {name}" if taken and kind in _WORDS else name

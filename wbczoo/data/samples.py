"""A data set's samples become rows here: hashed by content, grouped, and labelled for tasks."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wbczoo.errors import WbczooError
from wbczoo.images.file import suffix_of
from wbczoo.images.tables import plain
from wbczoo.images.tree import Tree
from wbczoo.specs import DatasetSpec, Option, Sample, Unit
from wbczoo.tasks import ANY, Task, class_of, fold

Targets = dict[str, NDArray[np.int64]]

LEFT_OUT = -1

# What makes two files stay together, and its name.
Tie = tuple[int, str]
_GROUP, _PHOTOGRAPH, _BYTES = range(3)


@dataclass(frozen=True)
class Rows:
    """The image files of one data set, in a stable order, all fields aligned.

    Attributes:
        samples: what the plugin declared.
        hashes: SHA-256 of each file's bytes; empty for a file that could not be read.
        groups: what must stay together: the sample's group or photograph, else its content.
            Files of one photograph or with equal bytes always share one, whatever they are
            called.
        refused: path -> reason, for files that were taken out.
        passed_over: suffix, or kind of link -> how many files at the root are no sample.
    """

    dataset: str
    unit: Unit
    source: Tree
    labels: Mapping[str, Mapping[str, str]]
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

    def targets(self, tasks: Sequence[Task]) -> Targets:
        """For each task the class index of each row, -1 where the task leaves the row out."""
        return {
            task.name: np.array(
                [_index(task, sample.label, self.labels) for sample in self.samples], np.int64
            )
            for task in tasks
        }

    def left_out(self, task: Task) -> dict[str, int]:
        """How many rows of each raw label a task leaves out."""
        return dict(
            Counter(s.label for s in self.samples if class_of(task, s.label, self.labels) is None)
        )

    def contradictions(self) -> list[dict[str, str]]:
        """Files with equal bytes and different labels: path -> label, for each such content."""

        def meant(label: str) -> str:  # `Eosinophils` and `eos` are one
            return self.labels.get(ANY, {}).get(label, fold(label).removesuffix("s"))

        found: dict[str, dict[str, str]] = {}
        for sample, digest in zip(self.samples, self.hashes, strict=True):
            if sample.label:
                found.setdefault(digest, {})[sample.path] = sample.label
        return [one for one in found.values() if len(set(map(meant, one.values()))) > 1]

    def keep(self, wanted: Callable[[int], bool], refused: Mapping[str, str]) -> Rows:
        """The rows whose number is wanted, with more refusals written down."""
        rows = [row for row in range(len(self)) if wanted(row)]
        return replace(
            self,
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
    samples = tuple(map(_plain, spec.samples(root, **(options or {}))))
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
    # A data set of unknown unit becomes one of photographs where each file's is told.
    told = all(sample.photograph is not None for sample in samples)
    rows = Rows(
        dataset=spec.name,
        unit="photograph" if spec.unit == "unknown" and told else spec.unit,
        source=source,
        labels=spec.labels,
        samples=samples,
        hashes=hashes,
        groups=_settle_groups(samples, hashes),
        refused=refused,
        passed_over=_passed_over(source, samples),
    )
    return rows.keep(lambda row: bool(hashes[row]), {}) if refused else rows


def _plain(sample: Sample) -> Sample:
    """A sample whose photograph and group are those of others that only look the same."""
    photograph = plain(sample.photograph or "") or None
    group = plain(sample.group or "") or None
    if (photograph, group) == (sample.photograph, sample.group):
        return sample
    return replace(sample, photograph=photograph, group=group)


def _passed_over(tree: Tree, samples: Iterable[Sample]) -> Counter[str]:
    unused = set(tree.names).difference(sample.path for sample in samples)
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
    ties = [(_GROUP, sample.group), (_PHOTOGRAPH, sample.photograph), (_BYTES, digest)]
    return [(kind, name) for kind, name in ties if name] or [(_BYTES, sample.path)]


def _name(tie: Tie, known: Mapping[Tie, Tie]) -> str:
    kind, name = tie
    # A photograph without a group may be called as a group of others is.
    return f"photograph {name}" if kind == _PHOTOGRAPH and (_GROUP, name) in known else name


def _index(task: Task, raw: str, labels: Mapping[str, Mapping[str, str]]) -> int:
    name = class_of(task, raw, labels)
    return task.classes.index(name) if name in task.classes else LEFT_OUT

"""Folders and archives of files without content, and what a data set says of its files."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from wbczoo.specs import DatasetSpec, Sample
from wbczoo.tasks import Task, class_of


def make(root: Path, *names: str) -> Path:
    """A folder with empty files of these names: samples must need no pixels."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def pack(path: Path, *names: str) -> Path:
    """A zip file with empty members of these names."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return path


def classes(spec: DatasetSpec, samples: Iterable[Sample], task: Task) -> Counter[str | None]:
    return Counter(class_of(task, sample.label, spec.labels) for sample in samples)


def snapshot(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}

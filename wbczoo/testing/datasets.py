"""What a data set's plugin must keep: labels, files, photographs, groups and splits."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wbczoo import images, tasks
from wbczoo.errors import WbczooError
from wbczoo.images.archives.members import leads_out
from wbczoo.images.tree import Tree
from wbczoo.registry.declared import malformed, misdeclared
from wbczoo.specs import DatasetSpec, Sample
from wbczoo.testing.subject import CheckFailed, NotApplicable
from wbczoo.text import describe_error

_OPENED = 25  # images, spread over the set
# Of the training photographs: what a group that straddles may cost before it looks like a mistake.
_STRADDLING = 0.1


def check_samples(spec: DatasetSpec, root: Path | None = None) -> None:
    """`samples` yields a `Sample` for each image, the same ones in the same order each time, with
    paths below the root.
    """
    with _data(spec, root) as folder:
        try:
            first, second = list(spec.samples(folder)), list(spec.samples(folder))
        except Exception as error:
            raise CheckFailed(f"`samples` fails: {describe_error(error)}") from error
    if not first:
        raise CheckFailed("`samples` yields nothing.")
    for sample in first:
        if reason := malformed(sample):
            raise CheckFailed(reason)
        for box in (*(sample.boxes or ()), *([sample.box] if sample.box is not None else [])):
            if not (len(box) == 4 and all(isinstance(v, int) for v in box)):
                raise CheckFailed(f"{sample.path} has the box {box!r}, not four whole numbers.")
        if leads_out(sample.path):
            raise CheckFailed(f"The path {sample.path!r} does not lead below the root.")
        if "\\" in sample.path:
            raise CheckFailed(f"The path {sample.path!r} is written with \\; use /.")
    if first != second:
        raise CheckFailed("Two listings of the same data differ. Sort what the disk gives.")
    if len({sample.path for sample in first}) != len(first):
        raise CheckFailed("`samples` names a file twice.")


def check_labels(spec: DatasetSpec, root: Path | None = None) -> None:
    """Labels map to classes that their tasks have, and at least one task finds two classes."""
    if reason := misdeclared(spec):
        raise NotApplicable(reason)
    for name, table in spec.labels.items():
        known = tasks.SHIPPED.get(name)
        strange = sorted({c for c in table.values() if known and c not in known.classes})
        if strange:
            assert known is not None
            raise CheckFailed(
                f"`labels` maps to {strange[0]!r}, which is no class of the task {name!r}: it has "
                f"{', '.join(known.classes)}. Its images would be left out in silence."
            )
    samples = _listed(spec, root)
    labels = {sample.label for sample in samples}
    for name in {*tasks.SHIPPED, *spec.labels}:
        known = tasks.SHIPPED.get(name)
        if known is None:
            found = {spec.labels[name].get(label) for label in labels} - {None}
        else:
            found = {tasks.class_of(known, label, spec.labels) for label in labels} - {None}
        if len(found) >= 2:
            return
    raise CheckFailed(
        f"No task finds two classes among its labels ({', '.join(sorted(labels)[:5])}). Map them "
        "in `labels`: task -> raw label -> class."
    )


def check_files(spec: DatasetSpec, root: Path | None = None) -> None:
    """Every sample's file is there, and images spread over the set can be opened."""
    with _data(spec, root) as folder:
        samples = _list(spec, folder)
        source = Tree(folder)
        held = set(source.names)
        for sample in samples:
            if leads_out(sample.path):
                raise NotApplicable(f"The path {sample.path!r} does not lead below the root.")
            if sample.path not in held:
                raise CheckFailed(f"There is no file {sample.path!r} in the data.")
        for sample in samples[:: max(1, len(samples) // _OPENED)]:
            try:
                images.decode(source.read(sample.path))
            except Exception as error:
                raise CheckFailed(f"{sample.path} is no image: {describe_error(error)}") from error


def check_unit(spec: DatasetSpec, root: Path | None = None) -> None:
    """A data set that declares its unit tells it of every file; one of unknown unit of none."""
    samples = _listed(spec, root)
    told_of = [sample for sample in samples if sample.photograph is not None]
    if spec.unit == "unknown":
        if told_of:
            raise CheckFailed(
                f"`unit` is unknown, and {len(told_of)} files name their photograph. Declare what "
                "their groups are: patient, slide or photograph."
            )
    elif len(told_of) != len(samples):
        raise CheckFailed(
            f"`unit` is {spec.unit}, and {len(samples) - len(told_of)} of {len(samples)} files "
            "name none. A split that does not know it would leak."
        )


def check_splits(spec: DatasetSpec, root: Path | None = None) -> None:
    """No photograph stands in two splits or two groups, and groups hardly ever in two splits.

    A group that straddles a published split is no error of the plugin's: wbczoo takes its
    training photographs out. Over a tenth of them would be a mistake in the groups.
    """
    samples = _listed(spec, root)
    splits, groups = defaultdict(set), defaultdict(set)
    group_splits: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        photograph = sample.photograph or sample.path
        groups[photograph].add(sample.group)
        if sample.split is not None:
            splits[photograph].add(sample.split)
            group_splits[sample.group or photograph].add(sample.split)
    for what, found in (("splits", splits), ("groups", groups)):
        torn = [name for name, places in found.items() if len(places) > 1]
        if torn:
            places = ", ".join(sorted(map(str, found[torn[0]])))
            raise CheckFailed(
                f"{len(torn)} photographs stand in two {what}, {torn[0]!r} in {places}. Views of "
                "one photograph on both sides of a split make a number that deceives."
            )
    lost = {
        sample.photograph or sample.path
        for sample in samples
        if sample.split == "train" and len(group_splits[sample.group or ""]) > 1
    }
    trained = {s.photograph or s.path for s in samples if s.split == "train"}
    if len(lost) > _STRADDLING * len(trained):
        raise CheckFailed(
            f"Groups that stand in two splits hold {len(lost)} of {len(trained)} training "
            "photographs, all of which would be taken out."
        )


def _listed(spec: DatasetSpec, root: Path | None) -> list[Sample]:
    with _data(spec, root) as folder:
        return _list(spec, folder)


def _list(spec: DatasetSpec, folder: Path) -> list[Sample]:
    try:
        samples = list(spec.samples(folder))
    except Exception as error:
        raise NotApplicable(f"`samples` fails: {describe_error(error)}") from error
    if not samples:
        raise NotApplicable("`samples` yields nothing.")
    if reason := next(filter(None, map(malformed, samples)), ""):
        raise NotApplicable(reason)
    return samples


@contextmanager
def _data(spec: DatasetSpec, root: Path | None) -> Iterator[Path]:
    """The data that were named, or those that the plugin can make by itself."""
    if root is not None:
        yield root
        return
    if spec.prepare is None:
        raise NotApplicable("It has no `prepare`; name its data with --data or data=.")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "data"
        try:
            spec.prepare(made)
        except (WbczooError, OSError) as error:
            raise NotApplicable(f"`prepare` made nothing: {describe_error(error)}") from error
        yield made

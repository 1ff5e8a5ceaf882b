"""Which data sets are read, by which options, and where they lie."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from wbczoo.config import Part
from wbczoo.errors import UsageError
from wbczoo.registry import datasets

# Where one data set lies; of several, the name of each in the run -> where it lies.
Places = Path | Mapping[str, Path]
Data = str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]]


def choose_dataset(
    dataset: str | Part,
    options: Mapping[str, object] | None = None,
    kept: Iterable[Part] = (),
) -> Part:
    """A data set by its name, with options that it declares; a part that was chosen stays it.

    Args:
        kept: of a config. An option that was added later is as the config of this data set has
            it, unless it is given: what was made with older groups is asked with these.

    Raises:
        UsageError: for an unknown or unusable data set, or an option that it does not have.
    """
    if isinstance(dataset, Part):
        return dataset
    entry = datasets.find(dataset)
    assert entry.spec is not None
    formerly = entry.spec.formerly
    as_kept: dict[str, object] = {
        name: part.options.get(name, value)
        for part in kept
        if part.name == entry.name
        for name, value in formerly.items()
    }
    return Part.of(entry, {**as_kept, **(options or {})})


def choose_data(
    data: Data,
    dataset: str | Part = "folder",
    options: Mapping[str, object] | None = None,
    kept: Collection[Part] = (),
) -> tuple[dict[str, Any], Places]:
    """The fields of a `TrainConfig` that name data sets, and where these lie.

    Args:
        data: a path, or a mapping of several: a data set's name, or `NAME@LABORATORY` where its
            files are another laboratory's than its name says -> its path.
        dataset, options: of a path, as `choose_dataset` takes them. Of a mapping the options are
            those of each data set in it that declares them; a table of labels is of one.
        kept: as `choose_dataset` takes it.

    Raises:
        UsageError: as `choose_dataset` does, for two data sets of one name, for options that none
            of several declares, and for a table of labels that more than one would take.
    """
    if not isinstance(data, Mapping):
        return {"dataset": choose_dataset(dataset, options, kept)}, Path(data)
    if dataset != "folder":
        raise UsageError("Several data sets bring their names with them: leave out --dataset.")
    theirs = _whose(options or {}, data)
    parts, places = dict[str, Part](), dict[str, Path]()
    for given, path in data.items():
        name, _, laboratory = given.partition("@")
        part = choose_dataset(name, options if given in theirs else None, kept)
        laboratory = laboratory or part.name
        if laboratory in parts or "/" in laboratory:
            raise UsageError(
                f"{given!r} cannot be a laboratory's name here: each stands once, and without "
                "a slash. Write NAME@LABORATORY=PATH for a second one of the same data set."
            )
        parts[laboratory], places[laboratory] = part, Path(path)
    return {"datasets": parts}, places


def _whose(options: Mapping[str, object], data: Iterable[str]) -> list[str]:
    """Which of several data sets, by the names that they were given, options are of."""
    if not options:
        return []
    specs = {given: datasets.spec(given.partition("@")[0]) for given in data}
    takes = [given for given, spec in specs.items() if options.keys() <= spec.options.keys()]
    if not takes:
        raise UsageError(
            f"None of {', '.join(specs)} takes {' and '.join(options)} as an option. Leave it out."
        )
    if len(takes) > 1 and "labels_from" in options:
        raise UsageError(
            f"A table of labels belongs to one data set, and {' and '.join(takes)} would both be "
            "read by it. Lay their images below one folder, with one table of all and a column "
            "laboratory; or put each class of one of them into a folder of its name."
        )
    return takes


def tell_origins(parts: Iterable[Part]) -> str:
    """What to type where a data set does not say which files show the same photograph."""
    return (
        "Give the table of --labels the column photograph, slide or patient, or state "
        "--each-file-a-photograph."
        if any(part.options.get("labels_from") for part in parts)
        else "Tell it by --photograph-from REGEX|CSV, or state --each-file-a-photograph."
    )

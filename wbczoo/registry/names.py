"""Names of parts that can be used here, by a pattern; what `create_model` and `train` take."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from wbczoo.registry import Registry, backbones, baselines, datasets, sequences
from wbczoo.registry.sandbox import without_stdout


def list_backbones(pattern: str = "*") -> list[str]:
    """Names of backbones, such as `list_backbones("*resnet*")`.

    A family is one name, `timm/*`. Its members are listed where the pattern has a slash, as in
    `timm/*resnet*`; that imports the family's framework.
    """
    return [*_names(backbones, pattern)]


def list_sequences(pattern: str = "*") -> list[str]:
    """Names of sequence branches; see `list_backbones`."""
    return [*_names(sequences, pattern)]


def list_datasets(pattern: str = "*") -> list[str]:
    """Names of data sets; see `list_backbones`."""
    return [*_names(datasets, pattern)]


def list_baselines(pattern: str = "*") -> list[str]:
    """Names of baselines; see `list_backbones`."""
    return [*_names(baselines, pattern)]


def _names(registry: Registry[Any], pattern: str) -> Iterator[str]:
    for entry in registry.entries():
        if entry.status != "ok":
            continue
        if entry.kind == "part" or "/" not in pattern:
            names = [entry.name]
        elif fnmatchcase(entry.name.removesuffix("/*"), pattern.partition("/")[0]):
            with without_stdout():
                family = registry.find_family(entry.name).family or {}
                names = [f"{entry.name.removesuffix('*')}{member}" for member in family]
        else:
            continue
        yield from (name for name in names if fnmatchcase(name, pattern))

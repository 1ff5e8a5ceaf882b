"""Specs, and what data sets yield, are compared here with the form that the contract gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from wbczoo.specs import (
    BackboneSpec,
    DatasetSpec,
    Preprocessing,
    Reads,
    Sample,
    SequenceSpec,
    Spec,
    Split,
    Unit,
)

_INTERPOLATIONS = ("bilinear", "bicubic")


def misdeclared(spec: Spec) -> str:
    """A sentence on the first field that has another form, by which nothing could be used.

    Empty where all are as the contract has them. Whether what they say is true is for the checks
    of `wbczoo.testing`.
    """
    return next(_findings(spec), "")


def malformed(sample: object) -> str:
    """A sentence on the first field of a sample that has another form; empty where none has."""
    if not isinstance(sample, Sample):
        return f"`samples` yields a {type(sample).__name__}, not a Sample."
    for field in ("path", "label", "part", "photograph", "group", "laboratory", "slide", "patient"):
        value = getattr(sample, field)
        if not isinstance(value, str) and (value is not None or field in ("path", "label", "part")):
            return f"The {field} {_short(value)} of {_short(sample.path)} is no text."
    if sample.split not in (None, *get_args(Split)):
        return (
            f"The split {_short(sample.split)} of {_short(sample.path)} is none; a split is "
            f"{', '.join(get_args(Split))} or None."
        )
    return ""


def _findings(spec: Spec) -> Iterator[str]:
    word = "samples" if isinstance(spec, DatasetSpec) else "build"
    if not callable(function := getattr(spec, word)):
        yield f"`{word}` is {_short(function)}, and no function."
    for field in ("options", "formerly"):
        found: Any = getattr(spec, field)
        if not isinstance(found, Mapping):
            yield f"`{field}` is {_short(found)}; it maps names to defaults, {{'width': 16}}."
            continue
        for name, value in found.items():
            if value is not None and not isinstance(value, str | int | float | bool):
                yield f"The option {name!r} has the default {_short(value)}, no plain value."
    if isinstance(spec, BackboneSpec):
        yield from _of_preprocessing(spec.preprocessing)
    if isinstance(spec, SequenceSpec) and spec.reads not in get_args(Reads):
        yield f"`reads` is {_short(spec.reads)}; it is 'pixels', 'colours' or 'features'."
    if isinstance(spec, DatasetSpec):
        if spec.unit not in get_args(Unit):
            yield f"`unit` is {_short(spec.unit)}; it is one of {', '.join(get_args(Unit))}."
        yield from _of_labels(spec.labels)
        prepare: Any = spec.prepare
        if prepare is not None and not callable(prepare):
            yield f"`prepare` is {_short(prepare)}, and no function."


def _of_preprocessing(found: Any) -> Iterator[str]:
    if not isinstance(found, Preprocessing):
        yield f"`preprocessing` is {_short(found)}; it is a Preprocessing(size=(H, W), ...)."
        return
    pair = isinstance(found.size, tuple | list) and len(found.size) == 2
    if not (pair and all(isinstance(side, int) and side > 0 for side in found.size)):
        yield f"`preprocessing.size` is {_short(found.size)}; it is (H, W) in pixels."
    if found.interpolation not in _INTERPOLATIONS:
        yield f"`interpolation` is {_short(found.interpolation)}; it is 'bilinear' or 'bicubic'."


def _of_labels(found: Any) -> Iterator[str]:
    told = "it maps each task to a table, {'cell': {'NEU': 'neutrophil'}}"
    if not isinstance(found, Mapping):
        yield f"`labels` is {_short(found)}; {told}."
        return
    for task, table in found.items():
        if not isinstance(table, Mapping) or not all(isinstance(c, str) for c in table.values()):
            yield f"`labels` has {_short(table)} for {task!r}; {told}."


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

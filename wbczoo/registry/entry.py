"""An entry point and what it resolves to become one row of the zoo here, with its status."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from typing import Any, Generic, Literal, TypeVar

from wbczoo.machine import how_to_install
from wbczoo.registry.declared import misdeclared
from wbczoo.registry.sandbox import locate
from wbczoo.specs import CONTRACT, BackboneSpec, BaselineSpec, DatasetSpec, SequenceSpec, Spec
from wbczoo.text import describe_error, printable

S = TypeVar("S", bound=Spec)
Status = Literal["ok", "missing", "duplicate", "broken", "blocked"]

HOME = "wbczoo"

SPEC_TYPES: Mapping[str, type[Spec]] = {
    "wbczoo.backbones": BackboneSpec,
    "wbczoo.sequences": SequenceSpec,
    "wbczoo.datasets": DatasetSpec,
    "wbczoo.baselines": BaselineSpec,
}

_LONGEST = 64  # characters of a name
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{_LONGEST - 1}}}")


@dataclass(frozen=True)
class Entry(Generic[S]):
    """One row of the zoo: a part or a family of parts, and whether it can be used.

    Attributes:
        requires: import names that must be installed before the part can be built.
        point: where it is loaded from.
        spec, family: what was loaded; a stranger's is loaded when it is asked for.
    """

    name: str
    kind: Literal["part", "family"]
    distribution: str
    version: str
    status: Status
    reason: str = ""
    licence: str = ""
    requires: tuple[str, ...] = ()
    point: EntryPoint | None = None
    spec: S | None = None
    family: Mapping[str, S] | None = None

    def row(self) -> dict[str, str]:
        """What `wbczoo list --json` says of this entry."""
        fields = ("name", "kind", "distribution", "version", "status", "reason")
        return {field: getattr(self, field) for field in fields}


def blank(point: EntryPoint, distribution: str, version: str) -> Entry[Any]:
    """The row of an entry point of which nothing is known yet; its name can be printed."""
    name = printable(point.name)
    if len(name) > _LONGEST:
        name = f"{name[: _LONGEST - 3]}..."
    return Entry(name, "part", distribution, version, "broken", point=point)


def judge(entry: Entry[Any], loaded: Any, spec_type: type[Spec]) -> Entry[Any]:
    """The entry with whatever its entry point resolved to, and its status."""
    assert entry.point is not None
    if not _NAME.fullmatch(entry.point.name):
        reason = (
            f"A part's name is at most {_LONGEST} ASCII letters, digits, dots, hyphens and "
            "underscores, and starts with a letter or digit. Its author must rename it."
        )
        return replace(entry, reason=reason)
    if isinstance(loaded, Mapping):
        requires = getattr(loaded, "requires", ())
        licence = printable(str(getattr(loaded, "licence", "")))
        return replace(
            entry, name=f"{entry.name}/*", kind="family", family=loaded, licence=licence,
            status="ok", requires=_names(requires),
        )  # fmt: skip
    found = check(entry, loaded, spec_type, entry.point.value)
    if found.spec is not None and found.spec.name != entry.name:
        named = printable(str(found.spec.name))
        return replace(entry, reason=f"Its entry point says {entry.name!r}, its spec {named!r}.")
    return found


def check(entry: Entry[Any], spec: Any, spec_type: type[Spec], where: str) -> Entry[Any]:
    """The entry of a loaded spec; `broken` if it is none, of another contract, or misdeclared."""
    if not isinstance(spec, spec_type):
        reason = f"{where} is a {type(spec).__name__}, not a {spec_type.__name__}."
        return replace(entry, status="broken", reason=reason)
    if spec.contract != CONTRACT:
        reason = (
            f"It was made for contract {spec.contract!r}, and this wbczoo has {CONTRACT}: "
            f"install a version of {entry.distribution} or of wbczoo that fits."
        )
        return replace(entry, status="broken", reason=printable(reason))
    if reason := misdeclared(spec):
        return replace(entry, status="broken", reason=printable(f"{where}: {reason}"))
    return replace(
        entry,
        spec=spec,
        status="ok",
        licence=printable(str(spec.licence)),
        requires=_names(spec.requires),
    )


def available(entry: Entry[Any]) -> Entry[Any]:
    """A usable entry, `missing` if something that it requires is not installed now."""
    missing = [name for name in entry.requires if locate(name) is None]
    if entry.status != "ok" or not missing:
        return entry
    cure = (
        how_to_install("train")
        if entry.distribution == HOME
        else f"pip install {' '.join(missing)}"
    )
    reason = f"It needs {', '.join(missing)}: {cure}."
    return replace(entry, status="missing", reason=printable(reason))


def judge_entry(job: Mapping[str, str]) -> dict[str, Any]:
    """Load a stranger's entry point, in a process of its own, and say what came of it.

    Args:
        job: `name`, `value` and `group` of the entry point, `distribution` and `version`.

    Returns:
        fields of `Entry`; `lasting` is whether they stay true while the files stay the same: a
        failure may be mended by another installation.
    """
    point = EntryPoint(job["name"], job["value"], job["group"])
    entry = blank(point, job["distribution"], job["version"])
    try:
        found = judge(entry, point.load(), SPEC_TYPES[point.group])
        fields = ("name", "kind", "status", "reason", "licence", "requires")
        told_of = {field: getattr(found, field) for field in fields}
        return {"lasting": found.status == "ok", **told_of}
    except BaseException as error:
        return {
            "lasting": False,
            "reason": f"{printable(point.value)} did not load: {describe_error(error)}",
        }


def fill(entry: Entry[Any], told: Mapping[str, Any]) -> Entry[Any]:
    """The entry with fields that another process or the cache told.

    Raises:
        TypeError: if they are none of an entry.
    """
    known = {"name", "kind", "status", "reason", "licence"}
    requires = told.get("requires", ())
    if not isinstance(requires, list | tuple) or not set(told) <= known | {"requires"}:
        raise TypeError("what it told of itself is no row")
    if not all(isinstance(told[field], str) for field in known & set(told)):
        raise TypeError("what it told of itself is no row")
    return replace(entry, **{**told, "requires": _names(requires)})


def _names(requires: Iterable[str]) -> tuple[str, ...]:
    names = (requires,) if isinstance(requires, str) else tuple(requires)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"requires holds {name!r}, which is no import name")
    return names

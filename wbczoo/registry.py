"""Entry points become specs here: on use, one by one, each failure kept with its plugin."""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, Literal, TypeVar, cast

from wbczoo.errors import UsageError
from wbczoo.specs import CONTRACT, BackboneSpec, BaselineSpec, DatasetSpec, SequenceSpec, Spec

S = TypeVar("S", bound=Spec)
Status = Literal["ok", "missing", "duplicate", "broken"]

HOME = "wbczoo"


@dataclass(frozen=True)
class Entry(Generic[S]):
    """One row of the zoo: a part or a family of parts, and whether it can be used."""

    name: str
    kind: Literal["part", "family"]
    distribution: str
    version: str
    status: Status
    reason: str = ""
    spec: S | None = None
    family: Mapping[str, S] | None = None

    def row(self) -> dict[str, str]:
        """What `wbczoo list --json` says of this entry."""
        fields = ("name", "kind", "distribution", "version", "status", "reason")
        return {field: getattr(self, field) for field in fields}


class Registry(Generic[S]):
    """All parts of one kind.

    Args:
        group: the entry-point group.
        kind: what one part is called in sentences.
        spec_type: what an entry point of the group must resolve to.
    """

    def __init__(self, group: str, kind: str, spec_type: type[S]) -> None:
        self.group = group
        self.kind = kind
        self._spec_type = spec_type

    def entries(self) -> list[Entry[S]]:
        """Every part, built-in ones first; broken and doubled ones are rows with a reason."""
        return list(self._entries)

    def find(self, name: str) -> Entry[S]:
        """The entry of a part that can be used.

        Args:
            name: `mobilenetv2`, a family's member `timm/resnet50`, or either after a
                distribution and a colon (`their-package:resnet50`).

        Raises:
            UsageError: if there is none of that name, or it cannot be used; the sentence says
                why, and what to do or what is nearest.
        """
        distribution, colon, bare = name.rpartition(":")
        family, slash, member = bare.partition("/")
        wanted = f"{family}/*" if slash else bare
        found = [
            entry
            for entry in self._entries
            if entry.name == wanted and (not colon or entry.distribution == distribution)
        ]
        usable = [entry for entry in found if entry.status == "ok" or (colon and entry.spec)]
        if not found:
            raise UsageError(self._unknown(name))
        if not usable:
            raise UsageError(f"The {self.kind} {name!r} cannot be used: {found[0].reason}")
        entry = usable[0]
        return self._member(entry, member) if slash else entry

    def spec(self, name: str) -> S:
        """The spec of a part that can be used; raises UsageError as `find` does."""
        return cast(S, self.find(name).spec)

    def _member(self, entry: Entry[S], member: str) -> Entry[S]:
        family = cast(Mapping[str, S], entry.family)
        try:
            spec = family[member]
        except KeyError:
            near = difflib.get_close_matches(member, list(family), n=3)
            prefix = entry.name.removesuffix("*")
            hint = f" Nearest: {', '.join(prefix + name for name in near)}." if near else ""
            raise UsageError(f"The family {entry.name} has no member {member!r}.{hint}") from None
        return replace(entry, name=entry.name.removesuffix("*") + member, kind="part", spec=spec)

    def _unknown(self, name: str) -> str:
        names = [entry.name for entry in self._entries]
        near = difflib.get_close_matches(name, names, n=3)
        hint = f"Nearest: {', '.join(near)}. " if near else ""
        return (
            f"There is no {self.kind} {name!r}. {hint}"
            f"`wbczoo list` shows all; installed plugins appear there by themselves."
        )

    @property
    def _entries(self) -> tuple[Entry[S], ...]:
        return cast(tuple[Entry[S], ...], _load_group(self.group, self._spec_type))  # type: ignore[arg-type]


@cache
def _load_group(group: str, spec_type: type[Spec]) -> tuple[Entry[Any], ...]:
    points = sorted(entry_points(group=group), key=lambda point: (not _is_home(point), point.name))
    home = [_load(point, spec_type) for point in points if _is_home(point)]
    home.sort(key=lambda entry: (entry.kind == "family", entry.name == "none"))
    strangers = [_load(point, spec_type) for point in points if not _is_home(point)]
    return (*home, *_without_usurpers(strangers, {entry.name for entry in home}))


def _without_usurpers(strangers: list[Entry[Any]], taken: set[str]) -> Iterator[Entry[Any]]:
    names = [entry.name for entry in strangers]
    for entry in strangers:
        others = [e.distribution for e in strangers if e.name == entry.name and e is not entry]
        if entry.name in taken:
            holder = HOME
        elif names.count(entry.name) > 1:
            holder = ", ".join(others)
        else:
            yield entry
            continue
        reason = (
            f"{holder} has this name too; select this one as {entry.distribution}:{entry.name}."
        )
        status = entry.status if entry.status == "broken" else "duplicate"
        yield replace(entry, status=status, reason=entry.reason or reason)


def _load(point: EntryPoint, spec_type: type[Spec]) -> Entry[Any]:
    distribution = point.dist.name if point.dist else ""
    version = point.dist.version if point.dist else ""

    def entry(status: Status, reason: str = "", **more: Any) -> Entry[Any]:
        kind: Literal["part", "family"] = "family" if "family" in more else "part"
        name = f"{point.name}/*" if kind == "family" else point.name
        return Entry(name, kind, distribution, version, status, reason, **more)

    try:
        # A plugin that prints must not write into the zoo's own output.
        with contextlib.redirect_stdout(io.StringIO()):
            spec = point.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return entry("broken", f"{point.value} did not load: {type(error).__name__}: {error}")
    if isinstance(spec, Mapping):
        return entry(**_available(getattr(spec, "requires", ()), distribution), family=spec)
    if not isinstance(spec, spec_type):
        found = type(spec).__name__
        return entry("broken", f"{point.value} is a {found}, not a {spec_type.__name__}.")
    if spec.contract != CONTRACT:
        return entry(
            "broken",
            f"It was made for contract {spec.contract}, and this wbczoo has {CONTRACT}: "
            f"install a version of {distribution} or of wbczoo that fits.",
        )
    if spec.name != point.name:
        return entry("broken", f"Its entry point says {point.name!r}, its spec {spec.name!r}.")
    return entry(**_available(spec.requires, distribution), spec=spec)


def _available(requires: tuple[str, ...], distribution: str) -> dict[str, Any]:
    missing = [name for name in requires if importlib.util.find_spec(name) is None]
    if not missing:
        return {"status": "ok"}
    cure = (
        "pip install 'wbczoo[train]'"
        if distribution == HOME
        else f"pip install {' '.join(missing)}"
    )
    return {"status": "missing", "reason": f"It needs {', '.join(missing)}: {cure}."}


def _is_home(point: EntryPoint) -> bool:
    return point.dist is not None and point.dist.name == HOME


backbones = Registry("wbczoo.backbones", "backbone", BackboneSpec)
sequences = Registry("wbczoo.sequences", "sequence branch", SequenceSpec)
datasets = Registry("wbczoo.datasets", "data set", DatasetSpec)
baselines = Registry("wbczoo.baselines", "baseline", BaselineSpec)

ALL: Mapping[str, Registry[Any]] = {
    "backbones": backbones,
    "sequences": sequences,
    "datasets": datasets,
    "baselines": baselines,
}

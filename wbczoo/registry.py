"""Entry points become specs here: on use, one by one, each failure kept with its plugin."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, Literal, TypeVar, cast

from wbczoo.errors import UsageError
from wbczoo.specs import CONTRACT, BackboneSpec, BaselineSpec, DatasetSpec, SequenceSpec, Spec
from wbczoo.strangers import locate, refuse_apart, told, without_stdout

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
            if entry.name == wanted
            and (not colon or _canonical(entry.distribution) == _canonical(distribution))
        ]
        statuses = ("ok", "duplicate") if colon else ("ok",)
        usable = [entry for entry in found if entry.status in statuses]
        if not found:
            raise UsageError(self._unknown(name, wanted, distribution))
        if not usable:
            raise UsageError(f"The {self.kind} {name!r} cannot be used: {found[0].reason}")
        entry = usable[0]
        return self._member(entry, member) if slash else entry

    def spec(self, name: str) -> S:
        """The spec of a part that can be used; raises UsageError as `find` does."""
        return cast(S, self.find(name).spec)

    def _member(self, entry: Entry[S], member: str) -> Entry[S]:
        family = cast(Mapping[str, S], entry.family)
        prefix = entry.name.removesuffix("*")
        try:
            spec = family[member]
            blank = replace(entry, name=prefix + member, kind="part", family=None)
            found = _check(blank, spec, self._spec_type, f"{entry.name}[{member!r}]")
        except KeyError:
            near: list[str] = []
            with contextlib.suppress(Exception):  # a family that cannot list itself
                near = difflib.get_close_matches(member, list(family), n=3)
            hint = f" Nearest: {', '.join(prefix + name for name in near)}." if near else ""
            raise UsageError(f"The family {entry.name} has no member {member!r}.{hint}") from None
        except Exception as error:
            raise UsageError(
                f"The family {entry.name} cannot give {member!r}: {told(error)}"
            ) from error
        if found.status != "ok":
            raise UsageError(f"The {self.kind} {found.name!r} cannot be used: {found.reason}")
        return found

    def _unknown(self, name: str, wanted: str, distribution: str) -> str:
        names = dict.fromkeys(entry.name for entry in self._entries)
        near = difflib.get_close_matches(wanted, list(names), n=3)
        hint = f"Nearest: {', '.join(near)}. " if near else ""
        if distribution and all(e.distribution != distribution for e in self._entries):
            hint += f"Nothing here comes from {distribution}: pip install {distribution}. "
        return (
            f"There is no {self.kind} {name!r}. {hint}"
            f"`wbczoo list` shows all; installed plugins appear there by themselves."
        )

    @property
    def _entries(self) -> tuple[Entry[S], ...]:
        return cast(tuple[Entry[S], ...], _load_group(self.group, self._spec_type))  # type: ignore[arg-type]


@cache
def _load_group(group: str, spec_type: type[Spec]) -> tuple[Entry[Any], ...]:
    points = entry_points(group=group)
    home = [_load(point, spec_type) for point in points if _is_home(point)]
    home.sort(key=lambda entry: (entry.kind == "family", entry.name == "none", entry.name))
    strangers = [_load(point, spec_type) for point in points if not _is_home(point)]
    strangers.sort(key=lambda entry: (entry.name, entry.distribution))
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
        # What cannot be used at all says so first.
        yield replace(entry, status="duplicate", reason=reason) if entry.status == "ok" else entry


def _load(point: EntryPoint, spec_type: type[Spec]) -> Entry[Any]:
    # A damaged installation may have neither.
    distribution = (point.dist and point.dist.name) or ""
    version = (point.dist and point.dist.version) or ""
    blank: Entry[Any] = Entry(point.name, "part", distribution, version, "broken")
    try:
        if _is_home(point):
            return _judge(blank, point.load(), spec_type, point.value)
        if reason := refuse_apart(point):
            return replace(blank, reason=reason)
        with without_stdout():
            return _judge(blank, point.load(), spec_type, point.value)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return replace(blank, reason=f"{point.value} did not load: {told(error)}")


def _judge(blank: Entry[Any], loaded: Any, spec_type: type[Spec], where: str) -> Entry[Any]:
    """The entry of whatever an entry point resolved to."""
    if isinstance(loaded, Mapping):
        row = replace(blank, name=f"{blank.name}/*", kind="family", family=loaded)
        return _available(row, getattr(loaded, "requires", ()))
    entry = _check(blank, loaded, spec_type, where)
    if entry.spec is not None and entry.spec.name != blank.name:
        reason = f"Its entry point says {blank.name!r}, its spec {entry.spec.name!r}."
        return replace(blank, reason=reason)
    return entry


def _check(blank: Entry[Any], spec: Any, spec_type: type[Spec], where: str) -> Entry[Any]:
    """The entry of a loaded spec; `broken` if it is none, or of another contract."""
    if not isinstance(spec, spec_type):
        reason = f"{where} is a {type(spec).__name__}, not a {spec_type.__name__}."
        return replace(blank, status="broken", reason=reason)
    if spec.contract != CONTRACT:
        reason = (
            f"It was made for contract {spec.contract}, and this wbczoo has {CONTRACT}: "
            f"install a version of {blank.distribution} or of wbczoo that fits."
        )
        return replace(blank, status="broken", reason=reason)
    return _available(replace(blank, spec=spec), spec.requires)


def _available(entry: Entry[Any], requires: Iterable[str]) -> Entry[Any]:
    """The entry with its status: whether what it requires is installed."""
    names = (requires,) if isinstance(requires, str) else tuple(requires)
    missing = [name for name in names if locate(name) is None]
    if not missing:
        return replace(entry, status="ok", reason="")
    cure = (
        "pip install 'wbczoo[train]'"
        if entry.distribution == HOME
        else f"pip install {' '.join(missing)}"
    )
    return replace(entry, status="missing", reason=f"It needs {', '.join(missing)}: {cure}.")


def _canonical(distribution: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


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

"""Entry points become specs here: on use, one by one, each failure kept with its plugin."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError
from typing import Any, Generic, cast

from wbczoo.errors import NotInstalled, UsageError
from wbczoo.registry.entry import HOME, SPEC_TYPES, Entry, S, available, blank, check, fill, judge
from wbczoo.registry.installed import canonical, find_home, find_strangers
from wbczoo.registry.sandbox import recall, try_apart, without_stdout
from wbczoo.specs import BackboneSpec, BaselineSpec, DatasetSpec, SequenceSpec, Spec
from wbczoo.text import describe_error, printable

ALLOWED = "WBCZOO_PLUGINS"

_AT_ONCE = 8  # strangers that are tried; most of the time is a process's start


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
        family, slash, member = name.partition("/")
        if not slash:
            return self._usable(name, name)
        return self._member(self._usable(f"{family}/*", name), member)

    def find_family(self, name: str) -> Entry[S]:
        """The entry of a family that can be used, `timm` or `timm/*`; raises as `find` does."""
        return self._usable(f"{name.removesuffix('/*')}/*", name)

    def peek(self, name: str) -> Entry[S]:
        """The entry that `find` would take, whatever its status, without loading a stranger.

        Raises:
            UsageError: if there is none of that name.
        """
        family, slash, _ = name.partition("/")
        return self._choose(f"{family}/*" if slash else name, name)

    def spec(self, name: str) -> S:
        """The spec of a part that can be used; raises UsageError as `find` does."""
        return cast(S, self.find(name).spec)

    def _usable(self, wanted: str, asked: str) -> Entry[S]:
        """The one entry of a name, loaded; errors say `asked`."""
        entry = self._choose(wanted, asked)
        usable = entry.status == "ok" or (":" in wanted and entry.status == "duplicate")
        if usable and entry.spec is None and entry.family is None:
            entry = _load_here(entry, self._spec_type)
            usable = entry.status == "ok"
        if not usable:
            raise _unusable(entry)(f"The {self.kind} {asked!r} cannot be used: {entry.reason}")
        return entry

    def _choose(self, wanted: str, asked: str) -> Entry[S]:
        """The entry of a name, perhaps after a distribution; one that can be used before others."""
        distribution, colon, bare = wanted.rpartition(":")
        found = [
            entry
            for entry in self._entries
            if entry.name == bare
            and (not colon or canonical(entry.distribution) == canonical(distribution))
        ]
        statuses = ("ok", "duplicate") if colon else ("ok",)
        usable = [entry for entry in found if entry.status in statuses]
        if not found:
            raise UsageError(self._unknown(asked, bare, distribution))
        return usable[0] if usable else found[0]

    def _member(self, entry: Entry[S], member: str) -> Entry[S]:
        family = cast(Mapping[str, S], entry.family)
        prefix = entry.name.removesuffix("*")
        try:
            with without_stdout():
                spec = family[member]
            row = replace(entry, name=prefix + member, kind="part", family=None)
            where = f"{entry.name}[{member!r}]"
            found = available(check(row, spec, self._spec_type, where))
        except KeyError:
            near: list[str] = []
            with contextlib.suppress(Exception):  # a family that cannot list itself
                near = difflib.get_close_matches(member, list(family), n=3)
            hint = f" Nearest: {', '.join(prefix + name for name in near)}." if near else ""
            raise UsageError(f"The family {entry.name} has no member {member!r}.{hint}") from None
        except Exception as error:
            raise UsageError(
                f"The family {entry.name} cannot give {member!r}: {describe_error(error)}"
            ) from error
        if found.status != "ok":
            raise _unusable(found)(f"The {self.kind} {found.name!r} cannot be used: {found.reason}")
        return found

    def _unknown(self, name: str, wanted: str, distribution: str) -> str:
        names = dict.fromkeys(entry.name for entry in self._entries)
        near = difflib.get_close_matches(wanted, list(names), n=3)
        hint = f"Nearest: {', '.join(near)}. " if near else ""
        known = {canonical(entry.distribution) for entry in self._entries}
        if distribution and canonical(distribution) not in known:
            hint += f"Nothing here comes from {distribution}: pip install {distribution}. "
        return (
            f"There is no {self.kind} {name!r}. {hint}"
            f"`wbczoo list` shows all; installed plugins appear there by themselves."
        )

    @property
    def _entries(self) -> tuple[Entry[S], ...]:
        return cast(tuple[Entry[S], ...], _load_group(self.group, os.environ.get(ALLOWED)))


@cache
def _load_group(group: str, allowed: str | None) -> tuple[Entry[Any], ...]:
    home: list[Entry[Any]] = []
    with contextlib.suppress(PackageNotFoundError):  # a checkout that was never installed
        home = [_load_home(point) for point in find_home().entry_points.select(group=group)]
    home.sort(key=lambda entry: (entry.kind == "family", entry.name == "none", entry.name))
    strangers = _load_strangers([*find_strangers(group)], allowed)
    strangers.sort(key=lambda entry: (entry.name, entry.distribution))
    return (*home, *_without_usurpers(strangers, {_bare(entry) for entry in home}))


def _load_home(point: EntryPoint) -> Entry[Any]:
    entry = blank(point, HOME, find_home().version)
    try:
        return available(judge(entry, point.load(), SPEC_TYPES[point.group]))
    except Exception as error:
        return replace(entry, reason=f"{point.value} did not load: {describe_error(error)}")


def _load_strangers(found: list[Entry[Any]], allowed: str | None) -> list[Entry[Any]]:
    """What strangers are, as processes of their own told; this one loads none of them."""
    names = None if allowed is None else {canonical(name.strip()) for name in allowed.split(",")}

    def load(entry: Entry[Any]) -> Entry[Any]:
        point = cast(EntryPoint, entry.point)
        if entry.reason:
            return entry
        if names is not None and canonical(entry.distribution) not in names:
            reason = (
                f"{ALLOWED} does not name {entry.distribution}, so it is not loaded; add it there "
                "to use it."
            )
            return replace(entry, status="blocked", reason=reason)
        about = (point, entry.distribution, entry.version)
        for told_by in (recall, try_apart):
            with contextlib.suppress(TypeError):  # a damaged cache, or a stranger's nonsense
                if (fields := told_by(*about)) is not None:
                    return available(fill(entry, fields))
        return replace(entry, reason=f"{printable(point.value)} did not say what it is.")

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [*pool.map(load, found)]


def _without_usurpers(strangers: list[Entry[Any]], taken: set[str]) -> Iterator[Entry[Any]]:
    for entry in strangers:
        others = [
            other.distribution
            for other in strangers
            if _bare(other) == _bare(entry) and other is not entry and _competes(other)
        ]
        if not _competes(entry) or (_bare(entry) not in taken and not others):
            yield entry  # what cannot be used at all says so first
            continue
        holder = HOME if _bare(entry) in taken else ", ".join(others)
        reason = (
            f"{holder} has this name too; select this one as {entry.distribution}:{entry.name}."
        )
        yield replace(entry, status="duplicate", reason=reason)


def _unusable(entry: Entry[Any]) -> type[UsageError]:
    return NotInstalled if entry.status == "missing" else UsageError


def _bare(entry: Entry[Any]) -> str:
    """The entry point's own name: a part and a family of one name are hard to tell apart."""
    return entry.name.removesuffix("/*")


def _competes(entry: Entry[Any]) -> bool:
    return entry.status == "ok"


def _load_here(entry: Entry[S], spec_type: type[Spec]) -> Entry[S]:
    """A stranger's entry with its spec or family, loaded in this process because it is wanted."""
    assert entry.point is not None
    try:
        with without_stdout():
            found = available(judge(entry, entry.point.load(), spec_type))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        reason = f"{printable(entry.point.value)} did not load: {describe_error(error)}"
        return replace(entry, status="broken", reason=reason)
    return replace(found, name=entry.name)


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

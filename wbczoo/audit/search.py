"""Files of a split become groups that show one photograph, and the groups that stand on two sides.

Pixels alone decide: keypoints give each file a vector, near vectors give candidates, and an affine
map between keypoints confirms them. What is confirmed is joined, so that a photograph's other
views need no comparison of their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np
from scipy.cluster.hierarchy import DisjointSet
from threadpoolctl import threadpool_limits

from wbczoo.audit.cache import read_keypoints
from wbczoo.audit.keypoints import Keypoints, Match, compare
from wbczoo.audit.neighbours import Vectors, aggregate, nearest
from wbczoo.data.prepared import readers
from wbczoo.data.samples import Rows
from wbczoo.errors import WbczooError
from wbczoo.progress import bar

SIDES = ("train", "validation", "test")

# Of 221 264 pairs of different photographs none had more than 7: docs/dataset-audit.md.
FEWEST_INLIERS = 12

_CHUNK = 128
_NEAREST_VIEWS = 5
_GROUPS_ACROSS = 60
_TRIES = 48  # pairs of files that may show that two groups, or a file and a group, are one

T = TypeVar("T")
Link = tuple[int, int, bool]  # two rows, and whether the candidate is mirrored


@dataclass(frozen=True)
class Pair:
    """Two files that show one photograph; `one` stands on the later side."""

    one: int
    other: int
    match: Match


@dataclass
class Audit:
    """What was found.

    Attributes:
        side_of: row -> `train`, `validation` or `test`.
        groups: the rows of each group that stands on more than one side, the largest first.
        pairs: for each file that shows what an earlier side shows, the first pair with it that
            was confirmed, the nearest files first; a file is not among them that only other views
            tie to the earlier side.
        links: every pair that was confirmed on the way.
        compared: how many candidates were compared.
        unjudged: rows with too few keypoints to be compared.
        refused: path -> reason.
    """

    side_of: Mapping[int, str]
    groups: list[list[int]] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    links: list[Pair] = field(default_factory=list)
    compared: int = 0
    unjudged: list[int] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    @cached_property
    def leaked(self) -> list[int]:
        """Rows that show what a row of an earlier side shows, ascending."""
        return sorted(row for group in self.groups for row in _later(group, self.side_of))


def audit(rows: Rows, side_of: Mapping[int, str]) -> Audit:
    """Find the files of one photograph that stand on different sides of a split.

    Args:
        rows: the data set; its photographs and groups are not looked at.
        side_of: row -> one of `SIDES`, for the rows that take part.

    Raises:
        WbczooError: if no image can be read.
    """
    found = Audit(dict(side_of))
    with ThreadPoolExecutor() as pool:
        keypoints = _read(rows, sorted(side_of), found, pool)
        if not keypoints:
            raise WbczooError(f"{rows.source.root}: every image was refused; nothing to audit.")
        search = _Search(rows, keypoints, found, pool)
        search.join_views()
        search.join_across()
        search.witness()
    return found


def _read(
    rows: Rows, chosen: Sequence[int], found: Audit, pool: ThreadPoolExecutor
) -> dict[int, Keypoints]:
    """The keypoints of each row that can be read; equal bytes are decoded once."""
    wanted = readers(rows, chosen)
    with bar(len(wanted), "keypoints", unit="image") as advance:
        known = read_keypoints(wanted, pool=pool, advance=advance)
    keypoints = {}
    for row in chosen:
        told = known[rows.hashes[row]]
        if isinstance(told, str):
            found.refused[rows.samples[row].path] = told
        else:
            keypoints[row] = told
    return keypoints


class _Search:
    """One search among the rows that could be read."""

    def __init__(
        self,
        rows: Rows,
        keypoints: Mapping[int, Keypoints],
        found: Audit,
        pool: ThreadPoolExecutor,
    ) -> None:
        self.keypoints = keypoints
        self.found = found
        self.pool = pool
        self.joined = DisjointSet(keypoints)
        first: dict[str, int] = {}
        for row in keypoints:
            same = first.setdefault(rows.hashes[row], row)
            self.joined.merge(same, row)
        found.unjudged += [row for row, each in keypoints.items() if len(each) < FEWEST_INLIERS]
        # Of equal bytes one is compared for all, and lends them its place among the vectors.
        few = set(found.unjudged)
        self.rows = np.array([row for row in first.values() if row not in few], np.int64)
        places = {int(row): at for at, row in enumerate(self.rows)}
        self.place = {row: places[first[rows.hashes[row]]] for row in keypoints if row not in few}
        if len(self.rows):
            self.vectors = aggregate([keypoints[int(row)] for row in self.rows])

    def join_views(self) -> None:
        """Join each file with its nearest ones, wherever they stand: views of one photograph."""
        if len(self.rows) < 2:
            return
        places, _, mirrored = nearest(self.vectors, self.vectors[0], _NEAREST_VIEWS + 1)
        links = [
            (int(row), int(self.rows[places[at, rank]]), bool(mirrored[at, rank]))
            for rank in range(min(_NEAREST_VIEWS + 2, places.shape[1]))
            for at, row in enumerate(self.rows)
        ]
        self._confirm(links, "views")

    def join_across(self) -> None:
        """Join the groups that the nearest files across the sides tie together.

        A group is looked at again only where joining it would bring a leak to light: where the
        earliest sides of both differ.
        """
        earliest = self._earliest()
        groups: dict[int, list[int]] = defaultdict(list)  # group -> places among the vectors
        for at, row in enumerate(self.rows):
            groups[self.joined[int(row)]].append(at)
        links: list[Link] = []
        for number in range(1, len(SIDES)):
            others = [places for group, places in groups.items() if earliest[group] < number]
            if others:
                among = self.vectors[0][np.concatenate(others)]
                for group, places in groups.items():
                    if earliest[group] == number:
                        links += self._likeliest(places, others, among)
        self._confirm(links, "across")

    def _likeliest(
        self, mine: Sequence[int], others: Sequence[Sequence[int]], among: Vectors
    ) -> Iterator[Link]:
        """The nearest pairs of files of one group and each of the groups that are nearest to it.

        Args:
            mine: places of the group's files among the vectors.
            others: the same of other groups.
            among: (sum of their sizes, 2048), the vectors of `others`, one after the other.
        """
        likeness = np.maximum(*(vectors[mine] @ among.T for vectors in self.vectors))
        starts = np.cumsum([0, *map(len, others)])
        nearest_of = np.maximum.reduceat(likeness.max(axis=0), starts[:-1])
        for group in np.argsort(-nearest_of, kind="stable")[:_GROUPS_ACROSS]:
            block = likeness[:, starts[group] : starts[group + 1]]
            for at in np.argsort(-block, axis=None, kind="stable")[:_TRIES]:
                one, other = mine[at // block.shape[1]], others[group][at % block.shape[1]]
                yield self._link(int(self.rows[one]), int(self.rows[other]))

    def _link(self, one: int, other: int) -> Link:
        """A candidate, mirrored if that brings the two vectors nearer."""
        vector = self.vectors[0][self.place[other]]
        direct, mirrored = (vectors[self.place[one]] @ vector for vectors in self.vectors)
        return one, other, bool(mirrored > direct)

    def witness(self) -> None:
        """Settle the groups on several sides, and compare each later file with an earlier one."""
        side_of = self.found.side_of
        members: dict[int, list[int]] = defaultdict(list)
        for row in self.keypoints:
            members[self.joined[row]].append(row)
        leaky = [group for group in members.values() if len({side_of[row] for row in group}) > 1]
        self.found.groups = sorted((sorted(group) for group in leaky), key=lambda g: (-len(g), g))
        links = [each for group in leaky for each in self._witnesses(group)]
        best: dict[int, Pair] = {}
        with bar(len(links), "witnesses", unit="file") as advance:
            for chunk in _chunks(links):
                for rank in range(_TRIES):
                    tried = [each[rank] for each in chunk if len(each) > rank]
                    tried = [link for link in tried if link[0] not in best]
                    best |= {pair.one: pair for pair in self._compare(tried)}
                advance(len(chunk))
        self.found.pairs = [best[row] for row in sorted(best)]

    def _witnesses(self, group: Sequence[int]) -> Iterator[list[Link]]:
        """For each later file of a group the nearest files that stand on an earlier side."""
        sides = defaultdict(list)
        for row in group:
            if row in self.place:
                sides[SIDES.index(self.found.side_of[row])].append(row)
        earlier: dict[int, int] = {}  # place -> row
        for number in sorted(sides):
            others = [*earlier.values()]
            among = self.vectors[0][[*earlier]]
            for row in sides[number] if others else ():
                likeness = [among @ vectors[self.place[row]] for vectors in self.vectors]
                order = np.argsort(-np.maximum(*likeness), kind="stable")[:_TRIES]
                yield [self._link(row, others[at]) for at in order]
            earlier |= {self.place[row]: row for row in sides[number]}

    def _earliest(self) -> dict[int, int]:
        """Group -> the number of the earliest side that it stands on."""
        sides: dict[int, int] = {}
        for row in self.keypoints:
            group, number = self.joined[row], SIDES.index(self.found.side_of[row])
            sides[group] = min(sides.get(group, number), number)
        return sides

    def _confirm(self, links: Sequence[Link], label: str) -> None:
        """Compare candidates that are not joined yet, and join those that are confirmed."""
        with bar(len(links), label, unit="pair") as advance:
            for chunk in _chunks(links):
                fresh = {
                    (min(one, other), max(one, other)): (one, other, mirrored)
                    for one, other, mirrored in chunk
                    if not self.joined.connected(one, other)
                }
                for pair in self._compare(list(fresh.values())):
                    self.joined.merge(pair.one, pair.other)
                    self.found.links.append(pair)
                advance(len(chunk))

    def _compare(self, links: Sequence[Link]) -> list[Pair]:
        """The pairs among the candidates that are confirmed."""

        def judge(link: Link) -> Pair:
            one, other, mirrored = link
            pair = (self.keypoints[one], self.keypoints[other])
            match = compare(*pair, mirrored=mirrored)
            if match.inliers < FEWEST_INLIERS:
                match = max(match, compare(*pair, mirrored=not mirrored), key=lambda m: m.inliers)
            return Pair(one, other, match)

        if not links:
            return []
        self.found.compared += len(links)
        # The pool's threads share the cores already; more of them inside only wait for another.
        with threadpool_limits(1):
            judged = list(self.pool.map(judge, links))
        return [pair for pair in judged if pair.match.inliers >= FEWEST_INLIERS]


def _later(group: Iterable[int], side_of: Mapping[int, str]) -> list[int]:
    """The rows of a group that do not stand on its earliest side."""
    rows = list(group)
    first = min((SIDES.index(side_of[row]) for row in rows), default=0)
    return [row for row in rows if SIDES.index(side_of[row]) > first]


def _chunks(things: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(things), _CHUNK):
        yield things[start : start + _CHUNK]

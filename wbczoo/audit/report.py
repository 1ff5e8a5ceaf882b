"""What an audit found becomes a document here, and is held against what a data set declares."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from wbczoo.audit.search import FEWEST_INLIERS, SIDES, Audit, Pair
from wbczoo.data.plan import Plan
from wbczoo.data.samples import Rows
from wbczoo.errors import UsageError

MEANING = (
    "The confidence is the lower limit, one-sided at 95 %, of the share of confirmed pairs with "
    "so many inliers that were of one field of view when the audit was calibrated; by pair."
)

# The fewest inliers -> that limit, as docs/dataset-audit.md tells.
_CONFIDENCE = ((20, 0.999), (FEWEST_INLIERS, 0.98))


def published_sides(rows: Rows, part: str | None) -> dict[int, str]:
    """The sides of the published split: row -> side.

    Args:
        part: whose test half is taken; the training half is always the main part's.

    Raises:
        UsageError: if there is no such part, or no two sides.
    """
    parts = {sample.part for sample in rows.samples}
    main = "augmented" if "augmented" in parts else min(parts, default="")
    if part is not None and part not in parts:
        names = ", ".join(sorted(parts))
        raise UsageError(f"{rows.source.root} has no part {part!r}; it has {names}.")
    sides = {
        row: sample.split
        for row, sample in enumerate(rows.samples)
        if sample.split and sample.part == ((part or main) if sample.split == "test" else main)
    }
    if len(set(sides.values())) < 2:
        raise UsageError(
            f"{rows.source.root} has no published split to audit: no two of train, val and test "
            "with images in them. Name the split that you mean to make by --protocol, such as "
            "--protocol report."
        )
    return dict(sides)


def planned_sides(plan: Plan) -> dict[int, str]:
    """The sides of the split that a protocol makes: row -> side."""
    return {
        **dict.fromkeys(plan.train, "train"),
        **dict.fromkeys(plan.validation, "validation"),
        **dict.fromkeys(plan.test, "test"),
    }


def confidence(pair: Pair) -> float:
    """How sure a confirmed pair is; `MEANING` says in what sense."""
    return next(limit for fewest, limit in _CONFIDENCE if pair.match.inliers >= fewest)


def describe(rows: Rows, found: Audit) -> dict[str, Any]:
    """An audit as a JSON document: counts by side, the groups, and a pair for each leaked file."""
    paths = [sample.path for sample in rows.samples]
    read = {row: side for row, side in found.side_of.items() if paths[row] not in found.refused}
    files = Counter(read.values())
    leaked = Counter(read[row] for row in found.leaked)
    paired = {pair.one: pair for pair in found.pairs}
    return {
        "files": {side: files[side] for side in SIDES if files[side]},
        "leaked_files": {side: leaked[side] for side in SIDES[1:] if files[side]},
        "groups": [_group(group, found, paths, paired) for group in found.groups],
        "pairs": [_pair(pair, found, paths) for pair in found.pairs],
        "leaked_without_a_pair": [paths[row] for row in found.leaked if row not in paired],
        "fewest_inliers": FEWEST_INLIERS,
        "confidence_means": MEANING,
        "compared_pairs": found.compared,
        "unjudged": [paths[row] for row in found.unjudged],
        "refused": {**rows.refused, **found.refused},
    }


def _group(
    group: Sequence[int], found: Audit, paths: Sequence[str], paired: Mapping[int, Pair]
) -> dict[str, Any]:
    best = max(
        (paired[row] for row in group if row in paired),
        key=lambda pair: (pair.match.inliers, -pair.one),
        default=None,
    )
    return {
        "files": {
            side: [paths[row] for row in group if found.side_of[row] == side]
            for side in SIDES
            if any(found.side_of[row] == side for row in group)
        },
        "best_pair": None if best is None else _pair(best, found, paths),
    }


def _pair(pair: Pair, found: Audit, paths: Sequence[str]) -> dict[str, Any]:
    return {
        "file": paths[pair.one],
        "side": found.side_of[pair.one],
        "shows": paths[pair.other],
        "shows_side": found.side_of[pair.other],
        "inliers": pair.match.inliers,
        "matched": pair.match.matched,
        "share": round(pair.match.share, 4),
        "covered": round(pair.match.covered, 4),
        "mirrored": pair.match.mirrored,
        "confidence": confidence(pair),
    }


def require_photographs(rows: Rows) -> None:
    """Raise UsageError if the data set does not know its photographs."""
    if rows.unit == "unknown":
        raise UsageError(
            f"{rows.source.root}: nobody knows which files show the same photograph, so there is "
            "nothing to --check against. Tell it by --photograph-from REGEX|CSV, or leave --check "
            "out."
        )


def check(rows: Rows, found: Audit) -> dict[str, Any]:
    """Hold an audit against the groups that the data set declares.

    Returns:
        recall and precision over leaked files, and over groups with an exact interval (Clopper
        and Pearson 1934); and the confirmed pairs whose files the data set puts into different
        groups, by photograph.

    Raises:
        UsageError: if the data set does not know its photographs.
    """
    require_photographs(rows)
    members: dict[str, list[int]] = defaultdict(list)
    for row, side in found.side_of.items():
        if rows.samples[row].path not in found.refused:
            members[rows.groups[row]].append(SIDES.index(side))
    earliest = {group: min(sides) for group, sides in members.items()}
    true = {
        row
        for row, side in found.side_of.items()
        if SIDES.index(side) > earliest.get(rows.groups[row], len(SIDES))
    }
    told = set(found.leaked)
    false = [
        pair
        for pair in (*found.links, *found.pairs)
        if rows.groups[pair.one] != rows.groups[pair.other]
    ]
    return {
        "files": _scores(true, told),
        "groups": _scores(
            {rows.groups[row] for row in true}, {rows.groups[row] for row in told}, interval=True
        ),
        "confirmed_pairs": len(found.links),
        "pairs_of_different_groups": _by_photograph(rows, false, found),
    }


def _by_photograph(rows: Rows, pairs: Sequence[Pair], found: Audit) -> list[dict[str, Any]]:
    """One entry for each two photographs, with the pair of files that has the most inliers."""
    best: dict[tuple[str, str], Pair] = {}
    for pair in sorted(pairs, key=lambda pair: -pair.match.inliers):
        one, other = (
            rows.samples[row].photograph or rows.groups[row] for row in (pair.one, pair.other)
        )
        best.setdefault((min(one, other), max(one, other)), pair)
    paths = [sample.path for sample in rows.samples]
    return [{"photographs": list(key), **_pair(best[key], found, paths)} for key in sorted(best)]


def _scores(true: set[Any], told: set[Any], interval: bool = False) -> dict[str, Any]:
    from scipy.stats import binomtest

    both = len(true & told)
    scores: dict[str, Any] = {"true": len(true), "told": len(told), "both": both}
    for name, whole in (("recall", len(true)), ("precision", len(told))):
        scores[name] = both / whole if whole else None
        if interval and whole:
            limits = binomtest(both, whole).proportion_ci()
            scores[f"{name}_interval"] = [float(limits.low), float(limits.high)]
    return scores

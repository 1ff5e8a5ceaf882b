"""How well cells of classes that a model has not are told by its novelty, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wbczoo.metrics.formulas import Bools, Floats, auroc, ratio
from wbczoo.metrics.intervals import draw, effective_groups, interval, replicate
from wbczoo.metrics.limits import KNOWN


def measure_unknown(
    novelty: Floats,
    known: Bools,
    limit: float,
    groups: Sequence[str],
    strata: Sequence[str],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure a novelty on cells of known classes and, where there are any, of unknown ones.

    Args:
        novelty: (N,).
        known: (N,) whether the model has the class of each row.
        limit: above which a row is called unknown.
        groups, strata, resamples, seed: as `wbczoo.metrics.measure` takes them.

    Returns:
        what JSON can hold: `limit`; `known_files`, `known_groups` and `called_unknown`, the share
        of the known rows above the limit; `unknown_files`, `unknown_groups`, `found`, the share
        of the unknown rows above it, `auroc`, and `passed`, the share of the unknown rows that
        lie below the novelty under which 95 % of the known ones do (the false-positive rate at a
        true-positive rate of 95 %). A figure that the rows leave undefined is three times None.
    """
    drawn = draw(groups, strata, resamples, seed)
    above = novelty > limit

    def scores(weights: Floats) -> dict[str, Floats]:
        ours, others = weights * known, weights * ~known
        return {
            "called_unknown": ratio(ours @ above, ours.sum(1)),
            "found": ratio(others @ above, others.sum(1)),
            "auroc": auroc(weights, novelty, ~known),
            "passed": _passed(novelty, ours, others),
        }

    point, again = replicate(drawn, scores)
    count = {True: effective_groups(known, drawn), False: effective_groups(~known, drawn)}
    both = min(count.values())
    rests = {"called_unknown": count[True], "found": count[False], "auroc": both, "passed": both}
    found: dict[str, Any] = {"limit": limit}
    for name, rows in (("known", known), ("unknown", ~known)):
        found[f"{name}_files"] = int(rows.sum())
        found[f"{name}_groups"] = len(np.unique(drawn.group_of_row[rows]))
    return found | {
        name: interval(float(point[name]), again[name], groups_of or 1.0)
        for name, groups_of in rests.items()
    }


def _passed(novelty: Floats, ours: Floats, others: Floats) -> Floats:
    """The share (B,) of the others' weight up to where `KNOWN` of ours lies; equal rows together.

    Args:
        ours, others: weights (B, N).
    """
    order = np.argsort(novelty, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(novelty[order])), len(order) - 1)
    mine, theirs = (np.cumsum(each[:, order], 1)[:, ends] for each in (ours, others))
    reached = mine >= KNOWN * mine[:, -1:] - 1e-9
    return ratio(theirs[np.arange(len(theirs)), reached.argmax(1)], theirs[:, -1])

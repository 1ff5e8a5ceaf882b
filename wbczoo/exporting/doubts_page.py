"""What a model doubts and what it promises, as the page beside an export says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabulate import tabulate

from wbczoo.metrics.sets import fewest_groups
from wbczoo.runtime.sets import COVERAGES

NO_NOVELTY = (
    "It does not say: no novelty was fitted, so that its answers are never flagged, and its graph "
    "knows no limits. `wbczoo train` fits them where there are four training images or more of "
    "each class, and others that validate."
)


def set_lines(sets: Mapping[str, Any], adapted_to: str | None) -> list[str]:
    """Paragraphs and a table for each task: from which probability on a class is left open.

    Args:
        sets: `floors` and `groups`, as `wbczoo.runtime.sets.Sets.to_dict` gives them.
        adapted_to: the data set whose cells fitted it, where the model was adapted.
    """
    where = "the laboratories that trained the model"
    chosen = "temperatures, and with `--keep best` the epoch,"
    if adapted_to is not None:
        where, chosen = f"the laboratory of {adapted_to}", "temperatures and penalties"
    lines = [
        "`predict --coverage` names the classes that an answer leaves open: those that reach the "
        "probability below, and the answer. Of each class at least the promised share of cells "
        "has its own class among them, if they come as those of the groups that fitted this: from "
        f"{where}, under the same conditions. Of another laboratory nothing is promised. That "
        f"{chosen} were chosen on the same cells makes it a promise of about this share."
    ]
    for task, groups in sets["groups"].items():
        rows = []
        for name, count in groups.items():
            told = [
                "in every set" if count < fewest_groups(float(each)) else f"{floors[name]:.3g}"
                for each in COVERAGES
                if name in (floors := sets["floors"][task][each])
            ]
            rows.append([name, count, *(told or ["no promise"] * len(COVERAGES))])
        heads = [task, "groups", *COVERAGES]
        lines += ["", tabulate(rows, heads, tablefmt="github", disable_numparse=True)]
    return lines


def limit_lines(limits: Mapping[str, Any]) -> list[str]:
    """A list of the limits past which an answer is flagged, and what they were fitted on."""
    if limits["unknown_above"] is None:
        return [
            "It has no limits: there were no validation photographs to fit them on. Its novelty "
            "is 0 for the median of its training photographs, and grows with what is unlike them."
        ]
    fitted = ["Its limits are the mean of its members', and were not fitted anew:", ""]
    if "files" in limits:
        fitted = [
            f"Limits were fitted on {limits['files']} validation files of {limits['groups']} "
            "groups, each of which counts alike:",
            "",
        ]
    lines = [
        *fitted,
        f"- `unknown`: a novelty above {limits['unknown_above']:g}, below which 95 % of cells of "
        "known classes stay",
    ]
    for task, least in limits["unsure_below"].items():
        lines.append(
            f"- `unsure`: a probability of {task} below {least:.3g}, above which at most 5 % of "
            "answers are wrong"
            if least
            else f"- {task} is never `unsure`: of all its answers at most 5 % are wrong"
        )
    return lines

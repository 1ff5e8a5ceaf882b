"""A plan's done trials are measured, compared and judged here, and go to the report as findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wbczoo.study.plan.plan import StudyPlan
from wbczoo.study.report import compare
from wbczoo.study.report.claims import Judged, judge
from wbczoo.study.report.compare import Comparison
from wbczoo.study.report.series import Series, gather
from wbczoo.study.run.row import Row


@dataclass(frozen=True)
class Findings:
    """A plan with what is done of it, measured.

    Attributes:
        comparisons: all of the report's, their p-values corrected as one family.
        refused: why trials that are not done were refused when they were tried, by their keys.
    """

    plan: StudyPlan
    series: Sequence[Series]
    comparisons: Sequence[Comparison]
    judged: Sequence[Judged]
    resamples: int
    refused: Mapping[str, str]

    @property
    def counts(self) -> tuple[int, int]:
        """How many trials are done, and how many are planned."""
        done = {row["key"] for one in self.series for row in one.rows.values()}
        return len(done), len(self.plan.trials())


def measure_study(
    plan: StudyPlan,
    done: Mapping[str, Row],
    *,
    resamples: int = 2000,
    refused: Mapping[str, str] | None = None,
) -> Findings:
    """Compare what a plan's done trials allow, and judge its claims."""
    series = gather(plan, done)
    pairs = [("branch", *pair) for pair in compare.with_and_without_branch(series)]
    for claim in plan.claims:
        for first, second in claim.pairs:
            for protocol in claim.protocols:
                pair = compare.find_pairs(series, protocol, claim.of, first, second)
                pairs += [("models", *pair)] if pair else []
    pairs += [("bar", *pair) for pair in compare.against_the_bar(plan, series)]
    if plan.pairwise:
        pairs += [("models", *pair) for pair in compare.every_two(series)]
    compared = compare.distinct(
        compare.compare(first, second, task, kind, resamples=resamples)
        for kind, first, second in pairs
        for task in plan.task_names
    )
    comparisons = compare.correct(compared)
    judged = judge(plan, series, comparisons, resamples=resamples)
    return Findings(plan, series, comparisons, judged, resamples, refused or {})

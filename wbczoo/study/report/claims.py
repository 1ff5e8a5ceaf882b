"""A report's claims meet the done trials here, and leave with a verdict and its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wbczoo.metrics.intervals import ALPHA, Interval
from wbczoo.study.plan.plan import StudyPlan
from wbczoo.study.plan.stated import Claim
from wbczoo.study.report.compare import SEEDS, Comparison, find_pairs
from wbczoo.study.report.series import Series, choose
from wbczoo.study.report.tally import measure_seeds
from wbczoo.study.report.words import (
    NEEDS_WEIGHTS,
    NOT_RUN,
    format_published,
    why_missing,
)

CONFIRMED, CONTRADICTED, UNDECIDABLE = "confirmed", "contradicted", "undecidable"

# A gain below this is none that matters; and the report's own reruns at equal settings lie about
# as far apart (.93 points RMS), so a figure is not asked to be nearer than that.
MARGIN = 0.01
# How much worse than claimed a figure's lower limit may be for the claim to count as confirmed.
REACH = 0.05
# Where fewer groups differ, resampling them says too little about a difference.
DIFFERING = 10

RULES = {
    "exceeds": (
        "A comparison confirms if its corrected p-value is below .05 and its whole interval lies "
        "above 0: the test knows of the photographs alone, the interval of other trainings too. "
        "It contradicts if its interval's upper limit is below +1 point. Else, or with fewer than "
        f"{SEEDS} seeds on either side, or fewer than {DIFFERING} groups that differ, it is "
        "undecidable. The claim is confirmed if every planned comparison confirms; contradicted "
        "if more than half of the planned ones contradict and none confirms; else undecidable."
    ),
    "reaches": (
        "A figure confirms if it is at least the claimed one less 1 point, and its lower limit at "
        "least the claimed one less 5 points. It contradicts if its upper limit is below the "
        "claimed one less 1 point, unless most trainings were best in their last epoch, for "
        "longer ones might score more. Else it is undecidable. The claim is confirmed if every "
        "planned figure confirms; contradicted if one contradicts; else undecidable."
    ),
    "keeps": (
        "The claimed figure is our own, of the same trials under the protocol that is doubted. It "
        "is the balanced accuracy, for the protocols' tests have other shares of the classes. A "
        "figure confirms if it is at least that one less 1 point, and its lower limit at least "
        "that one less 5 points. It contradicts if its whole interval lies below the whole "
        "interval of that one. Else it is undecidable. The claim is confirmed if every planned "
        "figure confirms; contradicted if one contradicts; else undecidable."
    ),
}


@dataclass(frozen=True)
class Part:
    """One piece of evidence of a claim: a comparison or a figure, in one task and protocol.

    Attributes:
        what: the models and the task.
        protocol: with the word LEAKY where it leaks.
        found: the number with its interval, counts, seeds and p-value; or why there is none.
        decides: False for what is only shown.
        value: of the difference or the accuracy, in [-1, 1]; None if not run.
    """

    what: str
    protocol: str
    found: str
    verdict: str
    decides: bool = True
    value: float | None = None


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict, why, and the parts that it rests on."""

    claim: Claim
    verdict: str
    why: str
    parts: tuple[Part, ...]

    def describe(self) -> dict[str, Any]:
        """What JSON can hold of it."""
        return {
            "claim": self.claim.says,
            "source": self.claim.source,
            "rule": self.claim.rule,
            "verdict": self.verdict,
            "why": self.why,
            "parts": [vars(part) for part in self.parts],
        }


def judge(
    plan: StudyPlan,
    series: Sequence[Series],
    comparisons: Sequence[Comparison],
    *,
    resamples: int = 2000,
) -> list[Judged]:
    """Judge each claim of a plan by `RULES`, which are the same for every study.

    Args:
        comparisons: with corrected p-values; those that a claim asks for are looked up here.
    """
    found = []
    for claim in plan.claims:
        if claim.rule == "exceeds":
            parts = _compared(claim, plan, series, comparisons)
        elif claim.rule == "reaches":
            parts = _measured(claim, plan, series, resamples)
        else:
            parts = _kept(claim, plan, series, resamples)
        verdict = weigh(claim.rule, [part.verdict for part in parts if part.decides])
        found.append(Judged(claim, verdict, _reason(claim, parts), tuple(parts)))
    return found


def judge_difference(comparison: Comparison) -> str:
    """The verdict of one comparison on the claim that its first model is better."""
    figure, p = comparison.figures["accuracy"], comparison.corrected
    low, high = figure["low"], figure["high"]
    if p is None or comparison.differing < DIFFERING or low is None or high is None:
        return UNDECIDABLE
    if p < ALPHA and low > 0:
        return CONFIRMED
    return CONTRADICTED if high < MARGIN else UNDECIDABLE


def judge_figure(figure: Interval, target: float, floor: float) -> str:
    """The verdict of one figure on the claim that it reaches the target.

    Args:
        floor: what the upper limit may not lie below.
    """
    value, low, high = (figure[name] for name in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return UNDECIDABLE
    if value >= target - MARGIN and low >= target - REACH:
        return CONFIRMED
    return CONTRADICTED if high < floor else UNDECIDABLE


def weigh(rule: str, verdicts: Sequence[str]) -> str:
    """The verdict on a claim, from those of all its planned parts."""
    number = Counter(verdicts)
    if number[NOT_RUN] + number[NEEDS_WEIGHTS] == len(verdicts):
        return NOT_RUN if number[NOT_RUN] else NEEDS_WEIGHTS
    if number[CONFIRMED] == len(verdicts):
        return CONFIRMED
    if rule != "exceeds" and number[CONTRADICTED]:
        return CONTRADICTED
    most = number[CONTRADICTED] > len(verdicts) / 2 and not number[CONFIRMED]
    return CONTRADICTED if most else UNDECIDABLE


def _compared(
    claim: Claim, plan: StudyPlan, series: Sequence[Series], comparisons: Sequence[Comparison]
) -> list[Part]:
    parts = []
    for first, second in claim.pairs:
        for protocol in claim.protocols:
            pair = find_pairs(series, protocol, claim.of, first, second)
            for task in plan.task_names:
                if pair is None:
                    named = " less ".join(
                        "+".join(str(value) for value in side.values()) for side in (first, second)
                    )
                    none = why_missing(plan, claim.of | first, claim.of | second)
                    parts.append(Part(f"{named}, {task}", protocol, none, none))
                    continue
                done = next(
                    (c for c in comparisons if (c.first, c.second, c.task) == (*pair, task)), None
                )
                what = f"{pair[0].model} less {pair[1].model}, {task}"
                if done is None:
                    none = why_missing(plan, *(side.fields for side in pair))
                    parts.append(Part(what, pair[0].arena, none, none))
                    continue
                value, verdict = done.figures["accuracy"]["value"], judge_difference(done)
                parts.append(Part(what, pair[0].arena, str(done), verdict, value=value))
    return parts


def _measured(
    claim: Claim, plan: StudyPlan, series: Sequence[Series], resamples: int
) -> list[Part]:
    parts = []
    for protocol in (*claim.protocols, *claim.also):
        chosen = _find(claim, series, protocol)
        decides = protocol in claim.protocols
        for task, target in claim.targets.items():
            what = f"{task}, claimed {target:g}"
            if chosen is None or not chosen.rows:
                none = why_missing(plan, claim.of)
                parts.append(Part(what, protocol, none, none, decides))
                continue
            figure, found = _figure(chosen, task, resamples)
            verdict = judge_figure(figure, target, target - MARGIN)
            if verdict == CONTRADICTED and chosen.learning:
                verdict = UNDECIDABLE
            what = f"{chosen.model}, {what}"
            parts.append(Part(what, chosen.arena, found, verdict, decides, figure["value"]))
    return parts


def _kept(claim: Claim, plan: StudyPlan, series: Sequence[Series], resamples: int) -> list[Part]:
    parts = []
    doubted = _find(claim, series, claim.under or "")
    for protocol in claim.protocols:
        chosen = _find(claim, series, protocol)
        for task in plan.task_names:
            if doubted is None or chosen is None or not doubted.rows or not chosen.rows:
                none = why_missing(plan, claim.of)
                parts.append(Part(task, protocol, none, none))
                continue
            theirs, said = _figure(doubted, task, resamples, "balanced_accuracy")
            figure, found = _figure(chosen, task, resamples, "balanced_accuracy")
            target, floor = theirs["value"], theirs["low"]
            if target is None or floor is None:
                verdict = UNDECIDABLE
            else:
                verdict = judge_figure(figure, target, floor)
            found = f"balanced accuracy {found}; against {said}, under {doubted.arena}"
            parts.append(
                Part(f"{chosen.model}, {task}", chosen.arena, found, verdict, value=figure["value"])
            )
    return parts


def _find(claim: Claim, series: Sequence[Series], protocol: str) -> Series | None:
    return choose([one for one in series if one.protocol == protocol and one.agrees(claim.of)])


def _figure(
    chosen: Series, task: str, resamples: int, name: str = "accuracy"
) -> tuple[Interval, str]:
    """A done series' figure, and how it is told with all that it rests on."""
    rows = list(chosen.rows.values())
    figure = measure_seeds(rows, task, resamples=resamples)[name]
    trained = f", {chosen.trained}" if chosen.trained else ""
    return figure, f"{format_published(figure)}; {chosen.counts}{trained}"


def _reason(claim: Claim, parts: Sequence[Part]) -> str:
    """Why: how many parts say what, and the figures of the part that speaks most for the claim."""
    deciding = [part for part in parts if part.decides]
    done = [part for part in deciding if part.value is not None]
    noun = "comparison" if claim.rule == "exceeds" else "figure"
    if not done:
        return f"None of its {len(deciding)} {noun}s is run."
    number = Counter(part.verdict for part in deciding)
    said = ", ".join(
        f"{number[verdict]} {verb}"
        for verdict, verb in (
            (CONFIRMED, "confirmed"),
            (CONTRADICTED, "contradicted"),
            (UNDECIDABLE, "undecidable"),
            (NOT_RUN, NOT_RUN),
            (NEEDS_WEIGHTS, "without the weights that it needs"),
        )
        if number[verdict]
    )
    if claim.rule != "exceeds":
        return f"Of {len(deciding)} figures {said}: " + "; ".join(map(_shown, done)) + "."
    best = max(done, key=lambda part: part.value or 0)
    worst = min(done, key=lambda part: part.value or 0)
    text = f"Of {len(deciding)} comparisons {said}. The largest difference: {_shown(best)}."
    return text if best is worst else f"{text} The smallest: {_shown(worst)}."


def _shown(part: Part) -> str:
    return f"{part.what}, under {part.protocol}, {part.found}"

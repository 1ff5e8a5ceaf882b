"""Two models that answered the same photographs are compared here, group by group, seed by seed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from wbczoo.metrics.intervals import Interval
from wbczoo.study.plan.plan import StudyPlan
from wbczoo.study.report.series import Fields, Series, choose
from wbczoo.study.report.tally import (
    FIGURES,
    difference,
    draw_seeds,
    replicate_seeds,
    tally_together,
)
from wbczoo.study.report.words import format_points, format_seeds
from wbczoo.study.run.row import Row
from wbczoo.text import format_sources

# Fewer trainings than these decide nothing: no p-value is computed.
SEEDS = 5
FLIPS = 9999

METHOD = (
    "A difference is the first model's figure less the second's, on the same photographs, mean "
    "over the seeds that both have. Its 95 % interval: percentiles of resamples that draw groups "
    "within labels and, where there are several, seeds, both with replacement (Owen 2007, The "
    "pigeonhole bootstrap, section 3; Efron and Tibshirani 1993, chapter 13). Where a class has "
    "a handful of photographs, as monocytes have in TEST, the interval of macro-F1 is too narrow. "
    "Its p-value, of the accuracy: "
    f"two-sided sign-flip test over groups, {FLIPS} random flips, or all where there are "
    "fewer (Good 2005, Permutation, Parametric, and Bootstrap Tests of Hypotheses, chapter 3). It "
    f"is computed where both have at least {SEEDS} seeds (a baseline needs one) and nothing leaks. "
    "All p-values of this report are one family, corrected for the rate of false discoveries "
    "under any dependence (Benjamini and Yekutieli 2001): the comparisons share photographs and "
    "models."
)


@dataclass(frozen=True)
class Comparison:
    """What a first model does better than a second.

    Attributes:
        kind: `branch`, `bar` or `models`; why the two are compared.
        seeds: how many trainings stand on the first side.
        unit: of the data set that tests.
        photographs: that both answered; None where the data set does not tell them.
        files: of the first model, mean over seeds.
        differing: groups in which the two answered differently well.
        figures: accuracy, balanced accuracy, macro-F1: the difference and its interval, as shares.
        p, corrected: of the accuracy; None where it is not tested.
    """

    kind: str
    first: Series
    second: Series
    task: str
    seeds: int
    unit: str
    photographs: int | None
    files: int
    groups: int
    differing: int
    figures: Mapping[str, Interval]
    p: float | None
    corrected: float | None = None

    @property
    def title(self) -> str:
        """`mobilenetv2+bilstm less mobilenetv2`."""
        return f"{self.first.model} less {self.second.model}"

    @property
    def sources(self) -> str:
        """`71 photographs`: what both answered."""
        return format_sources({"photographs": self.photographs, "groups": self.groups}, self.unit)

    @property
    def learning(self) -> bool:
        """Whether either might do better with more epochs: then it may be speed that is seen."""
        return self.first.learning or self.second.learning

    @property
    def tested(self) -> str:
        """The p-values, or why there is none."""
        if self.p is None or self.corrected is None:
            return f"{'LEAKY' if self.first.leaky else 'too few seeds'}: not tested"
        return f"p {self.p:.2g}, corrected {self.corrected:.2g}"

    def __str__(self) -> str:
        """The difference in accuracy with all that it rests on."""
        learning = ", still learning" if self.learning else ""
        return (
            f"{format_points(self.figures['accuracy'])}; {self.sources}, "
            f"{format_seeds(self.seeds)}{learning}; {self.tested}"
        )

    def describe(self) -> dict[str, Any]:
        """What JSON can hold of it."""
        return {
            "kind": self.kind,
            "protocol": self.first.arena,
            "first": self.first.model,
            "second": self.second.model,
            "setting": self.first.setting,
            "epochs": self.first.epochs or None,
            **{
                name: getattr(self, name)
                for name in ("task", "seeds", "photographs", "files", "groups", "differing")
            },
            **{name: dict(figure) for name, figure in self.figures.items()},
            "still_learning": self.learning,
            "p": self.p,
            "corrected_p": self.corrected,
        }


def compare(
    first: Series, second: Series, task: str, kind: str, *, resamples: int = 2000, seed: int = 0
) -> Comparison | None:
    """Compare two models under one protocol, over the photographs that both answered.

    A baseline of one seed stands against each seed of a network.

    Args:
        resamples, seed: of the bootstrap and of the test.

    Returns:
        None where no seed is done on both sides, or no photograph was answered by both.
    """
    pairs = _paired_rows(first, second)
    if not pairs:
        return None
    ours, theirs = ([pair[side] for pair in pairs] for side in (0, 1))
    one, other = tally_together([ours, theirs], task)
    if not one.groups:
        return None
    drawn = one.resample(resamples, seed)
    seeds = draw_seeds(len(pairs), resamples, seed)
    point, again = replicate_seeds(one, drawn, seeds)
    other_point, other_again = replicate_seeds(other, drawn, seeds)
    right, other_right = one.right(), other.right()
    enough = all(len(one.rows) >= SEEDS or one.baseline for one in (first, second))
    tested = enough and len(pairs) >= SEEDS and not (first.leaky or second.leaky)
    return Comparison(
        kind=kind,
        first=first,
        second=second,
        task=task,
        seeds=len(pairs),
        unit=ours[0]["unit"],
        photographs=None if ours[0]["photographs"] is None else one.photographs,
        files=round(one.counts.sum() / len(pairs)),
        groups=len(one.groups),
        differing=int((~np.isclose(right, other_right)).sum()),
        figures={
            name: difference(point[name] - other_point[name], again[name] - other_again[name])
            for name in FIGURES
        },
        p=flip_signs(right, other_right, seed) if tested else None,
    )


def flip_signs(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any], seed: int) -> float:
    """The two-sided p-value of a sign-flip test: is the sum of `first - second` far from 0?

    If neither model is better, each group's two values could as well be exchanged.

    Args:
        first, second: (G,) what each group adds to either accuracy.
        seed: of the flips.
    """

    def gain(x: Any, y: Any, axis: int) -> Any:
        return np.sum(x - y, axis=axis)

    found = stats.permutation_test(
        (first, second), gain, permutation_type="samples", vectorized=True, n_resamples=FLIPS,
        batch=512, rng=np.random.default_rng(seed),
    )  # fmt: skip
    return float(found.pvalue)


def correct(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with their p-values corrected as one family (Benjamini and Yekutieli 2001).

    Those without a p-value are no part of it.
    """
    tested = [one.p for one in comparisons if one.p is not None]
    if not tested:
        return list(comparisons)
    corrected = iter(stats.false_discovery_control(tested, method="by"))
    return [
        one if one.p is None else replace(one, corrected=float(next(corrected)))
        for one in comparisons
    ]


def find_pairs(
    series: Sequence[Series], protocol: str, shared: Fields, first: Fields, second: Fields
) -> tuple[Series, Series] | None:
    """The two series that a claim compares: equal in all but what it names, the best done ones.

    Args:
        shared, first, second: fields of the trials of both, of the first and of the second.

    Returns:
        None where the plan has no such pair.
    """
    named = {*first, *second, "hidden"}
    found = [
        (one, other)
        for one in series
        if one.protocol == protocol and one.agrees({**shared, **first})
        for other in series
        if other.protocol == protocol
        and other.agrees({**shared, **second})
        and one.rest(*named) == other.rest(*named)
    ]
    return max(found, key=_depth, default=None)


def with_and_without_branch(series: Sequence[Series]) -> Iterator[tuple[Series, Series]]:
    """Every pair of a network with a branch and the same one without."""

    def key(one: Series) -> tuple[str, str]:
        return one.protocol, str(one.rest("sequence", "hidden"))

    beside = [one for one in series if one.network and one.network.backbone != "none"]
    bare = {key(one): one for one in beside if one.fields["sequence"] == "none"}
    for one in beside:
        if one.fields["sequence"] != "none" and key(one) in bare:
            yield one, bare[key(one)]


def against_the_bar(plan: StudyPlan, series: Sequence[Series]) -> Iterator[tuple[Series, Series]]:
    """Every network under a protocol that does not leak, with the plan's bar under the same.

    Of the settings of one network the one that `choose` takes.
    """
    for protocol in plan.protocols:
        here = [one for one in series if one.protocol == protocol and one.rows and not one.leaky]
        bars = [one for one in here if one.baseline and one.baseline == plan.bar]
        bar = choose([one for one in bars if one.fields["train_part"] is None])
        if bar is None:
            continue
        networks = [one for one in here if one.network]
        for kind in dict.fromkeys(one.kind for one in networks):
            chosen = choose([one for one in networks if one.kind == kind])
            assert chosen is not None
            yield chosen, bar


def every_two(series: Sequence[Series]) -> Iterator[tuple[Series, Series]]:
    """Every two done models of one protocol, in the order of the plan."""
    done = [one for one in series if one.rows]
    for one, other in itertools.combinations(done, 2):
        if one.protocol == other.protocol and one.model != other.model:
            yield one, other


def distinct(comparisons: Iterable[Comparison | None]) -> list[Comparison]:
    """Each comparison once, in the order given."""
    found: dict[tuple[str, ...], Comparison] = {}
    for one in comparisons:
        if one is not None:
            key = (one.first.trial.key, one.second.trial.key, one.first.protocol, one.task)
            found.setdefault(key, one)
    return list(found.values())


def _depth(pair: tuple[Series, Series]) -> tuple[int, int, int]:
    first, second = pair
    return len(_paired_rows(first, second)), len(first.trials), first.epochs


def _paired_rows(first: Series, second: Series) -> list[tuple[Row, Row]]:
    """The results of both for each seed that both have; a lone baseline's stands against each."""
    if second.baseline and first.network and len(second.rows) == 1:
        (only,) = second.rows.values()
        return [(row, only) for _, row in sorted(first.rows.items())]
    common = sorted(first.rows.keys() & second.rows.keys())
    return [(first.rows[seed], second.rows[seed]) for seed in common]

"""What a study found is said here in a few sentences, which stand before all its tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from wbczoo.metrics.intervals import Interval
from wbczoo.study.report import across
from wbczoo.study.report.claims import CONFIRMED, CONTRADICTED, UNDECIDABLE
from wbczoo.study.report.compare import Comparison
from wbczoo.study.report.findings import Findings
from wbczoo.study.report.series import Series
from wbczoo.study.report.tables import shown_series
from wbczoo.study.report.tally import measure_seeds
from wbczoo.study.report.words import NEEDS_WEIGHTS, NOT_RUN, format_published

# What tells two protocols of one data set apart among a trial's fields.
_DATA = ("protocol", "folds", "part", "train_part", "dataset_options")


def summarise(found: Findings) -> list[str]:
    """At most six sentences: what leaks, what is best, the branch, the bar, the claims.

    Each says how it was chosen or counted; one whose trials are not done is left out.
    """
    return [
        *_reach(found),
        *_honest(found),
        *across.say_best(found.plan, found.series),
        *_compared(
            found, "branch", "with a branch beside the network and the same without", "the branch"
        ),
        *_compared(found, "bar", f"of a network with `{found.plan.bar}`", "the network"),
        *_judged(found),
    ]


def side_by_side(found: Findings) -> list[list[Series]]:
    """The networks that were asked both where test files show what training saw and where not.

    Returns:
        of each network one series for each protocol that leaks, then for each that does not, all
        trained in equal ways; of several settings the one of most seeds, then of most epochs.
    """
    shown = []
    done = [one for one in found.series if one.network and one.rows]
    done = [one for one in done if not one.fields["hold_out"] and not one.fields["test_dataset"]]
    for kind in dict.fromkeys(one.kind for one in done):
        mine = [one for one in done if one.kind == kind]
        settings: dict[str, list[Series]] = {}
        for one in mine:
            settings.setdefault(f"{one.rest(*_DATA)}", []).append(one)
        both = [each for each in settings.values() if len({one.leaky for one in each}) == 2]
        if both:
            most = max(both, key=lambda each: (len(each), sum(len(one.rows) for one in each),
                                               each[0].epochs))  # fmt: skip
            shown.append(sorted(most, key=lambda one: not one.leaky))
    return shown


def _reach(found: Findings) -> Iterator[str]:
    """The best network where nothing is hidden, by its leaking figure, and what is left of it."""
    task = found.plan.task_names[0]
    pairs = [(_accuracy(each[0], task, found.resamples), each) for each in side_by_side(found)]
    known = [(figure, each) for figure, each in pairs if figure["value"] is not None]
    if not known:
        return
    figure, each = max(known, key=lambda pair: pair[0]["value"] or 0.0)
    honest = ", ".join(
        f"{format_published(_accuracy(one, task, found.resamples))} under {one.arena}"
        for one in each[1:]
        if not one.leaky
    )
    opened = {"head": "frozen", "last-block": "its last block open", "all": "all of it trained"}
    state = opened.get(str(each[0].fields["trainable"]), "")
    yield (
        f"The network that scores highest under {each[0].arena}, {each[0].model} ({state}), tells "
        f"{format_published(figure)} of the files right in the task {task}; trained in the same "
        f"way it tells {honest}."
    )


def _honest(found: Findings) -> Iterator[str]:
    """The model that scores highest under each protocol that does not leak."""
    task, parts = found.plan.task_names[0], []
    for name, arena in found.plan.protocols.items():
        shown = shown_series(found.plan, found.series, name)
        fair = [one for one in shown if not one.leaky and not arena.hold_out]
        figures = [(_accuracy(one, task, found.resamples), one) for one in fair]
        known = [pair for pair in figures if pair[0]["value"] is not None]
        if known:
            figure, one = max(known, key=lambda pair: pair[0]["value"] or 0.0)
            parts.append(f"{format_published(figure)} of {one.model} under {name}")
    if parts:
        yield (
            f"Where nothing leaks, the highest accuracy of the task {task} is {', '.join(parts)}; "
            "the highest of many is too high by chance."
        )


def _accuracy(one: Series, task: str, resamples: int) -> Interval:
    rows = list(one.rows.values())
    return measure_seeds(rows, task, resamples=resamples)["accuracy"]


def _compared(found: Findings, kind: str, what: str, who: str) -> Iterator[str]:
    """How many comparisons of a kind the first side wins by its whole interval."""
    fair = [one for one in found.comparisons if one.kind == kind and not one.first.leaky]
    if not fair:
        return
    better, worse = (sum(_wins(one, sign) for one in fair) for sign in (1, -1))
    yield (
        f"Of {len(fair)} comparisons {what}, on the same photographs and without a leak, {who} is "
        f"ahead in {better} by its whole interval of accuracy and behind in {worse}; the others "
        "leave it open."
    )


def _wins(one: Comparison, sign: int) -> bool:
    limits = [one.figures["accuracy"][name] for name in ("low", "high")]
    return all(limit is not None and sign * limit > 0 for limit in limits)


def _judged(found: Findings) -> Iterator[str]:
    counts = Counter(one.verdict for one in found.judged)
    if not counts:
        return
    order = (CONFIRMED, CONTRADICTED, UNDECIDABLE, NEEDS_WEIGHTS, NOT_RUN)
    told = {NEEDS_WEIGHTS: "without the weights that it needs"}
    parts = [f"{counts[name]} {told.get(name, name)}" for name in order if counts[name]]
    yield f"Of the {len(found.judged)} claims that were asked about: {', '.join(parts)}."

"""The held-out laboratories of a study are measured together here: their mean, and the worst."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from wbczoo.metrics.formulas import Floats
from wbczoo.metrics.intervals import Interval
from wbczoo.study.plan.plan import StudyPlan
from wbczoo.study.report.pages import Block, Heading, Table, Text
from wbczoo.study.report.series import Series
from wbczoo.study.report.tally import (
    difference,
    draw_seeds,
    replicate_seeds,
    tally_together,
)
from wbczoo.study.report.words import NOT_RUN, format_points, format_published, format_seeds
from wbczoo.study.run.row import Row

FIGURE = "macro_f1"

METHOD = (
    "The macro-F1 of the classes that a laboratory has; a laboratory counts once, whatever its "
    "number of cells. Each resample draws groups within labels and laboratories, and seeds, all "
    "with replacement; so an interval speaks of other cells of these laboratories and of another "
    "training, not of other laboratories, of which four are few. A difference is that of the "
    "same cells under the same seeds."
)


@dataclass(frozen=True)
class Across:
    """One setting, each laboratory held out in turn.

    Attributes:
        series: protocol -> what tests its laboratory; of all laboratories, done or not.
    """

    series: dict[str, Series]

    @property
    def first(self) -> Series:
        """One of them, which speaks for what all have in common."""
        return next(iter(self.series.values()))

    @property
    def whole(self) -> bool:
        """Whether each laboratory was held out at least once."""
        return all(one.rows for one in self.series.values())

    @property
    def seeds(self) -> list[int]:
        """The seeds that every laboratory has."""
        return sorted(set.intersection(*(set(one.rows) for one in self.series.values())))


def gather_across(plan: StudyPlan, series: Sequence[Series]) -> list[Across]:
    """The settings of a plan that hold out all of its laboratories, in the plan's order."""
    held = [name for name, arena in plan.protocols.items() if arena.hold_out]
    found: dict[str, dict[str, Series]] = {}
    for one in series:
        if one.protocol in held:
            found.setdefault(str(one.rest("hold_out")), {})[one.protocol] = one
    return [Across(each) for each in found.values() if len(each) == len(held)]


def write_chapter(plan: StudyPlan, series: Sequence[Series], resamples: int) -> Iterator[Block]:
    """A table for each task: every setting by laboratory, and its mean less the first's."""
    settings = gather_across(plan, series)
    if not settings:
        return
    yield Heading("Laboratories that nothing was learned from")
    yield Text(METHOD)
    for task in plan.task_names:
        yield _table(settings, task, resamples)


def say_best(plan: StudyPlan, series: Sequence[Series]) -> Iterator[str]:
    """The highest mean over held-out laboratories, beside that of the first row, in a sentence."""
    settings = [one for one in gather_across(plan, series) if one.whole]
    if not settings:
        return
    task = plan.task_names[0]
    means, worst = [], []
    for one in settings:
        points, _ = _replicate([[rows] for rows in _rows(one, one.seeds)], task, 1)
        means.append(float(points[0].mean()))
        worst.append(float(points[0].min()))
    best = int(np.argmax(means))
    yield (
        f"Of {len(settings)} settings, each laboratory held out in turn, the highest mean of "
        f"macro-F1 in the task {task} is {means[best]:.3f}, the worst laboratory {worst[best]:.3f} "
        f"({', '.join(_named(settings[best], settings[0]).splitlines())}); the first row has "
        f"{means[0]:.3f} and {worst[0]:.3f}."
    )


def _table(settings: Sequence[Across], task: str, resamples: int) -> Table:
    names = list(settings[0].series)
    body = []
    for one in settings:
        shown = _named(one, settings[0])
        if not one.whole:
            body.append([shown, *([NOT_RUN] * (len(names) + 3))])
            continue
        ours = _rows(one, one.seeds)
        points, again = _replicate([[rows] for rows in ours], task, resamples)
        each = [difference(*pair) for pair in zip(points[0], again[0], strict=True)]
        mean = difference(float(points[0].mean()), again[0].mean(0))
        worst = difference(float(points[0].min()), again[0].min(0))
        figures = [format_published(figure) for figure in (*each, mean, worst)]
        gain = _gain(one, settings[0], task, resamples)
        body.append([shown, *figures, format_points(gain) if gain else ""])
    return Table(
        f"{task}: macro-F1 with its 95 % interval by group, mean over seeds",
        ["model", *names, "mean", "worst", "mean less the first row's"],
        body,
    )


def _gain(one: Across, other: Across, task: str, resamples: int) -> Interval | None:
    """The difference of the means over laboratories, by the seeds and cells of both."""
    common = sorted(set(one.seeds) & set(other.seeds))
    if one is other or not other.whole:
        return None
    if not common:
        return None
    pairs = zip(_rows(one, common), _rows(other, common), strict=True)
    points, again = _replicate([[ours, theirs] for ours, theirs in pairs], task, resamples)
    gain = (points[0] - points[1]).mean()
    return difference(float(gain), (again[0] - again[1]).mean(0))


def _replicate(
    laboratories: Sequence[Sequence[Sequence[Row]]], task: str, resamples: int
) -> tuple[list[Floats], list[Floats]]:
    """The figure of each model by laboratory, as it is and in every resample.

    Args:
        laboratories: of each the models' rows, one for each seed.

    Returns:
        for each model (L,) and (L, B).
    """
    found: list[list[tuple[float, Floats]]] = [[] for _ in laboratories[0]]
    seeds = draw_seeds(len(laboratories[0][0]), resamples, 0)
    for place, models in enumerate(laboratories):
        tallies = tally_together(models, task)
        drawn = tallies[0].resample(resamples, place)
        for number, tally in enumerate(tallies):
            point, again = replicate_seeds(tally, drawn, seeds)
            found[number].append((point[FIGURE], again[FIGURE]))
    return (
        [np.array([point for point, _ in each]) for each in found],
        [np.stack([again for _, again in each]) for each in found],
    )


def _rows(one: Across, seeds: Sequence[int]) -> list[list[Row]]:
    return [[series.rows[seed] for seed in seeds] for series in one.series.values()]


def _named(one: Across, reference: Across) -> str:
    """The model, what its setting has that the first row's has not, and its seeds."""
    ours, theirs = (_said(each.first) for each in (one, reference))
    told = [text for name, text in ours.items() if theirs.get(name) != text]
    told += [f"without {name}" for name in theirs if name not in ours and one.first.network]
    if one is reference:
        told = [one.first.setting, f"{one.first.epochs} epochs"]
    begun = any(series.rows for series in one.series.values())
    tail = format_seeds(len(one.seeds)) if begun else ""
    return "\n".join(filter(None, (one.first.model, ", ".join(told), tail)))


def _said(one: Series) -> dict[str, str]:
    fields = {**one.fields, **one.fields["settings"], **one.fields["backbone_options"]}
    left_out = ("settings", "backbone_options", "hold_out", "seed", "backbone", "sequence")
    return {
        name: f"{name} {value}"
        for name, value in fields.items()
        if name not in left_out and value not in (None, {})
    }

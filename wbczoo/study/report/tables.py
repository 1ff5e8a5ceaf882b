"""Series become a report's tables here: models by protocol, published values beside ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from wbczoo.study.plan.plan import StudyPlan
from wbczoo.study.plan.stated import PublishedTable
from wbczoo.study.report.compare import Comparison
from wbczoo.study.report.pages import Table
from wbczoo.study.report.series import Series, choose
from wbczoo.study.report.tally import measure_seeds
from wbczoo.study.report.words import (
    format_counts,
    format_points,
    format_published,
    format_seeds,
    why_missing,
)

_UNLEARNED = "(no ImageNet weights)"


def model_tables(plan: StudyPlan, series: Sequence[Series], resamples: int) -> list[Table]:
    """For each task a table: a row for each model and setting, a column for each protocol.

    Other settings, which the plan has under one protocol alone, stand in `every_setting`, and in a
    published table if there is one.
    """
    rows = list(_rows(series))
    tables = []
    for task in plan.task_names:
        body = []
        for models in rows:
            shown = [choose([s for s in models if s.protocol == name]) for name in plan.protocols]
            body.append(
                [_named(models[0]), *(_figures(plan, one, task, resamples) for one in shown)]
            )
        tables.append(
            Table(
                f"{task}: accuracy, then macro-F1, each with its 95 % interval by group. Mean over "
                "the seeds where there are several.",
                ["model", *(_head(name, plan, series) for name in plan.protocols)],
                body,
            )
        )
    return tables


def published_table(
    plan: StudyPlan, published: PublishedTable, series: Sequence[Series], resamples: int
) -> Table:
    """The published accuracies beside ours, and the difference.

    Where a trial of the same settings with ImageNet weights is not run, one without takes its
    place and says so.
    """
    here = [one for one in series if one.protocol == published.protocol]
    body: list[list[str]] = []
    used: list[Series] = []
    for row in published.rows:
        line = [f"{row.model}\n{row.task}"]
        for value, column in zip(row.values, published.columns.values(), strict=True):
            fields = {**published.of, **row.of, **column}
            found = [one for one in here if one.rows and one.agrees(fields)]
            chosen = choose([s for s in found if s.fields["weights"] != "none"]) or choose(found)
            if chosen is None:
                line.append(f"published {value:.4f}\nours {why_missing(plan, fields)}")
                continue
            used.append(chosen)
            figure = measure_seeds(list(chosen.rows.values()), row.task, resamples=resamples)
            ours = figure["accuracy"]
            note = "\nstill learning" if chosen.learning else ""
            bare = chosen.fields["backbone"] == "none"
            note += f"\n{_UNLEARNED}" if chosen.fields["weights"] == "none" and not bare else ""
            if ours["value"] is not None:
                gap = f"difference {100 * (ours['value'] - value):+.1f} points"
                note = "\n" + gap.replace("-", "−") + note
            line.append(f"published {value:.4f}\nours {format_published(ours)}{note}")
        body.append(line)
    arena = here[0].arena if here else published.protocol
    counts = "None is run yet."
    if used:
        seeds = sorted({len(one.rows) for one in used})
        span = format_seeds(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
        counts = f"Ours: {format_counts([r for one in used for r in one.rows.values()])}, {span}"
        epochs = sorted({one.epochs for one in used if one.network})
        if epochs:
            spent = f"{epochs[0]}" if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]}"
            counts += f", {spent} epochs; the published number of them is not known"
        counts += "."
    caption = f"{published.title}. Accuracy under {arena}. {counts} Intervals are 95 %, by group."
    return Table(caption, ["model and task", *published.columns], body)


def published_values(
    plan: StudyPlan, series: Iterable[Series]
) -> Mapping[tuple[str, str], list[float]]:
    """(key of a trial, task) -> the published accuracies that it repeats."""
    found: dict[tuple[str, str], list[float]] = {}
    for table in plan.published:
        here = [one for one in series if one.protocol == table.protocol]
        for row in table.rows:
            for value, column in zip(row.values, table.columns.values(), strict=True):
                fields = {**table.of, **row.of, **column}
                for one in (one for one in here if one.agrees(fields)):
                    for trial in one.trials.values():
                        found.setdefault((trial.key, row.task), []).append(value)
    return found


def comparison_table(comparisons: Iterable[Comparison], caption: str) -> Table:
    """One line for each comparison: differences in points with interval, counts and p-values."""
    return Table(
        caption,
        ["protocol", "first less second", "task", "accuracy", "macro-F1", "rests on", "p"],
        [
            [
                one.first.arena,
                f"{one.title}\n{_setting(one.first)}",
                one.task,
                format_points(one.figures["accuracy"]),
                format_points(one.figures["macro_f1"]),
                f"{one.sources}, {one.groups} groups\n"
                f"{one.differing} groups differ, {format_seeds(one.seeds)}"
                + ("\nstill learning" if one.learning else ""),
                one.tested.replace(", corrected", "\ncorrected").replace(": not", "\nnot"),
            ]
            for one in comparisons
        ],
    )


def every_setting(plan: StudyPlan, series: Sequence[Series], resamples: int) -> Table:
    """Every series of the plan, done or not: a folded table."""
    body = []
    for one in series:
        rows = list(one.rows.values())
        done = f"{len(one.rows)} of {len(one.trials)}"
        figures = [why_missing(plan, one.fields)] * len(plan.task_names)
        if rows:
            measured = [measure_seeds(rows, task, resamples=resamples) for task in plan.task_names]
            figures = [
                f"{format_published(m['accuracy'])}\n{format_published(m['macro_f1'])}"
                for m in measured
            ]
        counts = format_counts(rows) if rows else ""
        body.append([one.arena, f"{one.model}\n{_setting(one)}", done, *figures, counts])
    return Table(
        "Every setting: accuracy, then macro-F1",
        ["protocol", "model", "seeds done", *plan.task_names, "test"],
        body,
        folded=True,
    )


def shown_series(plan: StudyPlan, series: Sequence[Series], protocol: str) -> list[Series]:
    """The done series that a model's row shows under a protocol, in the order of the rows."""
    found = []
    for models in _rows(series):
        chosen = choose([one for one in models if one.protocol == protocol and one.rows])
        if chosen is not None:
            found.append(chosen)
    return found


def _rows(series: Sequence[Series]) -> Iterable[list[Series]]:
    """Series of one model and setting, whatever their protocol and epochs; baselines first.

    Settings that the plan has under one protocol alone are passed over, but for the first of a
    network that has no other.
    """
    rows: dict[tuple[str, str], list[Series]] = {}
    for one in sorted(series, key=lambda one: one.baseline is None):
        rows.setdefault((one.model, one.setting), []).append(one)
    broad = {key: len({one.protocol for one in models}) > 1 for key, models in rows.items()}
    seen = {
        (models[0].model, models[0].fields["trainable"]) for k, models in rows.items() if broad[k]
    }
    for key, models in rows.items():
        if broad[key] or models[0].baseline or models[0].kind not in seen:
            seen.add(models[0].kind)
            yield models


def _figures(plan: StudyPlan, one: Series | None, task: str, resamples: int) -> str:
    if one is None:
        return ""
    if not one.rows:
        return why_missing(plan, one.fields)
    found = measure_seeds(list(one.rows.values()), task, resamples=resamples)
    trained = f"\n{one.trained}" if one.trained else ""
    return f"{format_published(found['accuracy'])}\n{format_published(found['macro_f1'])}{trained}"


def _head(name: str, plan: StudyPlan, series: Sequence[Series]) -> str:
    """A protocol's name, under LEAKY where it leaks, with the counts of its tests."""
    here = [one for one in series if one.protocol == name]
    arena = plan.protocols[name]
    lines = [here[0].arena if here else name]
    if arena.test is not None:
        lines.append(f"trained on {arena.data}, tested on {arena.test}")
    if arena.hold_out is not None:
        lines.append(f"{arena.hold_out} held out")
    rows = [row for one in here for row in one.rows.values()]
    return "\n".join([*lines, *([format_counts(rows)] if rows else [])])


def _named(one: Series) -> str:
    return f"{one.model}\n{one.setting}" if one.setting else one.model


def _setting(one: Series) -> str:
    return f"{one.setting}, {one.epochs} epochs" if one.network else one.setting

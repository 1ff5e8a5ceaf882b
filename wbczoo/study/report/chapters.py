"""Findings become the blocks of a report here, from its claims to how it is made again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from wbczoo.errors import WbczooError
from wbczoo.metrics import intervals
from wbczoo.progress import Tell
from wbczoo.study.plan.plan import PLAN
from wbczoo.study.report import across, claims, compare, plots, tables
from wbczoo.study.report.findings import Findings
from wbczoo.study.report.missed import find_missed, make_thumbnails
from wbczoo.study.report.pages import (
    Block,
    Command,
    Heading,
    Items,
    Photographs,
    Picture,
    Table,
    Text,
)
from wbczoo.study.report.summary import side_by_side, summarise
from wbczoo.study.report.words import NEEDS_WEIGHTS, NOT_RUN
from wbczoo.text import format_duration

BEGUN = "trials of the study"  # by which a report is known as one
_MOST_NAMES = 60  # photographs of one task and protocol that are named

_PROTOCOLS = {
    "report": "LEAKY: augmented files of all photographs pooled and split 80/10/10 at random, so "
    "that nearly every test file shows a photograph that training saw. It measures memory.",
    "official": "trained on the published training half, tested on the published test half; "
    "training photographs that share a group with a test photograph are taken out.",
    "grouped": "cross-validated over photographs, no group on both sides; a trial covers all "
    "folds.",
    "external": "trained on one data set, tested on another, over the classes that both have.",
    "laboratory": "one laboratory tests, over the classes that it has; it had no part in the "
    "training on the others, nor in any choice of an epoch or a temperature.",
}


def compose_report(
    found: Findings, pictured: Mapping[str, Path] | None, tell: Tell
) -> Iterator[Block]:
    """The report's blocks, in their order.

    Args:
        pictured: data set -> where its images lie; None where no photograph may be shown.
    """
    done, planned = found.counts
    if sentences := summarise(found):
        yield Heading("What the study found")
        yield Items(tuple(sentences))
    yield Text(
        f"{done} of {planned} {BEGUN} `{found.plan.name}` are done. What is not done "
        f"says “{NOT_RUN}”, or “{NEEDS_WEIGHTS}” where no ImageNet weights of the backbone were "
        "to be had. Each figure stands with its protocol, the count of its photographs and a 95 % "
        "interval by group. The drawings stand in the HTML page alone."
    )
    yield Items(
        tuple(
            f"`{name}`: {_PROTOCOLS[arena.protocol]}"
            for name, arena in found.plan.protocols.items()
        )
    )
    yield from _claims(found)
    yield from across.write_chapter(found.plan, found.series, found.resamples)
    yield Heading("Every model under every protocol")
    yield from tables.model_tables(found.plan, found.series, found.resamples)
    yield from _refused(found)
    if found.plan.published:
        yield Heading("The published values and ours")
        for published in found.plan.published:
            yield tables.published_table(found.plan, published, found.series, found.resamples)
    yield from _comparisons(found)
    yield from _drawings(found)
    yield from _missed(found, pictured, tell)
    yield from _method(found)


def _refused(found: Findings) -> Iterator[Block]:
    """Why a row has no figure, where that is known."""
    reasons: dict[str, dict[str, None]] = {}
    for one in found.series:
        for trial in one.trials.values():
            if (why := found.refused.get(trial.key)) and trial.train.seed not in one.rows:
                reasons.setdefault(why, {})[f"{one.model} under {one.arena}"] = None
    if reasons:
        yield Text("Tried and refused, and why:")
        yield Items(tuple(f"{', '.join(which)}: {why}" for why, which in reasons.items()))


def _claims(found: Findings) -> Iterator[Block]:
    if not found.judged:
        return
    yield Heading("The claims")
    yield Table(
        "A verdict for each claim, on this data alone",
        ["claim", "verdict"],
        [[one.claim.says, one.verdict] for one in found.judged],
    )
    for one in found.judged:
        yield Heading(one.claim.says, 3)
        yield Text(f"{one.verdict.capitalize()}. {one.why} Source: {one.claim.source}.")
        yield Table(
            "What the verdict rests on",
            ["protocol", "what", "found", "verdict"],
            [
                [
                    part.protocol,
                    part.what,
                    part.found.replace("; ", "\n"),
                    part.verdict if part.decides else f"{part.verdict}\n(decides nothing)",
                ]
                for part in one.parts
            ],
            folded=True,
        )
    yield Text("The rules are a part of the program, and the same for every study:")
    rules = dict.fromkeys(one.claim.rule for one in found.judged)
    yield Items(tuple(f"`{name}`: {claims.RULES[name]}" for name in rules))


def _comparisons(found: Findings) -> Iterator[Block]:
    branch = [one for one in found.comparisons if one.kind == "branch"]
    branch.sort(key=lambda one: (one.first.leaky, -one.seeds))
    bar = [one for one in found.comparisons if one.kind == "bar"]
    models = [one for one in found.comparisons if one.kind == "models"]
    if branch:
        yield Heading("With and without the branch")
        yield Picture(
            plots.draw_forest(branch),
            "Forest plot: accuracy with a branch less accuracy without it, in points, with its "
            f"95 % interval. Full squares: at least {compare.SEEDS} seeds and no leak.",
        )
        yield tables.comparison_table(branch, "Pairs that are equal in all but the branch")
    if bar:
        yield Heading("Networks against the classical row")
        yield tables.comparison_table(
            bar, f"Each network less `{found.plan.bar}`, on the same photographs"
        )
    if models:
        asked = "" if found.plan.pairwise else " that a claim asks for"
        yield Heading(f"Other comparisons{asked}")
        yield tables.comparison_table(models, "On the same photographs")
    if found.comparisons:
        yield Text(f"{compare.METHOD} Bootstrap of {found.resamples} resamples.")


def _drawings(found: Findings) -> Iterator[Block]:
    by_protocol = [
        shown
        for name in found.plan.protocols
        if (shown := tables.shown_series(found.plan, found.series, name))
    ]
    yield Heading("Drawings", drawn=True)
    beside = side_by_side(found)
    if beside:
        yield Heading("The same trainings where it leaks and where it does not", 3, drawn=True)
        yield Picture(
            plots.draw_beside(beside),
            "Loss and accuracy by epoch, as the report's Figures 6 to 13 draw them of its own "
            "systems: on the left where validation shows photographs that training saw, on the "
            "right where it shows others. A line is the mean over seeds and folds.",
        )
    for shown in by_protocol:
        arena, counts = shown[0].arena, shown[0].counts
        yield Heading(arena, 3, drawn=True)
        # What stands in the drawing above is not drawn again.
        drawn = {each[0].kind for each in beside} if shown[0].leaky else set()
        trained = [one for one in shown if one.network and one.kind not in drawn]
        if trained:
            yield Picture(
                plots.draw_curves(trained),
                f"Loss and accuracy by epoch under {arena} ({counts} in the test). A line is the "
                "mean over seeds and folds, a band reaches from the least to the largest.",
                folded=True,
            )
        for task in found.plan.task_names:
            yield Picture(
                plots.draw_confusions(shown, task),
                f"Confusion in the task {task} under {arena}, {counts}; files of all seeds.",
                folded=True,
            )
            yield Picture(
                plots.draw_reliability(shown, task),
                f"Reliability in the task {task} under {arena}, {counts}. By file, so without "
                "intervals. Grey bars: the share of files.",
                folded=True,
            )


def _missed(found: Findings, pictured: Mapping[str, Path] | None, tell: Tell) -> Iterator[Block]:
    yield Heading("Photographs that every model gets wrong")
    yield Text(
        "Wrong means: most of its files, over all seeds. Every model of the tables above was "
        "asked, but for the majority class and frozen backbones without learned weights. Such a "
        "photograph may be hard, or its label may be wrong; nobody has looked again."
    )
    for name in found.plan.protocols:
        shown = tables.shown_series(found.plan, found.series, name)
        if not shown or shown[0].leaky:
            continue
        for task in found.plan.task_names:
            missed, asked = find_missed(shown, task)
            if not asked:
                continue
            more = f"; the first {_MOST_NAMES}" if len(missed) > _MOST_NAMES else ""
            yield Text(
                f"{shown[0].arena}, {task}, {shown[0].counts}: {len(missed)} that all "
                f"{asked} models get wrong{more}."
            )
            labels = dict(missed[:_MOST_NAMES])
            small: Mapping[str, bytes | None] = dict.fromkeys(labels)
            if pictured is not None and labels:
                try:
                    small = make_thumbnails(shown[0], list(labels), pictured)
                except WbczooError as error:
                    tell(f"no images of {shown[0].arena}: {error}")
            if labels:
                yield Photographs(
                    tuple((f"{name} ({labels[name]})", image) for name, image in small.items())
                )


def _method(found: Findings) -> Iterator[Block]:
    rows = [row for one in found.series for row in one.rows.values()]
    yield Heading("How it was made")
    yield Items(
        (
            f"Intervals of figures: {intervals.METHOD}. With several seeds each resample draws "
            "seeds too.",
            "A setting that a table shows was chosen by how many of its seeds are done, never by "
            "its score.",
            "A model with one seed tells nothing of what another seed would give.",
            "“Still learning”: most trainings were best in their last epoch, so longer ones might "
            "score more. Between two models of which one is still learning, the difference may "
            "be of speed alone.",
        )
    )
    weights = {
        f"{row['model']}: {row['weights']['source']} ({row['weights'].get('description', '')})"
        for row in rows
        if row["weights"].get("source") not in (None, "none")
        and row["settings"]["sequence"] == "none"
    }
    if weights:
        yield Text("Initial weights:")
        yield Items(tuple(sorted(weights)))
    total = sum(row["seconds"] for row in rows)
    machines = sorted({f"{row['environment']['device']}, {row['environment']['cores']} cores"
                       for row in rows})  # fmt: skip
    packages = sorted({f"{name} {version}" for row in rows
                       for name, version in row["environment"]["packages"].items()})  # fmt: skip
    yield Items(
        (
            f"Time: {format_duration(total)} in all, summed over {len(rows)} trials.",
            f"Machine: {'; '.join(machines)}.",
            f"Versions: {', '.join(packages)}.",
        )
    )
    name, plan = found.plan.name, f"{found.plan.name}.toml"
    if found.plan.pairwise:  # a plan that `compare` made lies nowhere else
        yield Text("To make it again where the comparison was made (FOLDER is that of this page):")
        plan = f"FOLDER/{PLAN}"
    else:
        yield Text("To make it again:")
    yield Command(f"wbczoo study run {plan} --out runs/{name}\nwbczoo study report runs/{name}")
    yield tables.every_setting(found.plan, found.series, found.resamples)

"""What a card says of the cells that a model was adapted to, for a reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tabulate import tabulate

from wbczoo.text import format_figure

_FIGURES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "ece": "calibration error"}


def adaptation_lines(adaptation: dict[str, Any]) -> list[str]:
    """What a card's page says of an adaptation, as Markdown."""
    counted = {
        task: ", ".join(f"{count} {name}" for name, count in classes.items() if count)
        for task, classes in adaptation["classes"].items()
    }
    return [
        f"On {adaptation['date']} the heads, temperatures and limits of "
        f"{adaptation['of']['name']} (weights `{adaptation['of']['weights_sha256']}`) were "
        f"refitted to {adaptation['files']} labelled files of {adaptation['groups']} groups of "
        f"{adaptation['dataset']}. All layers before them are as they were.",
        "",
        *(f"- {task}: {told or 'none'}" for task, told in counted.items()),
        "",
        adaptation_table(adaptation, layout="github"),
    ]


def adaptation_table(adaptation: Mapping[str, Any], *, layout: str = "simple") -> str:
    """Before and after for a person to read.

    Args:
        adaptation: as the card of an adapted model has it.
        layout: as tabulate names it.
    """
    parts = []
    for found, what in (
        (adaptation["crossed"], "the cells that it was adapted to, in folds"),
        (adaptation["rest"], "the other cells, which it has not seen"),
    ):
        if found is None:
            continue
        rows = [
            [task, word, *map(format_figure, figures)]
            for task, both in found["tasks"].items()
            for word, figures in _beside(both["before"], both["after"])
        ]
        if found["called_unknown"]:
            figures = [format_figure(found["called_unknown"][when]) for when in ("before", "after")]
            rows.append(["", "called unknown", *figures])
        heading = f"{what[0].upper()}{what[1:]} ({found['files']} files, {found['groups']} groups):"
        parts += [
            heading,
            tabulate(rows, ["task", "", "before", "after"], layout, disable_numparse=True),
        ]
    return "\n\n".join([*parts, f"Intervals: {adaptation['interval']}."])


def _beside(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each figure's name, and what it was and is."""
    for name, word in _FIGURES.items():
        yield word, (before[name], after[name])
    for name, figure in before.get("recall", {}).items():  # cards before 0.2.0 have none
        yield f"recall of {name}", (figure, after["recall"][name])

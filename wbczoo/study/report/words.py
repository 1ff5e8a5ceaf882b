"""Counts, differences and p-values are put into words here, for tables and sentences alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor
from typing import TYPE_CHECKING

from wbczoo.study.plan.plan import Cell
from wbczoo.study.run.results import Row

if TYPE_CHECKING:
    from wbczoo.study.report.compare import Comparison


def format_counts(rows: Sequence[Row]) -> str:
    """Files, photographs and groups of the tests of rows; a range where seeds differ."""

    def span(name: str) -> str:
        values = sorted({row[name] for row in rows if row[name] is not None})
        return "an unknown number of" if not values else (
            f"{values[0]}" if len(values) == 1 else f"{values[0]} to {values[-1]}"
        )  # fmt: skip

    return f"{span('files')} files of {span('photographs')} photographs in {span('groups')} groups"


def format_photographs(count: int | None) -> str:
    """`71 photographs`, or that their number is unknown, as of files that nobody told apart."""
    return "an unknown number of photographs" if count is None else f"{count} photographs"


def format_seeds(count: int) -> str:
    """`one seed`, or `5 seeds`."""
    return "one seed" if count == 1 else f"{count} seeds"


def format_points(figure: Mapping[str, float | None]) -> str:
    """`+0.3 points [-2.1, +2.5]`, of a difference of shares; limits rounded outwards."""
    value, low, high = (figure[name] for name in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return "undefined"
    low, high = floor(low * 1000 + 1e-9) / 10, ceil(high * 1000 - 1e-9) / 10
    text = f"{100 * value:+.1f} points [{low:+.1f}, {high:+.1f}]"
    return text.replace("-", "−")


def format_p(comparison: Comparison) -> str:
    """The p-values of a comparison, or why it has none."""
    if comparison.p is None or comparison.corrected is None:
        why = "LEAKY" if comparison.first.leaky else "too few seeds"
        return f"{why}: not tested"
    return f"p {comparison.p:.2g}, corrected {comparison.corrected:.2g}"


def format_comparison(comparison: Comparison) -> str:
    """A comparison's difference in accuracy with all that it rests on."""
    learning = ", still learning" if comparison.learning else ""
    return (
        f"{format_points(comparison.figures['accuracy'])}; "
        f"{format_photographs(comparison.photographs)}, "
        f"{format_seeds(comparison.seeds)}{learning}; {format_p(comparison)}"
    )


def format_special(cell: Cell) -> list[str]:
    """What a network's cell has otherwise than most: all that tells it from another of its rate."""
    return [
        *([f"hidden {cell.hidden}"] if cell.hidden not in (None, 64) else []),
        *([f"{cell.image_size} pixels"] if cell.image_size else []),
        *([f"crop {cell.crop}"] if cell.crop else []),
        *([f"trained on {cell.train_part}"] if cell.train_part else []),
        *([f"precision {cell.precision}"] if cell.precision not in (None, "fp32") else []),
        *(f"{name} {value}" for name, value in cell.settings.items()),
    ]


def format_rate(rate: float) -> str:
    """A learning rate as people write it: `3e-4`."""
    digits, exponent = f"{rate:e}".split("e")
    return f"{float(digits):g}e{int(exponent)}"

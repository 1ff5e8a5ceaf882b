"""Numbers, durations and errors are written for a person here, one way for every page."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from math import ceil, floor

_LONGEST = 500  # characters of what a stranger says


def format_figure(figure: Mapping[str, float | None], digits: int = 3) -> str:
    """`0.571 [0.45, 0.68]`, with so many digits of the value."""
    value, low, high = (figure[name] for name in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return "undefined"
    # Outwards, so that an interval never reads narrower than it is; 1e-9 for what is exact.
    low, high = floor(low * 100 + 1e-9) / 100, ceil(high * 100 - 1e-9) / 100
    return f"{value:.{digits}f} [{low:.2f}, {high:.2f}]"


def format_percent(value: float | None) -> str:
    """`40.4`, or a dash where there is none."""
    return "-" if value is None else f"{value:.1f}"


def format_limits(low: float, high: float) -> str:
    """`25.3 to 57.5`: an interval in per cent, rounded outwards."""
    return f"{floor(low * 10 + 1e-9) / 10:.1f} to {ceil(high * 10 - 1e-9) / 10:.1f}"


def format_count(number: int | None) -> str:
    """A count, or that nobody knows it."""
    return "unknown" if number is None else str(number)


def format_number(number: int, thing: str) -> str:
    """`1 image`, `2 images`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def format_sources(counts: Mapping[str, int | None], unit: str) -> str:
    """`71 photographs`, `1 slide`, `5 patients`: what files are of, counted as they are split.

    Args:
        counts: `photographs`, None where nobody knows them, and `groups`.
        unit: `photograph`, `slide`, `patient` or `unknown`.
    """
    number = count_sources(counts, unit)
    if number is None:
        return "an unknown number of photographs"
    return format_number(number, name_source(unit))


def name_source(unit: str) -> str:
    """What files of a unit are counted as being of: `photograph`, `slide` or `patient`."""
    return unit if unit in ("slide", "patient") else "photograph"


def count_sources(counts: Mapping[str, int | None], unit: str) -> int | None:
    """How many of these there are; None where nobody knows. Arguments as of `format_sources`."""
    if counts["photographs"] is None:
        return None
    return counts["photographs" if name_source(unit) == "photograph" else "groups"]


def format_class(name: str, labels: Iterable[str] = ()) -> str:
    """`band_neutrophil (Band Neutrophils)`: a class, and the raw labels that say it otherwise."""
    others = [printable(label) for label in labels if label != name]
    return f"{name} ({', '.join(others)})" if others else name


def format_size(number: int) -> str:
    """A size in bytes: `4.6 MB`, `16.0 GB`; 1 MB is 10^6 bytes."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"


def format_duration(seconds: float) -> str:
    """A duration for a person: `40 s`, `12 min`, `3 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def one_line(error: Exception) -> str:
    """An error's message on one line, without its full stop."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:_LONGEST].rstrip(".") or type(error).__name__


def first_line(error: BaseException) -> str:
    """The first line of an error's words that says something, without its full stop."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), "no reason given").rstrip(".")


def describe_error(error: BaseException) -> str:
    """An error's type and words in one line that can be printed anywhere."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # its own words fail it
        text = "no reason given"
    whole = printable(f"{type(error).__name__}: {text}")
    return whole if len(whole) <= _LONGEST else f"{whole[:_LONGEST]}..."


def csv_line(cells: Sequence[object]) -> str:
    """A line of a table with its end; a cell that holds any line's end is quoted.

    Of a lone carriage return Python's csv does so from 3.11.9 on, unless lines end with one.
    """
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n") + "\n"


def printable(text: str) -> str:
    """Somebody's text without what a terminal obeys or an encoding refuses."""
    return "".join(sign if sign.isprintable() else f"\\u{ord(sign):04x}" for sign in text)

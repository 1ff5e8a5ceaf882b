"""Numbers are written for a person: what files are of, and how far a difference goes."""

from __future__ import annotations

import pytest

from wbczoo.study.report.words import format_points
from wbczoo.text import format_sources


@pytest.mark.parametrize(
    ("photographs", "groups", "unit", "told"),
    [
        (71, 60, "photograph", "71 photographs"),
        (1, 1, "photograph", "1 photograph"),
        (12, 6, "slide", "6 slides"),
        (1, 1, "patient", "1 patient"),
        (None, 9, "unknown", "an unknown number of photographs"),
        (12, None, "slide", "an unknown number of photographs"),  # of an old card
    ],
)
def test_files_are_of_what_splits_count(
    photographs: int | None, groups: int | None, unit: str, told: str
) -> None:
    assert format_sources({"photographs": photographs, "groups": groups}, unit) == told


@pytest.mark.parametrize(
    ("value", "low", "high", "told"),
    [
        (0.0031, -0.0213, 0.025, "+0.3 points [−2.2, +2.5]"),
        (0.00031, 0.00022, 0.00042, "+0.031 points [+0.022, +0.042]"),
        (0.0, 0.0, 0.0, "no difference"),
        (0.0, -1e-9, 1e-9, "+0.0000 points [−0.0001, +0.0001]"),
        (0.01, 0.01, 0.01, "+1.0 points [+1.0, +1.0]"),
        (None, None, None, "undefined"),
    ],
)
def test_a_difference_has_digits_enough_to_tell_its_limits_apart(
    value: float | None, low: float | None, high: float | None, told: str
) -> None:
    assert format_points({"value": value, "low": low, "high": high}) == told

"""Numbers are written for a person: what files are of."""

from __future__ import annotations

import pytest

from wbczoo.text import format_sources


@pytest.mark.parametrize(
    ("photographs", "groups", "unit", "told"),
    [
        (71, 60, "photograph", "71 photographs"),
        (1, 1, "photograph", "1 photograph"),
        (12, 6, "slide", "6 slides"),
        (1, 1, "patient", "1 patient"),
        (None, 9, "unknown", "an unknown number of photographs"),
    ],
)
def test_files_are_of_what_splits_count(
    photographs: int | None, groups: int, unit: str, told: str
) -> None:
    assert format_sources({"photographs": photographs, "groups": groups}, unit) == told

"""Damaged, disguised and hostile images: each has its row, and nothing else happens."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_images import INTACT, LARGEST, MUTATIONS, Case, cases, whole_images
from fuzz_run import run


@pytest.mark.parametrize("one_by_one", [True, False])
def test_mutated_images_are_answered_or_refused_in_their_turn(
    one_by_one: bool, model: Path, tmp_path: Path
) -> None:
    """150 of the 10 000 and more that tools/fuzz_predict.py feeds."""
    found = run(cases(150, 4), model, tmp_path, limit=60, one_by_one=one_by_one)
    assert found.faults == []
    assert found.refused.total() + found.answered.total() == 150
    assert set(MUTATIONS) <= {*found.refused, *found.answered}
    assert found.answered["intact"] + found.answered["renamed"] == 150 // INTACT + 1


def test_the_largest_images_that_are_read_take_less_than_1_gb_together(
    model: Path, tmp_path: Path
) -> None:
    # Two of the one that takes most, one that is turned, and what is refused for its memory.
    drawn = [LARGEST[number] for number in (2, 3, 2, 4)]
    bombs = [Case(f"{number}.img", "bomb", make()) for number, make in enumerate(drawn)]
    found = run(bombs, model, tmp_path, limit=60, one_by_one=False)
    assert found.faults == []
    assert found.answered.total() >= 3
    assert found.peak_mb < 1000


def test_a_hang_a_lost_row_and_another_answer_are_found(model: Path, tmp_path: Path) -> None:
    """The judge itself: it must not call everything good."""
    (_, first), (_, other), *_ = whole_images()
    lies = [Case("0.jpg", "intact", b"", twin=0), Case("1.jpg", "intact", other, twin=0)]
    found = run([*lies, Case("2.jpg", "intact", first, twin=0)], model, tmp_path, limit=60)
    assert [fault.split()[0] for fault in found.faults] == ["0.jpg", "1.jpg"]
    found = run([Case("3.jpg", "intact", first, twin=0)], model, tmp_path, limit=0.01)
    assert "No row came for 0.01 s" in found.faults[0]

"""Recall, precision and overlap of found boxes, on cases that a reader can count."""

from __future__ import annotations

import pytest

from wbczoo.bench.locating import Located, count_centres, measure_locating, pair_by_overlap

CELL = (10.0, 10.0, 50.0, 50.0)
BESIDE = (50.0, 10.0, 90.0, 50.0)
FAR = (200.0, 200.0, 240.0, 240.0)


def test_a_true_box_is_hit_once() -> None:
    assert pair_by_overlap([CELL], [CELL, CELL], 0.5) == [1.0]
    assert count_centres([CELL], [CELL, CELL]) == 1


def test_a_shifted_box_overlaps_by_what_it_shares() -> None:
    half = (30.0, 10.0, 70.0, 50.0)
    assert pair_by_overlap([CELL], [half], 0.1) == [pytest.approx(1 / 3)]
    assert pair_by_overlap([CELL], [half], 0.5) == []
    assert count_centres([CELL], [half]) == 1  # its middle lies on the edge


def test_touching_cells_are_told_by_the_nearest_middle() -> None:
    overlapping = (40.0, 10.0, 80.0, 50.0)
    middle = (43.0, 10.0, 53.0, 50.0)  # lies in both, and nearer to the second
    assert count_centres([CELL, overlapping], [middle, CELL]) == 2
    assert pair_by_overlap([CELL, BESIDE], [BESIDE, CELL], 0.5) == [1.0, 1.0]


def test_figures_of_three_images() -> None:
    images = [
        Located([CELL, FAR], [CELL], "a"),  # one missed
        Located([CELL], [CELL, BESIDE], "b"),  # one too many
        Located([], [], "c"),  # rightly quiet
    ]
    figures = measure_locating(images, resamples=50)
    assert (figures["images"], figures["cells"], figures["found"]) == (3, 3, 3)
    for rule in ("centre", "iou 0.5", "iou 0.7"):
        assert figures[rule]["recall"]["value"] == pytest.approx(2 / 3)
        assert figures[rule]["precision"]["value"] == pytest.approx(2 / 3)
    assert figures["overlap"]["value"] == 1
    assert figures["quiet"]["value"] == 1
    assert figures["overlap"]["low"] < 1  # two groups prove little


def test_without_any_cell_recall_is_undefined() -> None:
    figures = measure_locating([Located([], [CELL], "a")], resamples=5)
    assert figures["centre"]["recall"]["value"] is None
    assert figures["centre"]["precision"]["value"] == 0
    assert figures["quiet"]["value"] == 0
